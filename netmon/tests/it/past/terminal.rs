//! The journal that the environment names, and the messages of a reader on a terminal.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::{copy, netmon};

#[test]
fn the_environment_names_the_journal_and_the_command_line_prevails() {
    let (directory, _) = copy("variable");
    let expected = netmon(&["history", "--utc"], &directory.0);
    assert!(expected.status.success() && !expected.stdout.is_empty(), "{expected:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    command.args(["history", "--utc"]).env("NETMON_JOURNAL", &directory.0);
    assert_eq!(command.output().expect("netmon").stdout, expected.stdout);
    command.args(["--journal", "/no/such/journal"]);
    let output = command.output().expect("netmon");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// Returns the messages of netmon with `arguments` and a journal on a terminal.
fn messages(arguments: &str, journal: &Path) -> String {
    let (program, journal) = (env!("CARGO_BIN_EXE_netmon"), journal.display());
    let line = format!("{program} {arguments} --utc --journal {journal} > /dev/null");
    let mut script = Command::new("script");
    let output = script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
    String::from_utf8(output.expect("script(1)").stdout).expect("UTF-8")
}

/// Headings alone leave a person in doubt whether anything was read.
#[test]
fn a_history_without_a_row_says_so_on_a_terminal() {
    let (directory, _) = copy("empty");
    let shown = messages("history 'cookie = 1'", &directory.0);
    assert!(shown.contains("netmon: no connection from 2"), "{shown}");
    assert!(shown.contains(" matches\r\n"), "{shown}");
    let shown = messages("history", &directory.0);
    assert!(!shown.contains("no connection"), "{shown}");
}

#[test]
fn an_export_announces_its_work_on_a_terminal() {
    let (directory, _) = copy("announced");
    let shown = messages("export --format csv", &directory.0);
    assert_eq!(shown.matches("netmon: writing all events from 2").count(), 1, "{shown}");
}
