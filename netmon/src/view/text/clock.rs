//! Moments and spans as text.

use std::{fmt, time::Duration};

use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};

use super::stack_text::StackText;
use crate::core::time::{Anchor, Mono, Wall};

const SECOND: i64 = 1_000_000_000;

/// The form of a moment in text.
#[derive(Clone, Debug)]
pub(in crate::view) enum TimeStyle {
    /// RFC 3339, UTC, nanoseconds.
    Rfc3339,
    /// Time of day in a zone, microseconds.
    TimeOfDay(TimeZone),
    /// Date and time of day in a zone, microseconds. The heading shows the offset. A moment shows
    /// its own offset only if the offset differs from the heading's, or if its time of day comes
    /// twice, in the night when clocks are set back.
    DateTime(TimeZone, Offset),
}

impl TimeStyle {
    /// Returns the style for `zone`. The heading's offset is the present offset of `zone`.
    pub(in crate::view) fn date_time(zone: TimeZone) -> Self {
        let offset = zone.to_offset(Timestamp::now());
        Self::DateTime(zone, offset)
    }
}

/// Writes moments of the monotonic clock as wall time.
///
/// The part down to the second is formatted once a second: most events come in order.
pub(in crate::view) struct Clock {
    style: TimeStyle,
    pub(in crate::view) anchor: Anchor,
    second: i64,
    prefix: String,
    /// The offset of `second`, if moments in `second` show their offset.
    suffix: String,
}

impl Clock {
    pub(in crate::view) fn new(style: TimeStyle) -> Self {
        let (prefix, suffix) = (String::new(), String::new());
        Self { style, anchor: Anchor::default(), second: i64::MIN, prefix, suffix }
    }

    /// The most bytes of a moment: date, time, and an offset with seconds.
    pub(in crate::view) const LONGEST: usize = 35;

    /// Writes the moment `monotonic`.
    pub(in crate::view) fn write(&mut self, out: &mut Vec<u8>, monotonic: Mono) {
        let mut moment = StackText::<{ Self::LONGEST }>::new();
        self.put(&mut moment, monotonic);
        out.extend_from_slice(moment.text());
    }

    /// Puts the moment `monotonic`.
    #[inline]
    pub(in crate::view) fn put<const N: usize>(&mut self, out: &mut StackText<N>, monotonic: Mono) {
        self.put_wall(out, self.anchor.wall_time(monotonic));
    }

    /// Puts a wall time.
    #[inline]
    pub(in crate::view) fn put_wall<const N: usize>(&mut self, out: &mut StackText<N>, wall: Wall) {
        let wall = wall.as_nanos();
        let second = wall.div_euclid(SECOND);
        if second != self.second {
            self.second = second;
            (self.prefix, self.suffix) = self.around(second);
        }
        out.put(self.prefix.as_bytes());
        let nanos = wall.rem_euclid(SECOND).unsigned_abs();
        match self.style {
            TimeStyle::Rfc3339 => {
                out.padded(nanos, 9);
                out.put(b"Z");
            }
            TimeStyle::TimeOfDay(_) => out.padded(nanos / 1_000, 6),
            TimeStyle::DateTime(..) => {
                out.padded(nanos / 1_000, 6);
                out.put(self.suffix.as_bytes());
            }
        }
    }

    /// Returns the text before the fraction of a second, and the text after the fraction.
    fn around(&self, second: i64) -> (String, String) {
        let moment = Timestamp::from_second(second).unwrap_or_default();
        match &self.style {
            TimeStyle::Rfc3339 => {
                (moment.strftime("%Y-%m-%dT%H:%M:%S.").to_string(), String::new())
            }
            TimeStyle::TimeOfDay(zone) => {
                let moment = moment.to_zoned(zone.clone());
                (moment.strftime("%H:%M:%S.").to_string(), String::new())
            }
            TimeStyle::DateTime(zone, offset) => {
                let moment = moment.to_zoned(zone.clone());
                let is_implied = moment.offset() == *offset
                    && !zone.to_ambiguous_timestamp(moment.datetime()).is_ambiguous();
                let suffix = if is_implied { "" } else { "%:z" };
                let format = |format| moment.strftime(format).to_string();
                (format("%Y-%m-%d %H:%M:%S."), format(suffix))
            }
        }
    }
}

/// A span of time as a person reads it: three figures and a unit. The rest is cut off, so that a
/// span of 999.9 ms is not one of 1000 ms.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Elapsed(pub(in crate::view) Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let text = match micros {
            0..1_000 => format!("{micros}us"),
            1_000..1_000_000 => three_figures(micros, 1_000) + "ms",
            1_000_000..60_000_000 => three_figures(micros, 1_000_000) + "s",
            _ => {
                let seconds = micros / 1_000_000;
                let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
                let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
                match (days, hours) {
                    (0, 0) => format!("{minutes}m{seconds:02}s"),
                    (0, _) => format!("{hours}h{minutes:02}m"),
                    _ => format!("{days}d{hours:02}h"),
                }
            }
        };
        f.pad(&text)
    }
}

