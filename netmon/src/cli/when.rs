//! Moments as people write them.

use jiff::{
    SignedDuration, Timestamp, Zoned,
    civil::{Date, DateTime, Time},
};

/// The moment that `text` says, ns since 1970, UTC: RFC 3339, or what is read by the clock and the zone of
/// `now`.
///
/// A time of day alone is the last one: `03:12` in the afternoon is today's, before that yesterday's.
pub(super) fn moment(text: &str, now: &Zoned) -> Result<i64, String> {
    let text = text.trim();
    let wrong = || {
        format!(
            "'{text}' is no moment: write 03:12:07, 'yesterday 14:00', '2026-11-23 03:12', '10m ago', \
             or RFC 3339"
        )
    };
    let local = |moment: DateTime| {
        moment.to_zoned(now.time_zone().clone()).map(|zoned| zoned.timestamp()).map_err(|_| wrong())
    };
    let timestamp = if let Ok(timestamp) = text.parse::<Timestamp>() {
        timestamp
    } else if text == "now" {
        now.timestamp()
    } else if text.ends_with("ago") {
        let ago: SignedDuration = text.parse().map_err(|_| wrong())?;
        now.timestamp().checked_add(ago).map_err(|_| wrong())?
    } else if let Some((date, rest)) = day(text, now) {
        let time = if rest.is_empty() { Time::midnight() } else { time(rest).ok_or_else(wrong)? };
        local(date.to_datetime(time))?
    } else if let Some(time) = time(text) {
        let today = local(now.date().to_datetime(time))?;
        if today <= now.timestamp() {
            today
        } else {
            local(now.date().yesterday().map_err(|_| wrong())?.to_datetime(time))?
        }
    } else {
        local(text.parse::<DateTime>().map_err(|_| wrong())?)?
    };
    i64::try_from(timestamp.as_nanosecond()).map_err(|_| wrong())
}

/// A day at the beginning, and what follows it.
fn day<'a>(text: &'a str, now: &Zoned) -> Option<(Date, &'a str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let date = match word {
        "today" => now.date(),
        "yesterday" => now.date().yesterday().ok()?,
        _ => return None,
    };
    Some((date, rest.trim_start()))
}

/// A time of day: hours and minutes at least.
fn time(text: &str) -> Option<Time> {
    (text.contains(':') && !text.contains('-')).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let now: Zoned = "2026-11-23T09:30:00+01:00[Europe/Berlin]".parse().expect("a moment");
        let moment = moment(text, &now).unwrap_or_else(|error| panic!("{error}"));
        let shown = Timestamp::from_nanosecond(moment.into()).expect("a moment").to_string();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn moments_are_read_by_the_clock_on_the_wall() {
        check("03:12", "2026-11-23T02:12:00Z");
        check("03:12:07.5", "2026-11-23T02:12:07.5Z");
        check("14:00", "2026-11-22T13:00:00Z");
        check("yesterday 14:00", "2026-11-22T13:00:00Z");
        check("yesterday", "2026-11-21T23:00:00Z");
        check("today", "2026-11-22T23:00:00Z");
        check("10m ago", "2026-11-23T08:20:00Z");
        check("1h 30m ago", "2026-11-23T07:00:00Z");
        check("now", "2026-11-23T08:30:00Z");
        check("2026-10-01", "2026-09-30T22:00:00Z");
        check("2026-10-01 12:00", "2026-10-01T10:00:00Z");
        check("2026-10-01T12:00:00Z", "2026-10-01T12:00:00Z");
        check("2026-10-01T12:00:00+05:00", "2026-10-01T07:00:00Z");
    }

    #[test]
    fn what_is_no_moment_is_said() {
        let now: Zoned = "2026-11-23T09:30:00+01:00[Europe/Berlin]".parse().expect("a moment");
        for bad in ["", "3", "25:00", "soon", "yesterday noon", "ago", "2026-13-01", "-5m"] {
            let error = moment(bad, &now).expect_err(bad);
            assert!(error.contains("is no moment"), "{error}");
        }
    }
}
