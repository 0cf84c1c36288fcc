use jiff::Zoned;

use super::*;

/// A Monday, in winter time.
const NOW: &str = "2026-11-23T09:30:00+01:00[Europe/Berlin]";

fn read_at(now: &str, text: &str) -> Result<(String, Option<String>), String> {
    let now: Zoned = now.parse().expect("a moment");
    let moment = moment(text, &now)?;
    let shown = moment.time.timestamp().to_string();
    Ok((shown, moment.note))
}

#[track_caller]
fn check_at(now: &str, text: &str, expected: &str) {
    let (shown, note) = read_at(now, text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(shown, expected, "{text}");
    assert_eq!(note, None, "{text}");
}

#[track_caller]
fn check(text: &str, expected: &str) {
    check_at(NOW, text, expected);
}

#[track_caller]
fn refused(text: &str, why: &str) {
    let error = read_at(NOW, text).expect_err(text);
    let shown: String = text.trim().chars().take(REPEATED).collect();
    assert!(error.contains(&*Escaped(shown.as_bytes()).to_string()), "{error}");
    assert!(error.contains(why), "{error}");
    assert!(error.contains("is no moment") && error.contains("Write 03:12:07"), "{error}");
    assert!(error.len() < 700, "{error}");
}

#[test]
fn moments_are_read_by_the_clock_on_the_wall() {
    check("03:12", "2026-11-23T02:12:00Z");
    check("3:12", "2026-11-23T02:12:00Z");
    check("03:12:07.5", "2026-11-23T02:12:07.5Z");
    check("03:12:07,123456789", "2026-11-23T02:12:07.123456789Z");
    check("09:30", "2026-11-23T08:30:00Z");
    check("09:30:00.000000001", "2026-11-22T08:30:00.000000001Z");
    check("14:00", "2026-11-22T13:00:00Z");
    check("yesterday 14:00", "2026-11-22T13:00:00Z");
    check("  Yesterday   14:00 ", "2026-11-22T13:00:00Z");
    check("yesterday", "2026-11-21T23:00:00Z");
    check("today", "2026-11-22T23:00:00Z");
    check("today 03:10", "2026-11-23T02:10:00Z");
    check("today 23:59", "2026-11-23T22:59:00Z");
    check("2026-10-01", "2026-09-30T22:00:00Z");
    check("20261001", "2026-09-30T22:00:00Z");
    check("2026-10-01 12:00", "2026-10-01T10:00:00Z");
    check("2026-10-01T12:00:01.25", "2026-10-01T10:00:01.25Z");
    check("20261001T1200", "2026-10-01T10:00:00Z");
}

#[test]
fn lengths_of_time_are_before_now() {
    check("now", "2026-11-23T08:30:00Z");
    check("10m ago", "2026-11-23T08:20:00Z");
    check("10m", "2026-11-23T08:20:00Z");
    check("1h 30m ago", "2026-11-23T07:00:00Z");
    check("1h30m", "2026-11-23T07:00:00Z");
    check("90 minutes AGO", "2026-11-23T07:00:00Z");
    check("1.5h", "2026-11-23T07:00:00Z");
    check("0s ago", "2026-11-23T08:30:00Z");
    check("250ms", "2026-11-23T08:29:59.75Z");
    // Days are 24 hours, also across a change of the clock.
    check("30d", "2026-10-24T08:30:00Z");
    check("10000000s", "2026-07-30T14:43:20Z");
    check("2w ago", "2026-11-09T08:30:00Z");
    check("@1795403527", "2026-11-23T03:12:07Z");
    check("@1795403527.5", "2026-11-23T03:12:07.5Z");
    check("@0", "1970-01-01T00:00:00Z");
}

#[test]
fn offsets_and_zones_are_heeded_after_every_form() {
    for moment in ["2026-11-23 03:12", "2026-11-23T03:12", "2026-11-23t03:12:00.000", "03:12"] {
        for place in [
            "+09:00",
            " +09:00",
            "+0900",
            "+09",
            "[Asia/Tokyo]",
            " [Asia/Tokyo]",
            "[!Asia/Tokyo]",
            "[+09:00]",
            "+09:00[Asia/Tokyo]",
            " Asia/Tokyo",
            "[Asia/Tokyo][u-ca=japanese]",
        ] {
            check(&format!("{moment}{place}"), "2026-11-22T18:12:00Z");
        }
        for place in ["Z", "z", " Z", " UTC", " gmt", "-00:00", "+00:00", "[UTC]", "Z[Asia/Tokyo]"]
        {
            check(&format!("{moment}{place}"), "2026-11-23T03:12:00Z");
        }
    }
    check("2026-11-23[Asia/Tokyo]", "2026-11-22T15:00:00Z");
    check("2026-11-23-05:00", "2026-11-23T05:00:00Z");
    check("2026-11-23 UTC", "2026-11-23T00:00:00Z");
    check("20261123 utc", "2026-11-23T00:00:00Z");
    check("1970-01-01 00:00-00:44:30", "1970-01-01T00:44:30Z");
    check("1970-01-01 00:00-004430", "1970-01-01T00:44:30Z");
    check("2026-11-23T03:12:07-03:30", "2026-11-23T06:42:07Z");
    // It is 17:30 in Tokyo, and 22:30 of the day before in Honolulu.
    check("17:29+09:00", "2026-11-23T08:29:00Z");
    check("17:31+09:00", "2026-11-22T08:31:00Z");
    check("08:31Z", "2026-11-22T08:31:00Z");
    check("today Pacific/Honolulu", "2026-11-22T10:00:00Z");
    check("yesterday 14:00 Europe/Berlin", "2026-11-22T13:00:00Z");
    check("03:12 America/Santiago", "2026-11-23T06:12:00Z");
}

#[test]
fn places_that_contradict_or_are_not_known_are_refused() {
    refused("2026-11-23T03:12+09:00[Europe/Berlin]", "Europe/Berlin has +01 (CET) then");
    refused("2026-07-01T03:12+01:00[Europe/Berlin]", "Europe/Berlin has +02 (CEST) then");
    refused("03:12+09:00[UTC]", "its offset contradicts its zone");
    refused("2026-03-29T02:30+01:00[Europe/Berlin]", "its offset contradicts its zone");
    refused("2026-11-23T03:12[!u-ca=hebrew]", "it demands [!u-ca=hebrew] to be heeded");
    refused("2026-11-23T03:12[Asia/Tokyo][!u-ca=iso8601]", "it demands [!u-ca=iso8601]");
    refused("2026-11-23T03:12[Mars/Olympus]", "this host knows no zone 'Mars/Olympus'");
    refused("2026-11-23T03:12[Etc/Unknown]", "this host knows no zone 'Etc/Unknown'");
    refused("2026-11-23T03:12[]", "this host knows no zone ''");
    refused("2026-11-23T03:12[Asia/Tokyo", "a bracket is not closed");
    refused("2026-11-23T03:12[Asia/Tokyo][Asia/Tokyo]", "more than one zone");
    refused("2026-11-23T03:12[Asia/Tokyo] UTC", "more than one zone");
    refused("2026-11-23T03:12+01:00+02:00", "more than one offset");
    for bad in
        ["+1", "+1:00", "+24", "+01:60", "+01:0", "+01:00:00:00", "+", "+010", "+01000000", "+99"]
    {
        refused(&format!("03:12{bad}"), "is no offset");
    }
    refused("03:12 UTC+2", "'UTC+2' is not what Europe/Berlin is called then");
    refused("03:12 ../../etc/passwd", "nothing is known of");
    refused("03:12 a/../../etc/passwd", "this host knows no zone");
}

#[test]
fn moments_of_logs_are_the_last_ones() {
    check("Nov 23 03:12:07", "2026-11-23T02:12:07Z");
    check("nov 23 03:12", "2026-11-23T02:12:00Z");
    check("Nov  3 03:12:07", "2026-11-03T02:12:07Z");
    check("Nov 03 03:12:07", "2026-11-03T02:12:07Z");
    check("Nov 23 09:30:01", "2025-11-23T08:30:01Z");
    check("Dec 31 23:59:59", "2025-12-31T22:59:59Z");
    check("Jul  1 12:00:00", "2026-07-01T10:00:00Z");
    check("Nov 23", "2026-11-22T23:00:00Z");
    check("Feb 29 12:00", "2024-02-29T11:00:00Z");
    check("Nov 23 03:12:07 UTC", "2026-11-23T03:12:07Z");
    check("Mon Nov 23 03:12:07", "2026-11-23T02:12:07Z");
    check("Sun Nov 23 03:12:07", "2025-11-23T02:12:07Z");
    check("Mon 2026-11-23 03:12:07 CET", "2026-11-23T02:12:07Z");
    check("Mon 2026-11-23 03:12:07.123456 CET", "2026-11-23T02:12:07.123456Z");
    check("Wed 2026-07-01 12:00:00 CEST", "2026-07-01T10:00:00Z");
    check("Mon, 2026-11-23 03:12:07 UTC", "2026-11-23T03:12:07Z");
    // A zone without letters has an offset as its abbreviation.
    check_at(
        "2026-11-23T09:30[Europe/Istanbul]",
        "Mon 2026-11-23 03:12:07 +03",
        "2026-11-23T00:12:07Z",
    );
    check_at(
        "2026-11-23T09:30[Europe/London]",
        "Wed 2026-07-01 12:00:00 BST",
        "2026-07-01T11:00:00Z",
    );
    check_at("2026-11-23T09:30[UTC]", "Mon 2026-11-23 03:12:07 UTC", "2026-11-23T03:12:07Z");

    refused("Tue 2026-11-23 03:12:07 CET", "2026-11-23 is no Tuesday");
    refused("Mon 2026-11-23 03:12:07 EST", "'EST' is not what Europe/Berlin is called then");
    refused("Mon 2026-11-23 03:12:07 CEST", "which has +01 (CET)");
    refused("Wed 2026-07-01 03:12:07 CET", "which has +02 (CEST)");
    refused("03:12 PM", "'PM' is not what");
    refused("Mon 03:12", "a day of the week without a date");
    refused("Nov 03:12", "nothing is known of ':12'");
    refused("Nov 32 03:12", "after the month there is no day of it");
    refused("Feb 30 03:12", "no year has that day");
    refused("Nov 23 2026 03:12", "'2026' is no time of day");
}

#[test]
fn moments_that_netmon_prints_are_read() {
    check("2026-11-23 03:12:07.123456 +01:00", "2026-11-23T02:12:07.123456Z");
    check("2026-11-23 03:12:07 +00:00", "2026-11-23T03:12:07Z");
    check("2026-11-23 03:12:07.123456", "2026-11-23T02:12:07.123456Z");
    check("2026-10-20 03:12:07.123456+02:00", "2026-10-20T01:12:07.123456Z");
    check("2026-11-23 03:12:07.123", "2026-11-23T02:12:07.123Z");
    check("2026-11-23T03:12:07.123456789Z", "2026-11-23T03:12:07.123456789Z");
    check("19:33:20.125456", "2026-11-22T18:33:20.125456Z");
    check("20261123T031207.123456Z", "2026-11-23T03:12:07.123456Z");
    check("20261123T031207.123456789Z", "2026-11-23T03:12:07.123456789Z");
    check("20261123T031207.123456Z.parquet", "2026-11-23T03:12:07.123456Z");
    check("events-20261123T031207.123456789Z.arrows", "2026-11-23T03:12:07.123456789Z");
    let path = "host=a-b/date=2026-11-23/hour=03/events-20261123T031207.123456Z.parquet";
    check(path, "2026-11-23T03:12:07.123456Z");
}

#[test]
fn the_first_of_two_is_taken_and_reported() {
    let now = "2026-10-25T12:00[Europe/Berlin]";
    let (shown, note) = read_at(now, "2026-10-25 02:30").expect("a moment");
    assert_eq!(shown, "2026-10-25T00:30:00Z");
    assert_eq!(
        note.as_deref(),
        Some(
            "2026-10-25 02:30:00 comes twice in Europe/Berlin: the first is taken, \
             '2026-10-25 02:30:00+02:00'; the second is '2026-10-25 02:30:00+01:00'"
        )
    );
    let (shown, note) = read_at(now, "02:30").expect("a moment");
    assert_eq!(shown, "2026-10-25T00:30:00Z");
    assert!(note.is_some_and(|note| note.contains("comes twice")));
    // A text with an offset or a name has only one reading, and no note.
    check_at(now, "2026-10-25 02:30:00+02:00", "2026-10-25T00:30:00Z");
    check_at(now, "2026-10-25 02:30:00+01:00", "2026-10-25T01:30:00Z");
    check_at(now, "2026-10-25T02:30:00+01:00[Europe/Berlin]", "2026-10-25T01:30:00Z");
    check_at(now, "Sun 2026-10-25 02:30:00 CEST", "2026-10-25T00:30:00Z");
    check_at(now, "Sun 2026-10-25 02:30:00 CET", "2026-10-25T01:30:00Z");
    check_at(now, "2026-10-25 03:00", "2026-10-25T02:00:00Z");
    // Between the two, the second is yet to come; before both, yesterday's is the last one.
    let between = "2026-10-25T02:10+01:00[Europe/Berlin]";
    assert_eq!(read_at(between, "02:30").expect("a moment").0, "2026-10-25T00:30:00Z");
    check_at("2026-10-25T02:10+02:00[Europe/Berlin]", "02:30", "2026-10-24T00:30:00Z");
    // An abbreviation that the day before had finds that day.
    check_at(now, "03:12 CEST", "2026-10-24T01:12:00Z");
}

#[test]
fn a_time_that_does_not_come_is_later_and_reported() {
    let now = "2026-03-29T12:00[Europe/Berlin]";
    for text in ["2026-03-29 02:30", "02:30", "2026-03-29T02:30[Europe/Berlin]"] {
        let (shown, note) = read_at(now, text).expect("a moment");
        assert_eq!(shown, "2026-03-29T01:30:00Z");
        assert_eq!(
            note.as_deref(),
            Some(
                "2026-03-29 02:30:00 does not come in Europe/Berlin, where the clock was set \
                 forward then: '2026-03-29 03:30:00+02:00' is taken"
            )
        );
    }
    let error = read_at(now, "2026-03-29 02:30 CET").expect_err("no such time");
    assert!(error.contains("'CET' is not what Europe/Berlin is called then"), "{error}");
}

#[test]
fn anything_else_is_refused() {
    refused("", "it is empty");
    refused(" \t ", "it is empty");
    refused(&"9".repeat(10_000), "it is too long");
    refused(&"é".repeat(10_000), "it is too long");
    refused("gestern für immer", "it has characters that no form has");
    refused("03:12\u{1b}[31m", "nothing is known of '\\u{1b}[31m'");
    refused("3", "'3' is no time of day");
    refused("25:00", "there is no time of day 25:00");
    refused("24:00", "there is no time of day 24:00");
    refused("03:60", "there is no time of day");
    refused("03:12:60", "there is no time of day");
    refused("003:12", "there is no time of day");
    refused("03:1", "there is no time of day");
    refused("03:12:", "there is no time of day");
    refused("03:12:07.", "after the point there are no digits");
    refused("03:12:07.1234567890", "finer than a nanosecond");
    refused("03:12.5+09:00", "nothing is known of '.5+09:00'");
    refused("soon", "neither a date nor a time of day");
    refused("yesterday noon", "'noon' is not what");
    refused("tomorrow", "neither a date nor a time of day");
    refused("2026-13-01", "there is no day 2026-13-01");
    refused("2026-02-29", "there is no day 2026-02-29");
    refused("2026-1-3", "there is no day 2026-1-3");
    refused("2026-11", "there is no day 2026-11");
    refused("2026-11-23T", "after the T there is no time of day");
    refused("2026-11-23 0312", "'0312' is no time of day");
    refused("1500-01-01", "years go from 1678 to 2261");
    refused("9999-12-31 23:59:59-05:00", "years go from");
    refused("10000-01-01", "is no time of day");
    refused("ago", "is no length of time");
    refused("5 ago", "is no length of time");
    refused("5m ago ago", "is no length of time");
    refused("1 month ago", "is no length of time");
    refused("99999999999999999999m ago", "is no length of time");
    refused("10000000d", "is no length of time");
    refused("200000w", "years go from");
    refused("7000000d", "too long ago");
    refused("-5m", "it is negative");
    refused("-5m ago", "it is negative");
    refused("+5m", "neither a date nor a time of day");
    refused("@-5", "it is before 1970");
    refused("@", "after @ are seconds since 1970");
    refused("@1e9", "after @ are seconds since 1970");
    refused("@99999999999999999", "no calendar goes that far");
    refused("@99999999999", "years go from");
    refused("@999999999999999999999999", "no calendar goes that far");
}

#[test]
fn every_form_of_the_help_is_one() {
    for (forms, _) in FORMS {
        forms.split(", ").for_each(|form| drop(read_at(NOW, form).expect(form)));
    }
}

#[test]
fn every_form_of_the_documentation_is_one() {
    let text = include_str!("../../../../../docs/time.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let forms: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(forms.len() > FORMS.len(), "{forms:?}");
    forms.iter().for_each(|form| drop(read_at(NOW, form).expect(form)));
    for (forms, _) in FORMS {
        forms.split(", ").for_each(|form| assert!(text.contains(&format!("`{form}`")), "{form}"));
    }
}
