//! The clocks: the kernel's monotonic clock, which events carry, and its relation to wall time.

use std::{sync::LazyLock, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use super::time_namespace::TimeNamespace;
use crate::core::time::{Anchor, Mono, Wall};

/// The time by which `CLOCK_MONOTONIC` is ahead of `bpf_ktime_get_ns` in this process, ns. A
/// process of several threads stays in its time namespace, whose offsets stay as they are.
static AHEAD: LazyLock<i64> = LazyLock::new(|| match TimeNamespace::current() {
    Ok(namespace) => namespace.map_or(0, |namespace| namespace.ahead),
    Err(error) => {
        log::error!("{error}: times are wrong, and events may not be shown");
        0
    }
});

/// Returns the present moment on the clock of `bpf_ktime_get_ns`: `CLOCK_MONOTONIC` as the initial
/// time namespace has it.
pub(crate) fn now() -> Mono {
    Mono::from_nanos(nanoseconds(ClockId::Monotonic).saturating_sub(*AHEAD))
}

/// Returns the CPU time that this thread has used.
pub(in crate::kernel) fn used() -> Duration {
    Duration::from_nanos(nanoseconds(ClockId::ThreadCPUTime).unsigned_abs())
}

/// Reads wall time between two looks at the monotonic clock. The closest of a few tries counts: a
/// preemption between the looks would shift every time that netmon shows.
pub(crate) fn anchor() -> Anchor {
    const TRIES: usize = 5;
    let look = || {
        let (before, wall, after) = (now(), nanoseconds(ClockId::Realtime), now());
        let (apart, wall) = (after.since(before), Wall::from_nanos(wall));
        (apart, Anchor { monotonic: before + apart / 2, wall })
    };
    let closest = (0..TRIES).map(|_| look()).min_by_key(|(apart, _)| *apart);
    closest.map(|(_, anchor)| anchor).unwrap_or_default()
}

/// Returns the wall time at which `CLOCK_BOOTTIME` began, in whole microseconds as a journal keeps
/// times, if the clock of wall time is right now.
pub(crate) fn booted() -> Wall {
    let since = nanoseconds(ClockId::Realtime).saturating_sub(nanoseconds(ClockId::Boottime));
    Wall::from_micros(Wall::from_nanos(since).as_micros())
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
