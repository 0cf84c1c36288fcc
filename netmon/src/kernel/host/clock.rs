//! The clocks: `CLOCK_MONOTONIC`, which events carry, and its relation to wall time.

use rustix::time::{ClockId, clock_gettime};

use crate::core::event::Anchor;

/// Returns `CLOCK_MONOTONIC`, ns: the clock of `bpf_ktime_get_ns`.
pub(in crate::kernel) fn now() -> u64 {
    nanoseconds(ClockId::Monotonic).cast_unsigned()
}

/// Returns the CPU time that this thread has used, ns.
pub(in crate::kernel) fn used() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime).cast_unsigned()
}

/// Reads wall time between two looks at the monotonic clock. The closest of a few tries counts: a
/// preemption between the looks would shift every time that netmon shows.
pub(in crate::kernel) fn anchor() -> Anchor {
    const TRIES: usize = 5;
    let look = || {
        let (before, wall, after) = (now(), nanoseconds(ClockId::Realtime), now());
        (after - before, Anchor { monotonic: before + (after - before) / 2, wall })
    };
    let closest = (0..TRIES).map(|_| look()).min_by_key(|(apart, _)| *apart);
    closest.map(|(_, anchor)| anchor).unwrap_or_default()
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
