//! Messages for wrong usage: a line with the mistake, and a line with the words to type.

use std::ffi::OsString;

use clap::{
    Command, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    Named, SNAPSHOT,
    flags::{UnknownFlag, fill},
    line::{line, name, quoted, see, typed, without},
};
use crate::{
    cli::{
        foreign::{self, Instead},
        help::{self, examples},
        names::LocalNames,
    },
    core::filter::{Filter, RowKind},
};

/// Returns the message for an error of clap's about `words`.
pub(super) fn message(error: &Error, root: &Command, words: &[OsString]) -> String {
    let named = Named::of(root, words);
    let (wrong, advice) = match error.kind() {
        ErrorKind::UnknownArgument => unknown_flag(error, root, &named, words),
        ErrorKind::InvalidSubcommand => unknown_command(error, &named, words),
        ErrorKind::MissingRequiredArgument => {
            let example = examples(named.command).next();
            (first_line(error), example.map_or_else(|| see(&named), |(line, _)| typed(&line)))
        }
        ErrorKind::ArgumentConflict => {
            conflict(&named, words).unwrap_or_else(|| (first_line(error), see(&named)))
        }
        ErrorKind::InvalidValue => (first_line(error), similar_value(error, &named, words)),
        _ => (first_line(error), see(&named)),
    };
    format!("netmon: {wrong}\n  {advice}\n")
}

/// Returns the message for a journal that a listing of the present does not read. Default flags may
/// name one.
pub(super) fn journal_of_the_present(words: &[OsString]) -> Option<String> {
    let names = |word: &OsString| word.to_str()?.split('=').next().map(str::to_owned);
    let mut names = words.iter().filter_map(names);
    let flag = names.find(|name| matches!(&**name, "--journal" | "--host"))?;
    let advice = typed("netmon snapshot --at '5m ago'");
    Some(format!("netmon: {flag} is for a moment of the past, which --at names\n  {advice}\n"))
}

/// Returns the message for a general flag before netstat.
pub(super) fn before_netstat(named: &Named<'_>, words: &[OsString]) -> String {
    let flags = words[..named.end - 1].iter().skip(1).map(|word| quoted(&word.to_string_lossy()));
    let flags = flags.collect::<Vec<_>>().join(" ");
    let own = [words[..1].to_vec(), words[named.end - 1..].to_vec()].concat();
    let advice = typed(&line(&own));
    format!(
        "netmon: {flags} stands before netstat, which has the flags of net-tools only\n  {advice}\n"
    )
}

/// Returns the message of clap's without the lines after the first paragraph, on one line.
pub(super) fn first_line(error: &Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Returns the line with the same words and a value that is possible.
fn similar_value(error: &Error, named: &Named<'_>, words: &[OsString]) -> String {
    let value = context(error, ContextKind::InvalidValue);
    let similar = context(error, ContextKind::SuggestedValue);
    let (Some(value), Some(similar)) = (value, similar) else { return see(named) };
    let words = words.iter().map(|word| match word.to_str() {
        Some(word) if word == value => similar.into(),
        Some(word) if word.ends_with(&format!("={value}")) => {
            format!("{}{similar}", &word[..word.len() - value.len()]).into()
        }
        _ => word.clone(),
    });
    typed(&line(&words.collect::<Vec<_>>()))
}

/// Returns a value that an error has about its cause.
fn context(error: &Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(value) => Some(value),
        ContextValue::Strings(values) => values.first().map(String::as_str),
        _ => None,
    }
}

fn unknown_flag(
    error: &Error,
    root: &Command,
    named: &Named<'_>,
    words: &[OsString],
) -> (String, String) {
    let flag = context(error, ContextKind::InvalidArg).unwrap_or_default();
    if named.path.is_empty() {
        let is_command = |word: &&str| root.find_subcommand(word).is_some();
        let command = words.iter().filter_map(|word| word.to_str()).find(is_command);
        let command = command.unwrap_or("COMMAND");
        return (
            format!("{flag} stands before the command: flags come after it"),
            typed(&format!("netmon {command} {flag}")),
        );
    }
    UnknownFlag { root, named, words, flag }.message()
}

