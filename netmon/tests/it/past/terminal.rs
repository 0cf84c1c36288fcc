//! The journal that the environment names, and the messages of a reader on a terminal.

use std::process::{Command, Stdio};

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

#[test]
fn an_export_announces_its_work_on_a_terminal() {
    let (directory, _) = copy("announced");
    let (program, journal) = (env!("CARGO_BIN_EXE_netmon"), directory.0.display());
    let line = format!("{program} export --format csv --utc --journal {journal} > /dev/null");
    let mut script = Command::new("script");
    let output = script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
    let shown = String::from_utf8(output.expect("script(1)").stdout).expect("UTF-8");
    assert_eq!(shown.matches("netmon: writing all events from 2").count(), 1, "{shown}");
}
