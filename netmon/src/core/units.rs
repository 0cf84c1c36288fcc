//! Sizes and lengths of time as people write them.

use std::time::Duration;

use jiff::{SpanRelativeTo, fmt::friendly::SpanParser};

/// Reads a length of time whose parts all have a unit: `90s`, `1h 30m`, `30d`.
///
/// A day is 24 hours and a week seven such days, also across a change of the clock. Months and
/// years have no length.
pub(crate) fn length(text: &str) -> Option<Duration> {
    // The parser would also take a sign, `ago` and a clock: 1d 02:30:00.
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.is_ascii()
        && !text.contains(':')
        && !text.to_ascii_lowercase().ends_with("ago");
    if !is_plain {
        return None;
    }
    let span = SpanParser::new().parse_span(text).ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

/// Reads a length of time with a unit; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let value = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => length(text),
    };
    value
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("'{text}' is no time: write 30s, 5m or 1h"))
}

/// Reads a number of bytes above 0, with an optional unit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    bytes(text)
        .filter(|size| *size > 0)
        .ok_or_else(|| format!("'{text}' is no size: write 64K, 16M or 1G"))
}

/// Reads a number of bytes with an optional unit. A K is 1024 bytes.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let unit = lower.trim_start_matches(|c: char| c.is_ascii_digit());
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let number: u64 = lower[..lower.len() - unit.len()].parse().ok()?;
    number.checked_mul(1 << shift)
}

/// Returns whether a text is a number without a unit.
pub(crate) fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "0", "x", "-3s", "0s", "3s ago", "+3s", "1y", "1mo", "1d 02:00:00"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn days_are_24_hours() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        assert_eq!(length("36h"), hours(36));
        assert_eq!(length("30d"), hours(720));
        assert_eq!(length("2w"), hours(336));
        assert_eq!(length("1d 12h"), hours(36));
        assert_eq!(length("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(length("5"), None);
    }
}