/// The flags of a listing that a journal has no rows or facts for.
const LIVE_ONLY: [(&[&str], &str); 5] = [
    (&["-u", "--udp"], "a journal has TCP only"),
    (&["-w", "--raw"], "a journal has TCP only"),
    (&["-x", "--unix"], "a journal has TCP only"),
    (&["-o", "--timers"], "a journal has no timers"),
    (&["-i", "--info"], "a journal has measurements only of connections that ended"),
];

/// Returns the message for flags that a listing of the past has not.
fn conflict(named: &Named<'_>, words: &[OsString]) -> Option<(String, String)> {
    let is_at = |word: &OsString| {
        word.to_str().is_some_and(|word| word == "--at" || word.starts_with("--at="))
    };
    if named.path != [SNAPSHOT] || !words.iter().any(is_at) {
        return None;
    }
    let is_used = |flags: &&(&[&str], &str)| without(words, flags.0) != words;
    let (flags, why) = LIVE_ONLY.iter().find(is_used)?;
    let all = LIVE_ONLY.iter().flat_map(|(flags, _)| flags.iter().copied()).collect::<Vec<_>>();
    Some((
        format!("{} has no place with --at: {why}", flags[1]),
        typed(&line(&without(words, &all))),
    ))
}

/// Returns the message for `-n 5`, where other tools have a number of lines, and this command the
/// flag for port numbers and the beginning of a filter.
pub(super) fn number_of_lines(
    named: &Named<'_>,
    words: &[OsString],
    filter: Option<&String>,
) -> Option<String> {
    let number = filter?;
    let is_there = words.windows(2).any(|pair| pair[0] == "-n" && pair[1] == **number);
    if !is_there || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let row = foreign::find(&named.path.join(" "), "-n N")?;
    let Instead::Words(instead) = row.instead else { return None };
    let advice = typed(&fill(&instead.replace("{}", &named.path.join(" ")), Some(number.clone())));
    Some(format!("netmon: -n takes no number: {}\n  {advice}\n", row.meaning))
}

fn unknown_command(error: &Error, named: &Named<'_>, words: &[OsString]) -> (String, String) {
    let word = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
    let name = name(named);
    let instead = if named.path.is_empty() { instead(word, words) } else { None };
    let similar = || {
        let similar = context(error, ContextKind::SuggestedSubcommand)?;
        Some(format!("{name} {similar}"))
    };
    // `netmon states`
    let topic = || Some(format!("netmon help {}", help::topic(word)?.name));
    let topic = || topic().filter(|_| named.path.is_empty());
    let advice =
        instead.or_else(topic).or_else(similar).map_or_else(|| see(named), |words| typed(&words));
    (format!("'{word}' is no command of {name}"), advice)
}

/// Returns the words to type instead of a word that is no command, and the words after it.
fn instead(word: &str, words: &[OsString]) -> Option<String> {
    if let Some(instead) = foreign::command(word) {
        return Some(instead.to_owned());
    }
    let words = words.get(1..)?.iter().map(|word| word.to_str());
    let words: Vec<_> = words.collect::<Option<_>>()?;
    let names = LocalNames::new();
    let is_filter = |text: &String| {
        !text.contains('\'') && Filter::parse(text, &names, RowKind::Connection).is_ok()
    };
    // `netmon port 80`, `netmon :80`, `netmon 80`
    let port = if matches!(word, "port" | "ports") { *words.last()? } else { word };
    let port = port.strip_prefix(':').unwrap_or(port);
    let is_port = port != word || port.bytes().all(|byte| byte.is_ascii_digit());
    if is_port && is_filter(&format!("sport = :{port}")) {
        return Some(format!(
            "netmon snapshot 'sport = :{port}' (the name of the port: netmon services {port})"
        ));
    }
    // `netmon state established`, `netmon 10.0.0.1`
    let filter = words.join(" ");
    let filter = [format!("dst {filter}"), filter].into_iter().find(is_filter)?;
    Some(format!("netmon snapshot '{filter}'"))
}
