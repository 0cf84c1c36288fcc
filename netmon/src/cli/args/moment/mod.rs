//! Moments as people write them, and as programs print them.

mod place;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod words;

use jiff::{SignedDuration, Timestamp, Zoned, civil::DateTime};

use crate::core::{escape::Escaped, time::Wall, units};
use place::Zone;
use words::{Day, MomentText};

/// The longest text that is read: no form takes half of this length.
const LONGEST: usize = 200;
/// The most characters of a text that an error repeats.
const REPEATED: usize = 40;
/// The past years among which every day of a calendar occurs, 29 February too.
const YEARS: i16 = 8;

/// The forms of a moment, and their meanings, for `netmon help time`. docs/time.md has the details.
pub(in crate::cli) const FORMS: [(&str, &str); 10] = [
    ("now, 5m ago, 5m, 1h 30m, 2d", "so long ago; a day is 24 hours"),
    ("03:12, 03:12:07.5", "the last one: today's or yesterday's"),
    ("today, yesterday 14:00", "a day alone is its midnight"),
    ("2026-11-23, 2026-11-23 03:12:07", "a day, and a time of day"),
    ("2026-11-23T03:12:07+01:00", "RFC 3339: Z, +01:00, +0100 or +01"),
    ("2026-11-23T03:12[Asia/Tokyo]", "RFC 9557: by the clock of that zone"),
    ("Nov 23 03:12:07", "as syslog writes it: the last one"),
    ("Mon 2026-11-23 03:12:07 UTC", "as journalctl writes it; CET, EDT too"),
    ("@1795403527.5", "seconds since 1970 UTC"),
    ("20261123T031207.123456Z", "as in the names of a journal's files"),
];

/// A moment, read from text.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct MomentArg {
    /// The moment.
    pub(in crate::cli) time: Wall,
    /// A sentence for the user, where a change of the clock leaves more than one reading.
    pub(in crate::cli) note: Option<String>,
}

/// Reads a moment by the clock, the days and the zone of `now`, as far as `text` names no other.
///
/// The error names the text, and shows how moments are written.
pub(in crate::cli) fn moment(text: &str, now: &Zoned) -> Result<MomentArg, String> {
    let text = text.trim();
    read(text, now).map_err(|why| {
        let shown: String = text.chars().take(REPEATED).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        let error = format!(
            "'{shown}{more}' is no moment: {why}. Write 03:12:07, 'yesterday 14:00', \
             '2026-11-23 03:12', 2026-11-23T03:12:07+01:00, '5m ago', 'Nov 23 03:12:07' or \
             @1795403527; `netmon help time` shows every form"
        );
        // The reason repeats pieces of the text as well.
        Escaped(error.as_bytes()).to_string()
    })
}

fn read(text: &str, now: &Zoned) -> Result<MomentArg, String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() > LONGEST {
        return Err("it is too long".into());
    }
    if !text.is_ascii() {
        return Err("it has characters that no form has".into());
    }
    if text.starts_with('-') {
        return Err("it is negative, and so many minutes ago are '5m ago'".into());
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return moment_arg(epoch(seconds)?, None);
    }
    if text.eq_ignore_ascii_case("now") {
        return moment_arg(now.timestamp(), None);
    }
    if let Some(length) = ago(text) {
        let wrong = || format!("'{length}' is no length of time as 5m, 1h 30m, 2d or 1w are");
        let length = units::length(length).ok_or_else(wrong)?;
        let ago = SignedDuration::try_from(length).map_err(|_| wrong())?;
        let time = now.timestamp().checked_sub(ago);
        return moment_arg(time.map_err(|_| "that is too long ago".to_owned())?, None);
    }
    let (time, note) = resolve(&MomentText::read(file_name(text))?, now)?;
    moment_arg(time, note)
}

fn moment_arg(time: Timestamp, note: Option<String>) -> Result<MomentArg, String> {
    let time = Wall::from_timestamp(time).ok_or("years go from 1678 to 2261")?;
    Ok(MomentArg { time, note })
}

/// Reads seconds since 1970 with an optional fraction.
fn epoch(text: &str) -> Result<Timestamp, String> {
    if text.starts_with('-') {
        return Err("it is before 1970".into());
    }
    let (seconds, rest) = words::digits(text);
    let (nanoseconds, rest) = words::fraction(rest)?;
    if seconds.is_empty() || !rest.is_empty() {
        return Err("after @ are seconds since 1970".into());
    }
    let time = seconds.parse().ok().and_then(|seconds| Timestamp::new(seconds, nanoseconds).ok());
    time.ok_or_else(|| "no calendar goes that far".into())
}

/// Finds the length of time in `5m ago` and in `5m`; nothing in text of any other form.
fn ago(text: &str) -> Option<&str> {
    // `ago` has a space before it: there is a zone America/Santiago.
    let (rest, last) = text.rsplit_once(' ').unwrap_or(("", text));
    if last.eq_ignore_ascii_case("ago") {
        return Some(rest.trim_end());
    }
    // Other forms begin with a digit too. A time of day has a colon. After a date in digits comes a
    // hyphen, a T, or a space and a zone.
    let (number, rest) = words::digits(text);
    let unit =
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | ' '));
    let has_unit = unit.starts_with(|c: char| c.is_ascii_lowercase() && c != 't' && c != 'z');
    let is_date = number.len() == 8 && rest.starts_with(' ');
    let may_be_length = !number.is_empty() && !is_date && !text.contains(':');
    (may_be_length && has_unit).then_some(text)
}

/// Reduces the name of a journal's file to the moment in it.
fn file_name(text: &str) -> &str {
    let stem = [".parquet", ".arrows"].iter().find_map(|kind| text.strip_suffix(kind));
    stem.and_then(|stem| stem.rsplit(['/', '-']).next()).unwrap_or(text)
}

/// Finds the moment that the words mean, with a sentence for the user where there is a choice.
fn resolve(words: &MomentText<'_>, now: &Zoned) -> Result<(Timestamp, Option<String>), String> {
    let zone = Zone::of(words, now)?;
    // The day depends on the zone.
    let now = now.with_time_zone(zone.days());
    let yesterday = || now.date().yesterday().map_err(|error| error.to_string());
    let (days, is_past) = match words.day {
        Some(Day::Date(date)) => (vec![date], false),
        Some(Day::Today) => (vec![now.date()], false),
        Some(Day::Yesterday) => (vec![yesterday()?], false),
        Some(Day::Yearless(month, day)) => {
            let years = (0..=YEARS).filter_map(|ago| now.year().checked_sub(ago));
            let days = years.filter_map(|year| words::date(year, month, day));
            (days.collect(), true)
        }
        None => (vec![now.date(), yesterday()?], true),
    };
    // Without a year or a day: the last of the days that fit whose moment is not yet to come.
    let mut error = None;
    for day in days {
        if let Some(weekday) = words.weekday.filter(|weekday| *weekday != day.weekday()) {
            error.get_or_insert(format!("{day} is no {weekday:?}"));
            continue;
        }
        match zone.at(DateTime::from_parts(day, words.time.unwrap_or_default())) {
            Ok((time, _)) if is_past && time > now.timestamp() => {}
            Ok(found) => return Ok(found),
            Err(why) => {
                error.get_or_insert(why);
            }
        }
    }
    Err(error.unwrap_or_else(|| "no year has that day".into()))
}
