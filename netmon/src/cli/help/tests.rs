use std::net::IpAddr;

use clap::CommandFactory;

use super::{
    topics::{COLUMNS, EVIDENCE, FILTER, VERDICTS},
    *,
};
use crate::{
    cli::Cli,
    core::{
        filter::{Filter, FilterNames, RowKind, WORDS},
        process::Evidence,
        tcp::TcpState,
        verdict::Verdict,
    },
    view::language::{ENGLISH, LANGUAGES},
};

/// The lines of a screen.
const LINES: usize = 24;

/// Every command that `--help` shows, with all its names.
fn commands() -> Vec<(String, Command)> {
    fn add(command: &Command, name: &str, to: &mut Vec<(String, Command)>) {
        to.push((name.to_owned(), command.clone()));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            add(below, &format!("{name} {}", below.get_name()), to);
        }
    }
    let mut commands = Vec::new();
    let mut root = layout(Cli::command());
    root.build();
    add(&root, "netmon", &mut commands);
    commands
}

#[track_caller]
fn assert_fits(name: &str, text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= COLUMNS, "{name}: {line}");
    }
}

#[test]
fn every_command_begins_with_examples_and_fits_a_terminal() {
    for (name, mut command) in commands() {
        let count = examples(&command).count();
        assert!((2..=3).contains(&count), "{name} has {count} examples");
        assert_fits(&name, &command.render_help().to_string());
        assert_fits(&name, &command.render_long_help().to_string());
    }
}

#[test]
fn every_option_has_a_group() {
    for (name, command) in commands() {
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            assert!(arg.get_help_heading().is_some(), "{name}: {}", arg.get_id());
        }
    }
}

#[test]
fn every_topic_fits_a_screen() {
    for topic in &TOPICS {
        for language in LANGUAGES {
            let text = (topic.text)(language);
            assert_fits(topic.name, &text);
            assert!(text.lines().count() <= LINES, "{}: {}", topic.name, text.lines().count());
            assert!(text.ends_with('\n') && !text.contains(['{', '}']), "{text}");
        }
        assert!(commands().iter().all(|(name, _)| *name != format!("netmon {}", topic.name)));
    }
}

/// Returns the lines of a paragraph that have a word and its meaning.
fn rows(text: &'static str, paragraph: usize) -> Vec<(&'static str, &'static str)> {
    let lines = text.split("\n\n").nth(paragraph).expect("a paragraph").lines();
    let row = |line: &'static str| {
        let (word, meaning) = line.strip_prefix("  ")?.split_once("  ")?;
        Some((word, meaning.trim_start()))
    };
    lines.filter_map(row).collect()
}

#[test]
fn every_state_is_explained_once_in_every_language() {
    for language in LANGUAGES {
        let rows = rows(language.topics.states, 1);
        assert_eq!(rows.len(), TcpState::ALL.len());
        for state in TcpState::ALL {
            let name = (language.state)(state);
            let found: Vec<_> = rows.iter().filter(|(known, _)| *known == name).collect();
            let [(_, meaning)] = found[..] else { panic!("{language:?}: {name}: {found:?}") };
            // Filters take the English name.
            let is_english = name == state.name() && language.locale == "en";
            assert!(is_english || meaning.starts_with(state.name()), "{name}: {meaning}");
        }
    }
}

#[test]
fn every_verdict_and_evidence_is_explained_once() {
    let missing =
        |names: &[&str], name: &str| names.iter().filter(|known| **known == name).count() != 1;
    let verdicts = VERDICTS.map(|(verdict, _)| verdict.name());
    assert!(!Verdict::ALL.iter().any(|verdict| missing(&verdicts, verdict.name())));
    let evidence = EVIDENCE.map(|(evidence, _)| evidence.name());
    assert!(!Evidence::ALL.iter().any(|known| missing(&evidence, known.name())));
}

/// The headings of listings, in the output that other tests expect.
const LISTINGS: [&str; 2] = [
    include_str!("../../../tests/it/snapshots/it__listing__extended.snap"),
    include_str!("../../../tests/it/snapshots/it__listing__timers_and_namespaces.snap"),
];
const VIEWS: [&str; 2] = [
    include_str!("../../../tests/it/snapshots/it__views__text.snap"),
    include_str!("../../../tests/it/past/snapshots/it__past__history.snap"),
];

/// Asserts that a heading has the names of columns and nothing else.
#[track_caller]
fn assert_explained(heading: &str, columns: &[(&str, &str)]) {
    let mut names: Vec<_> = columns.iter().flat_map(|(names, _)| names.split(", ")).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let rest = names.iter().fold(heading.to_owned(), |rest, name| rest.replace(name, ""));
    assert_eq!(rest.trim(), "", "{heading}");
}

#[test]
fn every_heading_is_explained() {
    let listing = rows(ENGLISH.topics.columns, 0);
    let unix = ["RefCnt", "Flags", "Type", "I-Node", "Path"].map(|name| (name, ""));
    let unix: Vec<_> = listing.iter().copied().chain(unix).collect();
    for heading in LISTINGS.iter().flat_map(|text| text.lines()) {
        if heading.starts_with("Proto") {
            assert_explained(heading, &unix);
        }
    }
    let changes = rows(ENGLISH.topics.columns, 1);
    let all: Vec<_> = listing.into_iter().chain(changes.iter().copied()).collect();
    for heading in VIEWS.iter().flat_map(|text| text.lines()) {
        if heading.starts_with("Time ") || heading.starts_with("Date ") {
            // The offset of the times.
            assert_explained(&heading.replace("(+00:00)", ""), &all);
        }
    }
    let names = |rows: Vec<(&'static str, _)>| rows.into_iter().map(|(name, _)| name);
    for language in LANGUAGES {
        let of = &language.headings;
        let headings = [of.proto, of.recv_q, of.send_q, of.local_address, of.foreign_address];
        let headings =
            [&headings[..], &[of.state, of.user, of.inode, of.program, of.netns, of.timer]];
        assert_eq!(names(rows(language.topics.columns, 0)).collect::<Vec<_>>(), headings.concat());
        let unix = [of.references, of.flags, of.kind, of.unix_inode, of.path].join(", ");
        assert!(language.topics.columns.contains(&unix), "{unix}");
        // `watch` and `history` are in English.
        let explained = names(rows(language.topics.columns, 1));
        assert!(explained.eq(changes.iter().map(|(name, _)| *name)), "{language:?}");
    }
}

struct AnyName;

impl FilterNames for AnyName {
    fn user(&self, _name: &str) -> Option<u32> {
        Some(1)
    }
    fn netns(&self, _name: &str) -> Option<u32> {
        Some(1)
    }
    fn cgroup(&self, _path: &str) -> Option<u64> {
        Some(1)
    }
    fn host(&self, _name: &str) -> Result<Vec<IpAddr>, String> {
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }
}

#[test]
fn the_topic_of_filters_has_every_word_and_its_filters_are_filters() {
    let explained: Vec<_> = FILTER.iter().flat_map(|(words, _)| words.split(", ")).collect();
    for word in &WORDS {
        assert!(explained.contains(&word.name), "{}", word.name);
    }
    let is_example =
        |text: &&str| explained.iter().any(|word| text.starts_with(&format!("{word} ")));
    let mut count = 0;
    for example in FILTER.iter().flat_map(|(_, meaning)| meaning.split(", ")) {
        let example = example.split_once(": ").map_or(example, |(_, example)| example);
        if is_example(&example) {
            Filter::parse(example, &AnyName, RowKind::Connection)
                .unwrap_or_else(|error| panic!("{error}"));
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}
