//! Messages for flags that a command does not have.

use std::ffi::OsString;

use clap::{Arg, Command};

use super::{
    Named, SNAPSHOT,
    line::{letters, line, name, quoted, see, typed, without},
};
use crate::{
    cli::{
        foreign::{self, ForeignFlag, Instead},
        names::LocalNames,
    },
    core::filter::{Filter, RowKind, nearest, term},
};

/// The flags that take a moment.
const MOMENTS: [&str; 3] = ["--at", "--from", "--to"];

/// A flag that a command does not have.
pub(super) struct UnknownFlag<'a> {
    pub(super) root: &'a Command,
    pub(super) named: &'a Named<'a>,
    pub(super) words: &'a [OsString],
    /// The flag alone: `-t` also in `-tn`.
    pub(super) flag: &'a str,
}

impl UnknownFlag<'_> {
    /// Returns the mistake, and the words to type.
    pub(super) fn message(&self) -> (String, String) {
        let Self { root, named, flag, .. } = *self;
        let command = named.path.join(" ");
        if !flag.starts_with('-') {
            let export = foreign::find(&command, "--filter").map(|row| self.advice(row));
            let advice = export.unwrap_or_else(|| see(named));
            return (format!("{command} takes no {flag}"), advice);
        }
        let wrong = format!("{command} has no {flag}");
        if let Some((why, words)) = self.rewritten() {
            return (why, typed(&words));
        }
        if let Some(row) = foreign::find(&command, flag) {
            return (format!("{wrong}: {}", row.meaning), self.advice(row));
        }
        if let Some(long) = flag.strip_prefix("--")
            && let Some(words) = self.filter(long)
        {
            return (format!("{wrong}: that is a filter"), typed(&words));
        }
        let has = |command: &&Command| {
            command.get_arguments().any(|arg| {
                arg.get_short().is_some_and(|short| flag == format!("-{short}"))
                    || arg.get_long().is_some_and(|long| flag == format!("--{long}"))
            })
        };
        if let Some(other) = root.get_subcommands().find(has) {
            let other = other.get_name();
            return (format!("{wrong}, but {other} has"), typed(&format!("netmon {other} {flag}")));
        }
        let similar = self.similar().map(|long| typed(&format!("{} --{long}", name(named))));
        (wrong, similar.unwrap_or_else(|| see(named)))
    }

    /// Returns the line with the words to type for a foreign flag.
    fn advice(&self, row: &ForeignFlag) -> String {
        let command = self.named.path.join(" ");
        typed(&match row.instead {
            Instead::Words(words) => fill(&words.replace("{}", &command), self.value()),
            Instead::Filter(word) => self.filter(word).unwrap_or_default(),
            Instead::Nothing => {
                let rows = foreign::OTHERS.iter().filter(|other| {
                    matches!(other.instead, Instead::Nothing) && other.commands.contains(&&*command)
                });
                let flags: Vec<_> = rows.flat_map(|row| row.names.iter().copied()).collect();
                line(&without(self.words, &flags))
            }
        })
    }

    /// Returns the place of the word with the flag.
    fn place(&self) -> Option<usize> {
        let is_it = |word: &OsString| {
            let word = word.to_str().unwrap_or_default();
            word.split('=').next() == Some(self.flag)
                || letters(word).zip(self.flag.strip_prefix('-')).is_some_and(|(letters, flag)| {
                    flag.chars().count() == 1 && letters.contains(flag)
                })
        };
        Some(1 + self.words.get(1..)?.iter().position(is_it)?)
    }

    /// Returns the value that was given to the flag, or all words from the first that is no flag.
    fn value(&self) -> Option<String> {
        let place = self.place()?;
        let text = |word: &OsString| word.to_str().map(str::to_owned);
        if !self.flag.starts_with('-') {
            let words = self.words[place..].iter().map_while(text);
            let words: Vec<_> = words.take_while(|word| !word.starts_with('-')).collect();
            return Some(words.join(" "));
        }
        let word = text(self.words.get(place)?)?;
        let after = || self.words.get(place + 1).and_then(text);
        let value = word.split_once('=').map(|(_, value)| value.to_owned()).or_else(after)?;
        // tcpdump's `-i any` has no meaning here.
        (!value.is_empty() && !value.starts_with('-') && value != "any").then_some(value)
    }

    /// Returns the words to type for a flag whose name is a word of filters, in a command that
    /// takes a filter.
    fn filter(&self, word: &str) -> Option<String> {
        self.named.command.get_arguments().find(|arg| arg.get_id() == "filter")?;
        let names = LocalNames::new();
        let term = term(word, None, self.value().as_deref(), &names)?;
        let command = name(self.named);
        let is_listed = || Filter::parse(&term, &names, RowKind::Socket).is_ok();
        let command =
            if self.named.path == [SNAPSHOT] && !is_listed() { "netmon history" } else { &command };
        Some(format!("{command} {}", quoted(&term)))
    }

    /// Returns why the words cannot be read, and the words that were meant, where a value stands as
    /// a flag: `--from -10m`, `-nac2`, and `-iTCP:80` of lsof.
    fn rewritten(&self) -> Option<(String, String)> {
        let place = self.place()?;
        let word = self.words[place].to_str()?;
        let before = self.words[place - 1].to_str()?;
        let changed = |new: &[&str]| {
            let mut words = self.words.to_vec();
            words.splice(place..=place, new.iter().map(OsString::from));
            line(&words)
        };
        let text = word.strip_prefix('-')?;
        let is_digit = self.flag[1..].starts_with(|c: char| c.is_ascii_digit());
        if MOMENTS.contains(&before) && is_digit {
            let why = format!("{before} takes no {word}: a moment has no sign");
            return Some((why, changed(&[&format!("{text} ago")])));
        }
        if self.named.path != [SNAPSHOT] {
            return None;
        }
        if let Some((before, seconds)) = word.rsplit_once('c')
            && is_digit
            && seconds.bytes().all(|byte| byte.is_ascii_digit())
        {
            let why = format!("{word} has no space before its {seconds}");
            return Some((why, changed(&[&format!("{before}c"), seconds])));
        }
        let port = text.strip_prefix('i')?.rsplit_once(':')?.1;
        let words = format!("netmon snapshot {}", quoted(&format!("port = {port}")));
        Some((format!("{word} is lsof's: that is a filter"), words))
    }

    /// Returns the flag of the command that is most like this one.
    fn similar(&self) -> Option<String> {
        let text = self.flag.strip_prefix("--")?;
        let longs = self.named.command.get_arguments().filter_map(Arg::get_long);
        let longs: Vec<_> =
            longs.filter(|long| long.chars().next() == text.chars().next()).collect();
        // A longer name counts as well if its beginning is like this one.
        let begin = |long: &&str| long.get(..text.len()).unwrap_or(long).to_owned();
        let begins: Vec<_> = longs.iter().map(begin).collect();
        let near = nearest(text, longs.iter().copied());
        let near = near.or_else(|| nearest(text, begins.iter().map(String::as_str)))?;
        longs.iter().find(|long| long.starts_with(near)).map(|long| (*long).to_owned())
    }
}

/// Fills the value in for `[WORD]`: without a value, that is WORD.
pub(super) fn fill(words: &str, value: Option<String>) -> String {
    let parts = words.split_once('[').and_then(|(before, rest)| {
        let (word, after) = rest.split_once(']')?;
        Some((before, word, after))
    });
    match parts {
        Some((before, word, after)) => {
            let value = value.map_or_else(|| word.to_owned(), |value| quoted(&value));
            format!("{before}{value}{after}")
        }
        None => words.to_owned(),
    }
}
