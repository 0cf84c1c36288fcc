//! The words of a moment that has a date or a time of day, not yet their meaning.

use jiff::{
    civil::{Date, Time, Weekday},
    tz::Offset,
};

/// A day as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Day {
    Date(Date),
    Today,
    Yesterday,
    /// Month and day, as syslog has them.
    Yearless(i8, i8),
}

/// An offset from UTC as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UtcOffset {
    /// `Z`, and `-00:00`, which RFC 9557 takes for the same: UTC, at any place.
    Utc,
    By(Offset),
}

/// The parts of a moment as they were written: a day or a time of day at least.
#[derive(Debug)]
pub(super) struct MomentText<'a> {
    pub(super) weekday: Option<Weekday>,
    pub(super) day: Option<Day>,
    pub(super) time: Option<Time>,
    pub(super) shift: Option<UtcOffset>,
    /// A zone in brackets.
    pub(super) bracketed: Option<&'a str>,
    /// A zone without brackets: its name, or an abbreviation as CET.
    pub(super) zone: Option<&'a str>,
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

impl<'a> MomentText<'a> {
    /// Reads text that is ASCII, from its beginning to its end; the error has the reason.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        let (weekday, rest) = weekday(text);
        let (day, rest) = day(rest)?;
        let (time, rest) = match after_t(day, rest) {
            Some(rest) => {
                let (time, rest) = time(rest, true)?;
                (Some(time.ok_or("after the T there is no time of day")?), rest)
            }
            None => time(rest.trim_start(), false)?,
        };
        if day.is_none() && time.is_none() {
            return Err("it has neither a date nor a time of day".into());
        }
        if day.is_none() && weekday.is_some() {
            return Err("a day of the week without a date is not understood".into());
        }
        let mut words = Self { weekday, day, time, shift: None, bracketed: None, zone: None };
        words.read_place(rest)?;
        Ok(words)
    }

    /// Reads the place of a moment: an offset, a zone, annotations.
    fn read_place(&mut self, text: &'a str) -> Result<(), String> {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let after = match first {
                '[' => self.read_annotation(&rest[1..])?,
                '+' | '-' => {
                    let (shift, after) = shift(rest)?;
                    once(&mut self.shift, shift, "offset")?;
                    after
                }
                'a'..='z' | 'A'..='Z' => {
                    let end = rest.find([' ', '\t', '[']).unwrap_or(rest.len());
                    let (word, after) = rest.split_at(end);
                    if word.eq_ignore_ascii_case("z") {
                        once(&mut self.shift, UtcOffset::Utc, "offset")?;
                    } else {
                        once(&mut self.zone, word, "zone")?;
                    }
                    after
                }
                _ => return Err(format!("nothing is known of '{rest}'")),
            };
            rest = after.trim_start();
        }
        Ok(())
    }

    /// Reads an annotation of RFC 9557 after its bracket. Returns the rest of the text.
    fn read_annotation(&mut self, text: &'a str) -> Result<&'a str, String> {
        let (inside, after) = text.split_once(']').ok_or("a bracket is not closed")?;
        // A critical zone is heeded, as every zone is.
        let (critical, inside) = match inside.strip_prefix('!') {
            Some(inside) => (true, inside),
            None => (false, inside),
        };
        if !inside.contains('=') {
            once(&mut self.bracketed, inside, "zone")?;
        } else if critical {
            return Err(format!("it demands [!{inside}] to be heeded, which netmon does not"));
        }
        Ok(after)
    }
}

fn once<T>(slot: &mut Option<T>, value: T, part: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("it has more than one {part}")),
    }
}

/// Reads the day of the week that journalctl begins with.
fn weekday(text: &str) -> (Option<Weekday>, &str) {
    let found = WEEKDAYS.iter().find_map(|(name, weekday)| {
        let rest = word(text, name)?;
        Some((*weekday, rest.strip_prefix(',').unwrap_or(rest)))
    });
    found.map_or((None, text), |(weekday, rest)| (Some(weekday), rest.trim_start()))
}

/// Takes a word off the beginning, in any case. Returns the rest of the text.
fn word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.split_at_checked(word.len())?;
    let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    (ends && first.eq_ignore_ascii_case(word)).then_some(rest)
}

