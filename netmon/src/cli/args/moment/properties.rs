//! Every text is read or refused, and netmon reads each moment that it prints.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Zones with and without changes of the clock, of whole hours and others, on both sides of UTC,
/// and one whose offset had seconds until 1972.
const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "America/Santiago",
    "Africa/Monrovia",
    "America/St_Johns",
];

fn zone() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(&ZONES[..]).prop_map(|name| TimeZone::get(name).expect("a zone"))
}

/// A moment from 1970 to the last that 64 bits hold, often in the hours around a change of the
/// clock.
fn time() -> impl Strategy<Value = i64> {
    // The changes of Berlin, New York and Lord Howe in the autumn of 2026.
    let changes = [1_792_890_000, 1_793_512_800, 1_775_314_800].map(|second| second * SECOND);
    let near = (prop::sample::select(changes.to_vec()), -2 * 3600 * SECOND..2 * 3600 * SECOND)
        .prop_map(|(change, by)| change + by);
    prop_oneof![0..i64::MAX, 1_700_000_000 * SECOND..1_900_000_000 * SECOND, near]
}

fn zoned(time: i64, zone: &TimeZone) -> Zoned {
    Timestamp::from_nanosecond(time.into()).expect("a moment").to_zoned(zone.clone())
}

/// Prints RFC 9557, or UTC where the offset has seconds: RFC 9557 rounds such an offset, which then
/// contradicts its zone.
fn rfc9557(shown: &Zoned) -> String {
    if shown.offset().seconds() % 60 == 0 {
        shown.to_string()
    } else {
        shown.timestamp().to_string()
    }
}

fn cut(time: i64, to: i64) -> Wall {
    Wall::from_nanos(time - time.rem_euclid(to))
}

/// Pieces of moments, put together in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,9}",
        "[ -~]",
        prop::sample::select(vec![
            " ",
            ":",
            "-",
            "+",
            ".",
            ",",
            "T",
            "Z",
            "[",
            "]",
            "!",
            "=",
            "@",
            "ago",
            "now",
            "today",
            "yesterday",
            "Nov",
            "Mon",
            "CET",
            "UTC",
            "2026-11-23",
            "03:12",
            "03:12:07.5",
            "+09:00",
            "[Asia/Tokyo]",
            "[!u-ca=x]",
            "Europe/Berlin",
            "20261123T031207Z",
            ".parquet",
            "5m",
            "1h",
            "30d",
            "é",
            "\t",
            "\u{0}",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_panics(text: String, now in time(), zone in zone()) {
        let _ = moment(&text, &zoned(now, &zone));
    }

    #[test]
    fn no_pieces_panic(text in pieces(), now in time(), zone in zone()) {
        if let Err(error) = moment(&text, &zoned(now, &zone)) {
            prop_assert!(error.contains("is no moment"));
            prop_assert!(!error.chars().any(char::is_control));
        }
    }

    #[test]
    fn what_is_printed_with_its_place_is_read(
        time in time(), here in zone(), now in time(), elsewhere in zone(),
    ) {
        let (shown, now) = (zoned(time, &here), zoned(now, &elsewhere));
        let whole = cut(time, 1);
        let second = cut(time, SECOND);
        let micro = cut(time, 1_000);
        for (text, expected) in [
            // The forms of `show` and of JSON, and of rows whose offset is not the heading's.
            (shown.strftime("%Y-%m-%d %H:%M:%S%.f %:z").to_string(), whole),
            (shown.strftime("%Y-%m-%d %H:%M:%S%.6f%:z").to_string(), micro),
            (shown.timestamp().to_string(), whole),
            (shown.timestamp().strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string(), whole),
            // The names of files.
            (shown.timestamp().strftime("%Y%m%dT%H%M%S%.9fZ").to_string(), whole),
            (shown.timestamp().strftime("%Y%m%dT%H%M%S%.6fZ.parquet").to_string(), micro),
            // The forms of other programs.
            (rfc9557(&shown), whole),
            (shown.strftime("%Y-%m-%dT%H:%M:%S%z").to_string(), second),
            (shown.strftime("@%s.%9f").to_string(), whole),
            (shown.timestamp().strftime("%a %Y-%m-%d %H:%M:%S UTC").to_string(), second),
        ] {
            let expected = Ok(MomentArg { time: expected, note: None });
            prop_assert_eq!(moment(&text, &now), expected, "{}", text);
        }
    }

    #[test]
    fn what_is_printed_of_local_time_is_read(time in time(), zone in zone(), now in time()) {
        let (shown, now) = (zoned(time, &zone), zoned(now, &zone));
        for (format, precision) in
            [("%Y-%m-%d %H:%M:%S%.6f", 1_000), ("%Y-%m-%d %H:%M:%S%.3f", 1_000_000)]
        {
            let text = shown.strftime(format).to_string();
            let read = moment(&text, &now).expect("a moment");
            let expected = cut(time, precision);
            // The second of two is read as the first, and the note reports that choice.
            prop_assert!(read.time == expected || read.note.is_some(), "{}: {:?}", text, read);
            prop_assert!(read.time <= expected, "{}: {:?}", text, read);
        }
        // In the form of journalctl, no two moments are the same.
        let text = shown.strftime("%a %Y-%m-%d %H:%M:%S%.6f %Z").to_string();
        let expected = MomentArg { time: cut(time, 1_000), note: None };
        prop_assert_eq!(moment(&text, &now), Ok(expected), "{}", text);
    }

    #[test]
    fn times_of_day_are_of_the_last_day(
        time in DAY..i64::MAX - 2 * DAY, zone in zone(), since in 0..22 * 3600 * SECOND,
    ) {
        let (shown, now) = (zoned(time, &zone), zoned(time + since, &zone));
        let text = shown.strftime("%H:%M:%S%.6f").to_string();
        let read = moment(&text, &now).expect("a moment");
        prop_assert!(read.time == cut(time, 1_000) || read.note.is_some(), "{}: {:?}", text, read);
    }

    #[test]
    fn logs_are_of_the_last_year(
        time in 366 * DAY..i64::MAX - 366 * DAY, zone in zone(), since in 0..364 * DAY,
    ) {
        let (shown, now) = (zoned(time, &zone), zoned(time + since, &zone));
        let text = shown.strftime("%b %e %H:%M:%S").to_string();
        let read = moment(&text, &now).expect("a moment");
        prop_assert!(read.time == cut(time, SECOND) || read.note.is_some(), "{}: {:?}", text, read);
    }
}
