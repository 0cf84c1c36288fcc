use std::path::Path;

use super::*;
use crate::{
    cli::{Cli, help::examples},
    core::filter::{Filter, FilterNames, RowKind},
};

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn definition() -> Command {
    layout(Cli::command())
}

#[track_caller]
fn assert_completed(line: &str, expected: &str) {
    assert_eq!(complete(&definition(), words(line)), words(expected), "{line}");
}

#[test]
fn flags_without_a_command_are_those_of_snapshot() {
    assert_completed("netmon -tulpen", "netmon snapshot -tulpen");
    assert_completed(
        "netmon -v --json state established",
        "netmon -v snapshot --json state established",
    );
    assert_completed("netmon --color never -tan", "netmon --color never snapshot -tan");
    assert_completed("netmon --color never routes -c 5", "netmon --color never routes -c=5");
    assert_completed("netmon --color=never snapshot -c 5", "netmon --color=never snapshot -c=5");
    for line in
        ["netmon", "netmon -h", "netmon --help", "netmon -V", "netmon -vv watch", "netmon list"]
    {
        assert_completed(line, line);
    }
    // A flag before its command is a mistake of its own.
    assert_completed("netmon --json watch", "netmon --json watch");
}

#[test]
fn a_number_after_c_is_its_value() {
    assert_completed("netmon -tanc 5", "netmon snapshot -tanc=5");
    assert_completed("netmon snapshot --continuous 2 -t", "netmon snapshot --continuous=2 -t");
    assert_completed("netmon snapshot -c state listening", "netmon snapshot -c state listening");
    assert_completed("netmon routes -c 5", "netmon routes -c=5");
    let seconds = |line: &str| {
        let matches = matches(&definition(), words(line), &Config::default()).expect(line);
        let (_, snapshot) = matches.subcommand().expect(line);
        snapshot.get_one::<u32>("continuous").copied()
    };
    assert_eq!(seconds("netmon -c"), Some(1));
    assert_eq!(seconds("netmon -ct"), Some(1));
    assert_eq!(seconds("netmon -tc state listening"), Some(1));
    assert_eq!(seconds("netmon -c 7 -t"), Some(7));
    assert_eq!(seconds("netmon snapshot -c=7"), Some(7));
    assert_eq!(seconds("netmon snapshot"), None);
}

#[test]
fn flags_may_come_twice_and_the_last_value_counts() {
    let line = "netmon record --max-size 1G --max-size 2G";
    let matches = matches(&definition(), words(line), &Config::default()).expect(line);
    let (_, record) = matches.subcommand().expect(line);
    assert_eq!(record.get_one::<u64>("max_size"), Some(&(2 << 30)));
    let line = "netmon -tnn dport = :443 -n and state established";
    let matches = super::matches(&definition(), words(line), &Config::default()).expect(line);
    let (_, snapshot) = matches.subcommand().expect(line);
    let filter: Vec<_> = snapshot.get_many::<String>("filter").expect(line).collect();
    assert_eq!(filter, ["dport", "=", ":443", "and", "state", "established"]);
}

#[test]
fn notes_are_for_netstats_meanings_alone() {
    let note = |line: &str| {
        let words = words(line);
        let matches = matches(&definition(), words.clone(), &Config::default()).expect(line);
        note(&matches, &words)
    };
    for line in ["netmon -r", "netmon -rn", "netmon -nr", "netmon snapshot -r"] {
        assert_eq!(note(line), Some(foreign::ROUTES), "{line}");
    }
    assert_eq!(note("netmon -i"), Some(foreign::INTERFACES));
    for line in ["netmon -tr", "netmon -ti", "netmon -n", "netmon -i dport = :443", "netmon top"] {
        assert_eq!(note(line), None, "{line}");
    }
}

#[test]
fn no_foreign_flag_is_one_of_its_command() {
    let root = definition();
    for row in foreign::FLAGS.iter().chain(&foreign::OTHERS) {
        for command in row.commands {
            let known = root.find_subcommand(command).expect("a command");
            let is_known = |name: &&&str| {
                known.get_arguments().any(|arg| {
                    let longs = arg.get_long_and_visible_aliases().into_iter().flatten();
                    arg.get_short().is_some_and(|short| ***name == format!("-{short}"))
                        || longs.into_iter().any(|long| ***name == format!("--{long}"))
                })
            };
            assert_eq!(row.names.iter().find(is_known), None, "{command}");
            let first = foreign::find(command, row.names[0]).expect("a row");
            assert_eq!(first.names, row.names, "{command}: an earlier row hides this one");
        }
    }
}

