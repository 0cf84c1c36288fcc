//! The help of each command and of each topic, to the byte.

use std::{
    fs,
    process::{Command, Output},
};

/// Runs netmon as on a terminal of 80 columns, without settings of a user.
pub(super) fn netmon(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    for variable in ["NETMON_CONFIG", "NETMON_JOURNAL", "COLUMNS", "LC_ALL", "LC_MESSAGES", "LANG"]
    {
        command.env_remove(variable);
    }
    command.args(args).output().expect("netmon")
}

fn help(args: &[&str]) -> String {
    let output = netmon(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The beginnings of the lines with examples of this host, in every language.
const EXAMPLES: [&str; 6] = [
    "On this host now: ",
    "This host listens on: ",
    "A row here: ",
    "Neste host agora: ",
    "Este host ouve em: ",
    "Uma linha: ",
];

/// Returns a topic as on a host with the usual ports for clients, and without a socket.
pub(super) fn without_examples(text: &str) -> String {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("ip(7)");
    let range = range.split_whitespace().collect::<Vec<_>>().join("-");
    let text = text.replace(&format!("  {range:<11}  "), "  32768-60999  ");
    let is_example = |line: &&str| EXAMPLES.iter().any(|example| line.starts_with(example));
    let lines: Vec<_> = text.lines().filter(|line| !is_example(line)).collect();
    format!("{}\n", lines.join("\n").trim_end())
}

const COMMANDS: [&[&str]; 19] = [
    &[],
    &["snapshot"],
    &["watch"],
    &["top"],
    &["record"],
    &["history"],
    &["export"],
    &["journal"],
    &["journal", "check"],
    &["doctor"],
    &["verify"],
    &["netstat"],
    &["routes"],
    &["interfaces"],
    &["stats"],
    &["services"],
    &["man"],
    &["completions"],
    &["help"],
];

#[test]
fn commands() {
    for command in COMMANDS {
        let (short, long) =
            (help(&[command, &["-h"]].concat()), help(&[command, &["--help"]].concat()));
        let whole =
            if command.is_empty() { help(&["help"]) } else { help(&[&["help"], command].concat()) };
        assert_eq!(whole, long, "netmon help is --help");
        let name = [&["help"], command].concat().join("_");
        insta::assert_snapshot!(name, format!("{short}\n==== --help\n\n{long}"));
    }
}

#[test]
fn topics() {
    for topic in ["states", "ports", "verdicts", "columns", "filter", "time", "flags"] {
        insta::assert_snapshot!(
            format!("topic_{topic}"),
            without_examples(&help(&["help", topic]))
        );
    }
}

#[test]
fn netmon_alone_shows_its_help_as_an_error() {
    let output = netmon(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), help(&["-h"]));
}
