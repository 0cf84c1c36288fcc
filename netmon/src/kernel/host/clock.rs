//! The clocks: the kernel's monotonic clock, which events carry, and its relation to wall time.

use std::{fs, sync::LazyLock, time::Duration};

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

/// The looks at two clocks, of which the closest counts: a preemption in between would shift every
/// time that netmon shows.
const TRIES: usize = 5;

/// The wall time at which the kernel's `CLOCK_BOOTTIME` began.
static BOOTED: LazyLock<Wall> = LazyLock::new(|| {
    let look = || {
        let before = nanoseconds(ClockId::Boottime);
        let wall = nanoseconds(ClockId::Realtime);
        (nanoseconds(ClockId::Boottime).saturating_sub(before), wall.saturating_sub(before))
    };
    let (_, began) = (0..TRIES).map(|_| look()).min().unwrap_or_default();
    let tick = TICK.cast_signed();
    let began = began.saturating_add(AHEAD.boottime);
    Wall::from_nanos(began - began.rem_euclid(tick))
});

/// The time by which starts in `/proc` are ahead of the kernel's, ns.
///
/// Before Linux 5.11, `/proc` has the times of the host in every time namespace. Later it shifts
/// the boot in `/proc/stat` as it shifts the start of a process (`timens_sub_boottime`).
static PROC_AHEAD: LazyLock<i64> = LazyLock::new(|| {
    const SECOND: i64 = 1_000_000_000;
    let booted = nanoseconds(ClockId::Realtime).saturating_sub(nanoseconds(ClockId::Boottime));
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let shown = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    // Rounded down, as the boot in the file is. The clocks are read one after another.
    let is_near = |shown: i64| (shown - booted.div_euclid(SECOND)).abs() <= 1;
    if shown.is_none_or(is_near) { AHEAD.boottime } else { 0 }
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

/// Reads wall time between two looks at the monotonic clock. The closest of [`TRIES`] counts.
pub(crate) fn anchor() -> Anchor {
    let look = || {
        let (before, wall, after) = (now(), nanoseconds(ClockId::Realtime), now());
        let (apart, wall) = (after.since(before), Wall::from_nanos(wall));
        (apart, Anchor { monotonic: before + apart / 2, wall })
    };
    let closest = (0..TRIES).map(|_| look()).min_by_key(|(apart, _)| *apart);
    closest.map(|(_, anchor)| anchor).unwrap_or_default()
}

/// Returns the wall time at which the kernel's `CLOCK_BOOTTIME` began, as this process knew it
/// first. Rounded down to the ticks of starts: several processes find the same starts, and no
/// process starts after its connections.
pub(crate) fn booted() -> Wall {
    *BOOTED
}

/// Returns a start in the ticks of the kernel's `CLOCK_BOOTTIME`, from the ticks that `/proc` shows
/// to this process.
pub(in crate::kernel) fn kernel_ticks(ticks: u64) -> u64 {
    // The clock of a time namespace may have begun after the process, whose start is then a
    // negative number, modulo 2^64.
    let start = ticks.wrapping_mul(TICK).cast_signed().saturating_sub(*PROC_AHEAD);
    start.max(0).unsigned_abs() / TICK
}

/// Returns this moment in the ticks of [`kernel_ticks`].
pub(in crate::kernel) fn ticks_now() -> u64 {
    let since_boot = nanoseconds(ClockId::Boottime).saturating_sub(AHEAD.boottime);
    since_boot.max(0).unsigned_abs() / TICK
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
