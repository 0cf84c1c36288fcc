//! The time zone by whose clock a moment was written.

use jiff::{
    Timestamp, Zoned,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use super::words::{MomentText, UtcOffset};

/// A time zone, with the offset and the abbreviation that were written.
#[derive(Debug)]
pub(super) struct Zone<'a> {
    zone: TimeZone,
    shift: Option<UtcOffset>,
    /// The name that the zone has to have for its time at that moment: `CET`.
    abbreviation: Option<&'a str>,
}

impl<'a> Zone<'a> {
    /// Takes the zone from the words, or the zone of `now` where the words name none.
    pub(super) fn of(words: &MomentText<'a>, now: &Zoned) -> Result<Self, String> {
        let mut place =
            Self { zone: now.time_zone().clone(), shift: words.shift, abbreviation: None };
        let mut named = words.bracketed.map(in_brackets).transpose()?;
        if let Some(word) = words.zone {
            let is_utc = ["UTC", "GMT"].iter().any(|utc| utc.eq_ignore_ascii_case(word));
            if named.is_some() {
                return Err("it has more than one zone".into());
            } else if is_utc {
                named = Some(TimeZone::UTC);
            } else if word.contains('/') {
                named = Some(known(word)?);
            } else {
                place.abbreviation = Some(word);
            }
        }
        match (named, words.shift, place.abbreviation) {
            (Some(zone), ..) => place.zone = zone,
            (None, Some(UtcOffset::By(offset)), None) => place.zone = TimeZone::fixed(offset),
            _ => {}
        }
        Ok(place)
    }

    /// Returns the zone by which days are counted.
    pub(super) fn days(&self) -> TimeZone {
        if self.shift == Some(UtcOffset::Utc) { TimeZone::UTC } else { self.zone.clone() }
    }

    /// Finds the moment when the clock of the zone shows `civil`, with a sentence for the user
    /// where there is not exactly one.
    pub(super) fn at(&self, civil: DateTime) -> Result<(Timestamp, Option<String>), String> {
        match self.shift {
            Some(UtcOffset::Utc) => self.fitting(civil, &[Offset::UTC]),
            Some(UtcOffset::By(offset)) => self.fitting(civil, &[offset]),
            None if self.abbreviation.is_some() => {
                match self.zone.to_ambiguous_timestamp(civil).offset() {
                    AmbiguousOffset::Unambiguous { offset } => self.fitting(civil, &[offset]),
                    // The abbreviation decides between the two. In a gap, neither fits.
                    AmbiguousOffset::Fold { before, after }
                    | AmbiguousOffset::Gap { before, after } => {
                        self.fitting(civil, &[before, after])
                    }
                }
            }
            None => self.by_clock(civil),
        }
    }

    /// Takes the first of `offsets` that the zone has at that moment, under the written name.
    fn fitting(
        &self,
        civil: DateTime,
        offsets: &[Offset],
    ) -> Result<(Timestamp, Option<String>), String> {
        let mut actual = String::new();
        for offset in offsets {
            let time = offset.to_timestamp(civil).map_err(|_| OUT_OF_RANGE)?;
            let info = self.zone.to_offset_info(time);
            // UTC is the same moment everywhere, and contradicts no zone.
            let is_of_zone = info.offset() == *offset || self.shift == Some(UtcOffset::Utc);
            let has_abbreviation =
                self.abbreviation.is_none_or(|name| name.eq_ignore_ascii_case(info.abbreviation()));
            if is_of_zone && has_abbreviation {
                return Ok((time, None));
            }
            actual = format!("{} ({})", info.offset(), info.abbreviation());
        }
        Err(match self.abbreviation {
            Some(abbreviation) => format!(
                "'{abbreviation}' is not what {} is called then, which has {actual}: write the \
                 offset, or the zone as Europe/Berlin",
                self.name()
            ),
            None => format!("its offset contradicts its zone: {} has {actual} then", self.name()),
        })
    }

    /// Finds the moment by the clock alone: the first of two, and past a gap.
    fn by_clock(&self, civil: DateTime) -> Result<(Timestamp, Option<String>), String> {
        let timestamp =
            |offset: Offset| offset.to_timestamp(civil).map_err(|_| OUT_OF_RANGE.to_owned());
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Ok((timestamp(offset)?, None)),
            AmbiguousOffset::Fold { before, after } => {
                let (first, second) = (timestamp(before)?, timestamp(after)?);
                let note = format!(
                    "{} comes twice in {}: the first is taken, '{}'; the second is '{}'",
                    clock(civil),
                    self.name(),
                    self.show(first),
                    self.show(second)
                );
                Ok((first, Some(note)))
            }
            AmbiguousOffset::Gap { before, .. } => {
                let time = timestamp(before)?;
                let note = format!(
                    "{} does not come in {}, where the clock was set forward then: '{}' is taken",
                    clock(civil),
                    self.name(),
                    self.show(time)
                );
                Ok((time, Some(note)))
            }
        }
    }

    fn name(&self) -> String {
        let fixed = || self.zone.to_fixed_offset().ok().map(|offset| offset.to_string());
        let name = self.zone.iana_name().map(str::to_owned).or_else(fixed);
        name.unwrap_or_else(|| "local time".to_owned())
    }

    fn show(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.f%:z").to_string()
    }
}

const OUT_OF_RANGE: &str = "years go from 1678 to 2261";

fn clock(civil: DateTime) -> String {
    civil.strftime("%Y-%m-%d %H:%M:%S%.f").to_string()
}

/// Reads the zone in brackets: a name, or an offset.
fn in_brackets(name: &str) -> Result<TimeZone, String> {
    if name.starts_with(['+', '-']) {
        return match super::words::shift(name)? {
            (UtcOffset::By(offset), "") => Ok(TimeZone::fixed(offset)),
            (UtcOffset::Utc, "") => Ok(TimeZone::UTC),
            _ => Err(format!("'{name}' is no offset")),
        };
    }
    known(name)
}

fn known(name: &str) -> Result<TimeZone, String> {
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    // `Etc/Unknown` stands for a zone that is not known, and would be UTC.
    TimeZone::get(name)
        .ok()
        .filter(|zone| !zone.is_unknown())
        .ok_or_else(|| format!("this host knows no zone '{name}'"))
}