fn day(text: &str) -> Result<(Option<Day>, &str), String> {
    for (name, day) in [("today", Day::Today), ("yesterday", Day::Yesterday)] {
        if let Some(rest) = word(text, name) {
            return Ok((Some(day), rest));
        }
    }
    for (month, name) in (1..).zip(MONTHS) {
        if let Some(rest) = word(text, name) {
            let (number, rest) = digits(rest.trim_start());
            return match number.parse() {
                Ok(day @ 1..=31) => Ok((Some(Day::Yearless(month, day)), rest)),
                _ => Err(format!("after the month there is no day of it, as in '{name} 23'")),
            };
        }
    }
    let (number, rest) = digits(text);
    let (parts, rest) = match (number.len(), rest.strip_prefix('-')) {
        (4, Some(rest)) => {
            let (month, rest) = digits(rest);
            let (day, rest) = rest.strip_prefix('-').map_or(("", rest), digits);
            ([number, month, day], rest)
        }
        (8, _) => ([&number[..4], &number[4..6], &number[6..]], rest),
        _ => return Ok((None, text)),
    };
    let [year, month, day] = parts;
    let date = (month.len() == 2 && day.len() == 2)
        .then(|| date(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?))
        .flatten();
    let source = || &text[..text.len() - rest.len()];
    date.map(|date| (Some(Day::Date(date)), rest))
        .ok_or_else(|| format!("there is no day {}, and a date is as 2026-11-23 is", source()))
}

pub(super) fn date(year: i16, month: i8, day: i8) -> Option<Date> {
    Date::new(year, month, day).ok()
}

/// Takes the T off that ties a time of day to a date in digits.
fn after_t(day: Option<Day>, rest: &str) -> Option<&str> {
    matches!(day, Some(Day::Date(_))).then(|| rest.strip_prefix(['T', 't'])).flatten()
}

/// Reads a time of day, if there is one: `3:12`, `03:12`, `03:12:07,5`; after a T also `031207`.
fn time(text: &str, may_be_compact: bool) -> Result<(Option<Time>, &str), String> {
    let (first, after) = digits(text);
    if first.is_empty() {
        return Ok((None, text));
    }
    let (hour, minute, second, rest) = match after.strip_prefix(':') {
        Some(rest) => {
            let (minute, rest) = digits(rest);
            match rest.strip_prefix(':').map(digits) {
                Some((second, rest)) => (first, minute, Some(second), rest),
                None => (first, minute, None, rest),
            }
        }
        None if may_be_compact && first.len() == 4 => (&first[..2], &first[2..], None, after),
        None if may_be_compact && first.len() == 6 => {
            (&first[..2], &first[2..4], Some(&first[4..]), after)
        }
        None => return Err(format!("'{first}' is no time of day as 03:12 is")),
    };
    // Only seconds have a fraction.
    let (nanosecond, rest) = if second.is_some() { fraction(rest)? } else { (0, rest) };
    let second = second.unwrap_or("00");
    let time = (hour.len() <= 2 && minute.len() == 2 && second.len() == 2)
        .then(|| {
            let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
            Time::new(hour, minute, second.parse().ok()?, nanosecond).ok()
        })
        .flatten();
    let source = || &text[..text.len() - rest.len()];
    let time = time.ok_or_else(|| format!("there is no time of day {}", source()))?;
    Ok((Some(time), rest))
}

/// Reads the nanoseconds of a fraction, if there is one.
pub(super) fn fraction(text: &str) -> Result<(i32, &str), String> {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return Ok((0, text)) };
    let (fraction, rest) = digits(rest);
    match fraction.len() {
        0 => Err("after the point there are no digits".into()),
        1..=9 => {
            let nanoseconds = format!("{fraction:0<9}").parse();
            Ok((nanoseconds.map_err(|_| "the fraction is no number".to_owned())?, rest))
        }
        _ => Err("nothing is finer than a nanosecond, nine digits".into()),
    }
}

/// Reads an offset: `+09`, `+0900`, `+09:00`, with seconds as some zones once had.
pub(super) fn shift(text: &str) -> Result<(UtcOffset, &str), String> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let end =
        text[1..].find(|c: char| !c.is_ascii_digit() && c != ':').map_or(text.len(), |at| at + 1);
    let (source, rest) = text.split_at(end);
    let wrong = || format!("'{source}' is no offset as +01:00, +0100 and +01 are");
    let digits = &source[1..];
    let parts: Vec<&str> = if digits.contains(':') {
        digits.split(':').collect()
    } else {
        (0..digits.len()).step_by(2).map(|at| &digits[at..digits.len().min(at + 2)]).collect()
    };
    let limits = [24, 60, 60];
    if parts.is_empty() || parts.len() > limits.len() {
        return Err(wrong());
    }
    let mut seconds = 0;
    for (index, limit) in limits.into_iter().enumerate() {
        let part = parts.get(index).copied().unwrap_or("00");
        let number = Some(part).filter(|part| part.len() == 2).and_then(|part| part.parse().ok());
        let number: i32 = number.filter(|number| *number < limit).ok_or_else(wrong)?;
        seconds = seconds * 60 + number;
    }
    if sign < 0 && seconds == 0 {
        return Ok((UtcOffset::Utc, rest));
    }
    let offset = Offset::from_seconds(sign * seconds).map_err(|_| wrong())?;
    Ok((UtcOffset::By(offset), rest))
}

/// Splits the digits off the beginning.
pub(super) fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}
