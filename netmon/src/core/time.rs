//! Moments on the kernel's two clocks, and stretches of time.
//!
//! Events carry `CLOCK_MONOTONIC` ([`Mono`]), which never steps. People and journals want wall time
//! ([`Wall`]). An [`Anchor`] is one moment on both clocks, and turns the one into the other.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use jiff::Timestamp;

/// A moment on `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`, counted from the boot.
///
/// A journal may have connections that opened before this boot: such a moment is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(i64);

/// A moment of wall time, counted from 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(i64);

/// The operations of both clocks. Sums and differences with a duration stop at the ends of the
/// clock.
macro_rules! clock {
    ($moment:ty) => {
        impl $moment {
            /// A moment before all others.
            pub const MIN: Self = Self(i64::MIN);
            /// A moment after all others.
            pub const MAX: Self = Self(i64::MAX);

            /// Returns the moment that is `nanos` nanoseconds after the clock's beginning.
            #[must_use]
            pub const fn from_nanos(nanos: i64) -> Self {
                Self(nanos)
            }

            /// Returns the nanoseconds since the clock's beginning.
            #[must_use]
            pub const fn as_nanos(self) -> i64 {
                self.0
            }

            /// Returns the time since an earlier moment; zero if `earlier` is later.
            #[must_use]
            pub const fn since(self, earlier: Self) -> Duration {
                if self.0 > earlier.0 {
                    Duration::from_nanos(self.0.abs_diff(earlier.0))
                } else {
                    Duration::ZERO
                }
            }
        }

        impl Add<Duration> for $moment {
            type Output = Self;

            #[inline]
            fn add(self, time: Duration) -> Self {
                Self(self.0.saturating_add(nanos(time)))
            }
        }

        impl Sub<Duration> for $moment {
            type Output = Self;

            #[inline]
            fn sub(self, time: Duration) -> Self {
                Self(self.0.saturating_sub(nanos(time)))
            }
        }
    };
}

clock!(Mono);
clock!(Wall);

impl Mono {
    /// The moment of the boot.
    pub const BOOT: Self = Self(0);

    /// Returns the moment of a number that the kernel wrote (`ktime_get_ns`).
    #[must_use]
    pub const fn from_kernel(nanos: u64) -> Self {
        Self(if nanos > i64::MAX.cast_unsigned() { i64::MAX } else { nanos.cast_signed() })
    }
}

impl Wall {
    /// 1970-01-01 UTC.
    pub const EPOCH: Self = Self(0);

    /// Returns the moment that is `micros` microseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// Returns the whole microseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Returns the moment of a timestamp; none before 1678 and after 2261.
    #[must_use]
    pub fn from_timestamp(timestamp: Timestamp) -> Option<Self> {
        i64::try_from(timestamp.as_nanosecond()).ok().map(Self)
    }

    /// Returns the timestamp, from which the time of day in a zone follows.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        // Every moment is in the range of timestamps, -9999 to 9999.
        Timestamp::from_nanosecond(self.0.into()).unwrap_or_default()
    }

    /// Returns the time between two moments, whichever is earlier.
    #[must_use]
    pub const fn abs_diff(self, other: Self) -> Duration {
        Duration::from_nanos(self.0.abs_diff(other.0))
    }
}

/// Returns the nanoseconds of a duration, at most 292 years.
const fn nanos(time: Duration) -> i64 {
    let nanos = time.as_nanos();
    if nanos > i64::MAX as u128 {
        i64::MAX
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "compared with the limit before")]
        let nanos = nanos as i64;
        nanos
    }
}

/// The same moment on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// The moment on the monotonic clock.
    pub monotonic: Mono,
    /// The moment in wall time.
    pub wall: Wall,
}

impl Anchor {
    /// Returns an anchor of clocks of which wall time is ahead by `nanos`: the other direction of
    /// [`Self::offset`].
    #[must_use]
    pub const fn from_offset(nanos: i64) -> Self {
        Self { monotonic: Mono::BOOT, wall: Wall(nanos) }
    }

    /// Returns the wall time of a moment on the monotonic clock.
    #[must_use]
    pub const fn wall_time(self, monotonic: Mono) -> Wall {
        Wall(self.wall.0.saturating_add(monotonic.0.saturating_sub(self.monotonic.0)))
    }

    /// Returns the anchor of a moment on the monotonic clock.
    #[must_use]
    pub const fn at(self, monotonic: Mono) -> Self {
        Self { monotonic, wall: self.wall_time(monotonic) }
    }

    /// Returns the moment on the monotonic clock at a wall time.
    #[must_use]
    pub const fn monotonic_time(self, wall: Wall) -> Mono {
        Mono(self.monotonic.0.saturating_add(wall.0.saturating_sub(self.wall.0)))
    }

    /// Returns wall time less the monotonic clock, ns.
    #[must_use]
    pub const fn offset(self) -> i64 {
        self.wall.0.wrapping_sub(self.monotonic.0)
    }
}

/// A stretch of wall time; both ends belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeSpan {
    /// The first moment.
    pub from: Wall,
    /// The last moment.
    pub to: Wall,
}

impl TimeSpan {
    /// Returns whether a moment is in the stretch.
    #[must_use]
    pub fn contains(&self, moment: Wall) -> bool {
        (self.from..=self.to).contains(&moment)
    }
}

/// The moment that is so many nanoseconds after the boot.
#[cfg(test)]
pub(crate) const fn at(nanos: i64) -> Mono {
    Mono(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_stop_at_their_ends() {
        let second = Duration::from_secs(1);
        let (early, late) = (Mono::from_nanos(-5), Mono::from_nanos(1_000_000_000));
        assert_eq!(late.since(early), second + Duration::from_nanos(5));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!((early - second) + second, early);
        assert_eq!(Mono::MAX + Duration::MAX, Mono::MAX);
        assert_eq!(Mono::MIN - Duration::MAX, Mono::MIN);
        assert_eq!(Mono::MAX.since(Mono::MIN), Duration::from_nanos(u64::MAX));
        assert_eq!(Mono::from_kernel(u64::MAX), Mono::MAX);
        assert_eq!(Mono::from_kernel(7), Mono::from_nanos(7));
    }

    #[test]
    fn an_anchor_ties_the_clocks_in_both_directions() {
        let anchor = Anchor { monotonic: Mono::from_nanos(100), wall: Wall::from_nanos(5_000) };
        for (monotonic, wall) in [(100, 5_000), (0, 4_900), (-7, 4_893), (300, 5_200)] {
            let (monotonic, wall) = (Mono::from_nanos(monotonic), Wall::from_nanos(wall));
            assert_eq!(anchor.wall_time(monotonic), wall);
            assert_eq!(anchor.monotonic_time(wall), monotonic);
        }
        assert_eq!(anchor.offset(), 4_900);
        let same = Anchor::from_offset(anchor.offset());
        assert_eq!(same.wall_time(anchor.monotonic), anchor.wall);
    }
}