fn config(text: &str) -> Result<Config, String> {
    Config::parse(&definition(), Path::new("flags").into(), text)
}

#[test]
fn default_flags_are_for_the_commands_that_have_them() {
    let config = config(
        "# comment\n\n--utc\nwatch --json\n  record --max-size 20G\n\
         snapshot --at yesterday 14:00\njournal check --host=db*\nexport --format csv\n-v",
    )
    .expect("flags");
    let flags = |command: &[&str]| {
        let flags = config.flags(command).into_iter();
        flags.map(|flag| flag.into_string().expect("text")).collect::<Vec<_>>().join("|")
    };
    assert_eq!(flags(&["watch"]), "--utc|--json|-v");
    assert_eq!(flags(&["record"]), "--max-size=20G|-v");
    assert_eq!(flags(&["snapshot"]), "--utc|--at=yesterday 14:00|-v");
    assert_eq!(flags(&["journal", "check"]), "--utc|--host=db*|-v");
    assert_eq!(flags(&["export"]), "--utc|--format=csv|-v");
    assert_eq!(flags(&["services"]), "-v");
    assert_eq!(flags(&[]), "");
}

#[test]
fn the_command_line_prevails_over_default_flags() {
    let config = config("record --max-size 1G\nsnapshot -n\nsnapshot --sort local").expect("flags");
    let read = |line: &str| matches(&definition(), words(line), &config);
    let matches = read("netmon record --max-size 2G").expect("read");
    let (_, record) = matches.subcommand().expect("a command");
    assert_eq!(record.get_one::<u64>("max_size"), Some(&(2 << 30)));
    let matches = read("netmon -r").expect("read");
    let (_, snapshot) = matches.subcommand().expect("a command");
    assert!(snapshot.get_flag("resolve") && !snapshot.get_flag("numeric"));
    let Err(Mistake::Message(message)) = read("netmon snapshot --summary") else { panic!("read") };
    assert!(message.contains("flags count too"), "{message}");
}

#[test]
fn wrong_lines_of_default_flags_are_named() {
    for (line, wrong) in [
        ("--jason", "flags:2: no command has --jason"),
        ("watch --sort local", "flags:2: watch has no --sort"),
        ("wacht --json", "'wacht' is no command and no flag"),
        ("watch", "there is no flag after watch"),
        ("watch dport = :443", "'dport' is no command"),
        ("watch --json yes", "unexpected value 'yes' for '--json'"),
        ("record --max-size lots", "'lots' is no size"),
        ("--help", "no command has --help"),
        ("watch --", "watch has no --"),
        ("--journal /srv", "every netmon watch would be a replay"),
        ("--from=yesterday", "name the command before --from"),
    ] {
        let error = config(&format!("# flags\n{line}\n")).expect_err(line);
        assert!(error.contains(wrong), "{line}: {error}");
        assert_eq!(error.lines().count(), 2, "{error}");
    }
}

struct AnyName;

impl FilterNames for AnyName {
    fn user(&self, _name: &str) -> Option<u32> {
        Some(1)
    }
}

/// The words of a line for a shell, up to a redirection or a pipe.
fn shell_words(line: &str) -> Vec<OsString> {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            let plain = part.split_whitespace().take_while(|word| !matches!(*word, ">" | "|"));
            words.extend(plain.map(str::to_owned));
        }
    }
    words.into_iter().map(OsString::from).collect()
}

#[track_caller]
fn assert_runs(line: &str) {
    let words = shell_words(line.strip_prefix("sudo ").unwrap_or(line));
    assert_eq!(words.first(), Some(&"netmon".into()), "{line}");
    let matches = matches(&definition(), words, &Config::default()).expect(line);
    let (_, of_command) = matches.subcommand().expect(line);
    if let Ok(Some(filter)) = of_command.try_get_many::<String>("filter") {
        let filter = filter.cloned().collect::<Vec<_>>().join(" ");
        Filter::parse(&filter, &AnyName, RowKind::Connection)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn every_example_runs() {
    fn check(command: &Command) {
        examples(command).for_each(|(line, _)| assert_runs(&line));
        command.get_subcommands().for_each(check);
    }
    check(&definition());
}
