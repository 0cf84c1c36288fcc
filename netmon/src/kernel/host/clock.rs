//! The clocks: `CLOCK_MONOTONIC`, which events carry, and its relation to wall time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::core::time::{Anchor, Mono, Wall};

/// Returns the present moment on `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
pub(in crate::kernel) fn now() -> Mono {
    Mono::from_nanos(nanoseconds(ClockId::Monotonic))
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

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
