//! Connections that are open at the end of a stretch of time, and the ends of a journal.

use super::*;

/// The last moment of the sample events, and a minute before.
const LAST: &str = "2025-12-17T19:34:20.1Z";
const MINUTE_BEFORE: &str = "2025-12-17T19:33:20.2Z";

/// A filter takes the lifetime that a line prints: of an open connection, up to the end of the
/// stretch.
#[test]
fn an_open_connection_has_a_lifetime() {
    let (directory, _) = copy("lifetime");
    let history = |filter: &str, to: &str| {
        let arguments = ["history", "-nW", "--utc", "--sort", "lifetime", "--to", to, filter];
        let text = stdout(&arguments, &directory.0);
        text.lines().filter(|line| line.contains(" open, ")).count()
    };
    // Of another open connection, the beginning is not known.
    assert_eq!(history("", LAST), 2);
    assert_eq!(history("lifetime > 50s", LAST), 1);
    assert_eq!(history("lifetime > 50s and state syn-recv", LAST), 1);
    assert_eq!(history("not lifetime < 50s", LAST), 2);
    assert_eq!(history("lifetime < 50s", LAST), 0);
    assert_eq!(history("lifetime > 50s", MINUTE_BEFORE), 0);
    assert_eq!(history("lifetime < 1s and lifetime > 50ms", MINUTE_BEFORE), 1);
    let listing = |filter: &str, at: &str| {
        let arguments = ["snapshot", "-tanH", "--utc", "--at", at, filter];
        let text = all_output(&arguments, &directory.0);
        text.lines().filter(|line| line.contains(" 10.0.0.9:60000 ")).count()
    };
    assert_eq!(listing("lifetime > 50s", LAST), 1);
    assert_eq!(listing("lifetime > 50s", MINUTE_BEFORE), 0);
    assert_eq!(listing("lifetime < 50s", MINUTE_BEFORE), 1);
    let watch = |filter: &str, from: &str| {
        let arguments = ["watch", "--initial", "-nW", "--utc", "--from", from, filter];
        let text = stdout(&arguments, &directory.0);
        text.lines().filter(|line| line.contains(" 10.0.0.9:60000 ")).count()
    };
    assert_eq!(watch("lifetime > 50s", LAST), 1);
    assert_eq!(watch("lifetime < 50s", LAST), 0);
}

/// A journal has no measurements of open connections: those that a filter of measurements leaves
/// out are counted, once.
#[test]
fn open_connections_without_measurements_are_counted() {
    let (directory, _) = copy("unmeasured");
    let note = |filter: &str| {
        let output = netmon(&["history", "-n", filter], &directory.0);
        let errors = String::from_utf8(output.stderr).expect("text");
        let notes = errors.lines().filter(|line| line.contains("left out"));
        notes.map(str::to_owned).collect::<Vec<_>>()
    };
    let why = "left out: a journal has";
    let ended = "only of connections that ended";
    assert_eq!(
        note("bytes > 1M"),
        [format!("netmon: 2 open connections are {why} 'bytes' {ended}")]
    );
    assert_eq!(
        note("state established and ( rtt > 1s or retrans > 0 )"),
        [format!("netmon: 1 open connection is {why} 'retrans' and 'rtt' {ended}")]
    );
    for filter in ["", "not bytes > 1M", "dport = 1 and bytes > 1", "failed", "lifetime > 1s"] {
        assert!(note(filter).is_empty(), "{filter}");
    }
    let summary = all_output(&["history", "--summary", "sent > 1M"], &directory.0);
    assert!(summary.contains(&format!("2 open connections are {why} 'bytes_sent'")), "{summary}");
}

/// An error about a moment tells on which side of the journal the moment is.
#[test]
fn a_moment_outside_of_the_journal_is_refused() {
    let (directory, _) = copy("outside");
    let failed = |code, arguments: &[&str]| {
        let output = netmon(&[arguments, &["--utc"]].concat(), &directory.0);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    let error = |arguments: &[&str]| failed(1, arguments);
    let before = "netmon: 2020-01-01 00:00:00 +00:00 is before the journal, which begins at \
                  2025-12-17 19:33:20.123456 +00:00\n";
    let after = "netmon: 2026-01-01 00:00:00 +00:00 is after the journal, which ends at 2025-12-17 \
                 19:34:20.185456 +00:00; no recorder runs\n";
    assert_eq!(error(&["snapshot", "--at", "2020-01-01"]), before);
    assert_eq!(error(&["history", "--to", "2020-01-01"]), before);
    assert_eq!(error(&["snapshot", "--at", "2026-01-01"]), after);
    assert_eq!(error(&["history", "--from", "2026-01-01"]), after);
    assert_eq!(error(&["watch", "--from", "2026-01-01", "--to", "2026-01-02"]), after);
    assert_eq!(
        failed(2, &["history", "--from", "2026-01-01", "--to", "2020-01-01"]),
        "netmon: --from 2026-01-01 00:00:00 +00:00 is after --to 2020-01-01 00:00:00 +00:00\n"
    );
    for arguments in [["history", "--from", "soon"], ["snapshot", "--at", "soon"]] {
        assert!(failed(2, &arguments).starts_with("netmon: 'soon' is no moment"));
    }
}