/// Returns the text of a number below 1000 units: its whole part, and decimals to three figures.
fn three_figures(number: u128, unit: u128) -> String {
    let whole = number / unit;
    match whole {
        0..10 => format!("{whole}.{:02}", number % unit * 100 / unit),
        10..100 => format!("{whole}.{}", number % unit * 10 / unit),
        _ => whole.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(style: TimeStyle, anchor: Anchor, moments: &[i64]) -> Vec<String> {
        let mut clock = Clock::new(style);
        clock.anchor = anchor;
        let shown = moments.iter().map(|moment| {
            let mut out = Vec::new();
            clock.write(&mut out, Mono::from_nanos(*moment));
            String::from_utf8(out).expect("text")
        });
        shown.collect()
    }

    #[test]
    fn moments_are_wall_time() {
        let anchor = Anchor {
            monotonic: Mono::from_nanos(5_000_000_000),
            wall: Wall::from_nanos(1_766_000_000_000_000_007),
        };
        assert_eq!(
            text(TimeStyle::Rfc3339, anchor, &[5_000_000_000, 4_000_000_000, 6_999_999_999]),
            [
                "2025-12-17T19:33:20.000000007Z",
                "2025-12-17T19:33:19.000000007Z",
                "2025-12-17T19:33:22.000000006Z",
            ]
        );
        assert_eq!(
            text(TimeStyle::TimeOfDay(TimeZone::UTC), anchor, &[5_000_123_000]),
            ["19:33:20.000123"]
        );
    }

    #[test]
    fn moments_at_another_offset_than_the_headings_show_it() {
        // Clocks go back at 01:00 UTC, 2026-10-25.
        let change = 1_792_890_000;
        let wall = Wall::from_nanos((change - 7_200) * SECOND + 123_456_789);
        let anchor = Anchor { monotonic: Mono::BOOT, wall };
        let hourly = [0, 1, 2, 3, 1].map(|hour: i64| hour * 3_600_000_000_000);
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let shown = |hours| {
            let offset = jiff::tz::offset(hours);
            text(TimeStyle::DateTime(berlin.clone(), offset), anchor, &hourly)
        };
        assert_eq!(
            shown(1),
            [
                "2026-10-25 01:00:00.123456+02:00",
                "2026-10-25 02:00:00.123456+02:00",
                "2026-10-25 02:00:00.123456+01:00",
                "2026-10-25 03:00:00.123456",
                "2026-10-25 02:00:00.123456+02:00",
            ]
        );
        assert_eq!(
            shown(2),
            [
                "2026-10-25 01:00:00.123456",
                "2026-10-25 02:00:00.123456+02:00",
                "2026-10-25 02:00:00.123456+01:00",
                "2026-10-25 03:00:00.123456+01:00",
                "2026-10-25 02:00:00.123456+02:00",
            ]
        );
        // UTC has one offset for ever.
        let utc = text(TimeStyle::date_time(TimeZone::UTC), anchor, &hourly[..1]);
        assert_eq!(utc, ["2026-10-24 23:00:00.123456"]);
        // The longest moment: its offset has seconds.
        let monrovia = TimeZone::get("Africa/Monrovia").expect("a zone");
        let shown = text(TimeStyle::date_time(monrovia), Anchor::default(), &[0]);
        assert_eq!(shown, ["1969-12-31 23:15:30.000000-00:44:30"]);
        assert_eq!(shown[0].len(), Clock::LONGEST);
    }

    #[test]
    fn spans_have_three_figures() {
        let spans = [0, 999, 412_000, 1_234_000, 16_449_000, 999_000_000, 3_210_000_000];
        let shown: Vec<_> =
            spans.iter().map(|span| Elapsed(Duration::from_nanos(*span)).to_string()).collect();
        assert_eq!(shown, ["0us", "0us", "412us", "1.23ms", "16.4ms", "999ms", "3.21s"]);
        // Cut off, not rounded to the next unit.
        let spans = [9_999, 99_999, 999_999, 9_999_999, 59_999_999]
            .map(|micros| Elapsed(Duration::from_micros(micros)).to_string());
        assert_eq!(spans, ["9.99ms", "99.9ms", "999ms", "9.99s", "59.9s"]);
        let spans =
            [125, 3_725, 90_000].map(|seconds| Elapsed(Duration::from_secs(seconds)).to_string());
        assert_eq!(spans, ["2m05s", "1h02m", "1d01h"]);
    }
}
