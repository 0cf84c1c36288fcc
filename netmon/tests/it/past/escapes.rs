//! A process with a name that a spreadsheet, a terminal or a filter could misread.

use super::*;
use crate::schema::object;

/// A formula with a comma, quotes, a space, and a C1 control character.
const COMM: &str = "=1,\"a b\"\u{9b}";

#[test]
fn a_name_is_only_a_name() {
    let directory = Directory::new("escapes");
    let at = ("0.0.0.0:1001", "0.0.0.0:0");
    let opening = owner(1, COMM.as_bytes());
    let listens =
        Event::Transition(Transition { opening, ..transition(1_000, 1, at, Close, Listen) });
    let anchor = Event::Anchor(Anchor { monotonic: Mono::BOOT, wall: NOON });
    let _ = record(&directory.0, "here", vec![anchor, listens]).close();

    let csv = stdout(&["export", "--format", "csv"], &directory.0);
    assert!(csv.contains(",\"'=1,\"\"a b\"\"\u{9b}\","), "{csv}");
    let json = stdout(&["export", "--format", "jsonl"], &directory.0);
    assert!(json.contains(r#""comm":"=1,\"a b\"\u009b""#), "{json}");
    let rows = json.lines().map(|line| {
        let row = object(line);
        row["comm"].as_str().map(str::to_owned)
    });
    assert!(rows.flatten().any(|comm| comm == COMM), "{json}");

    let program = env!("CARGO_BIN_EXE_netmon");
    let export = format!("'{program}' export --format csv --journal '{}'", directory.0.display());
    let output = Command::new("script").args(["-qec", &export, "/dev/null"]).output();
    let shown = String::from_utf8(output.expect("script (util-linux)").stdout).expect("text");
    assert!(shown.contains(",\"'=1,\"\"a b\"\"\\u{9b}\","), "{shown}");

    let list = |filter: &str| {
        let list = ["snapshot", "-tnlpH", "--utc", "--at", "2025-12-18T12:00:01Z", filter];
        all_output(&list, &directory.0)
    };
    let quoted = format!("comm = \"{}\"", COMM.replace('"', "\"\""));
    assert!(list(&quoted).contains("1/=1\\u{2c}\"a b\"\\u{9b}\n"), "{}", list(&quoted));
    assert!(!list("comm = \"=1\"").contains("1001"), "{}", list("comm = \"=1\""));
}
