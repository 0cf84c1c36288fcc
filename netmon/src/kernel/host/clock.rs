//! The clocks: the kernel's monotonic clock, which events carry, and its relation to wall time.

use std::{sync::LazyLock, time::Duration};

use netmon_common::TICK;
use rustix::time::{ClockId, clock_gettime};

use super::time_namespace::{Ahead, TimeNamespace};
use crate::core::time::{Anchor, Mono, Wall};

/// The time by which `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` of this process are ahead of those of
/// the kernel, ns. A process of several threads stays in its time namespace, whose offsets stay as
/// they are.
static AHEAD: LazyLock<Ahead> = LazyLock::new(|| match TimeNamespace::current() {
    Ok(namespace) => namespace.map_or_else(Ahead::default, |namespace| namespace.ahead),
    Err(error) => {
        log::error!("{error}: times are wrong, and events may not be shown");
        Ahead::default()
    }
});

/// Returns the present moment on the clock of `bpf_ktime_get_ns`: `CLOCK_MONOTONIC` as the initial
/// time namespace has it.
pub(crate) fn now() -> Mono {
    Mono::from_nanos(nanoseconds(ClockId::Monotonic).saturating_sub(AHEAD.monotonic))
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

/// Returns the wall time at which the kernel's `CLOCK_BOOTTIME` began, if the clock of wall time is
/// right now. Rounded to the ticks of starts, so that several looks find the same starts.
pub(crate) fn booted() -> Wall {
    let since = nanoseconds(ClockId::Boottime).saturating_sub(AHEAD.boottime);
    let tick = TICK.cast_signed();
    let began = nanoseconds(ClockId::Realtime).saturating_sub(since).saturating_add(tick / 2);
    Wall::from_nanos(began - began.rem_euclid(tick))
}

/// Returns a start in the ticks of the kernel's `CLOCK_BOOTTIME`, from the ticks that `/proc` shows
/// to this process.
pub(in crate::kernel) fn kernel_ticks(ticks: u64) -> u64 {
    // The clock of a time namespace may have begun after the process, whose start is then a
    // negative number, modulo 2^64.
    let start = ticks.wrapping_mul(TICK).cast_signed().saturating_sub(AHEAD.boottime);
    start.max(0).unsigned_abs() / TICK
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
