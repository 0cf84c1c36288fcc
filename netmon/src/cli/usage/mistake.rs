//! Messages for wrong usage: a line with the mistake, and a line with the words to type.

use std::ffi::OsString;

use clap::{
    Command, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Named, SNAPSHOT};
use crate::{
    cli::{foreign, help::examples, names::LocalNames},
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
            (first_line(error), example.map_or_else(|| see(&named), |line| typed(&line)))
        }
        _ => (first_line(error), see(&named)),
    };
    format!("netmon: {wrong}\n  {advice}\n")
}

/// Returns the line with the words to type.
fn typed(words: &str) -> String {
    format!("type: {words}")
}

/// Returns the line that leads to the help of the command.
fn see(named: &Named<'_>) -> String {
    typed(&format!("{} --help, to see what there is", name(named)))
}

fn name(named: &Named<'_>) -> String {
    ["netmon"].iter().chain(&named.path).copied().collect::<Vec<_>>().join(" ")
}

/// Returns the message of clap's without the lines after the first paragraph, on one line.
pub(super) fn first_line(error: &Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
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
    let name = name(named);
    if named.path.is_empty() {
        let is_command = |word: &&str| root.find_subcommand(word).is_some();
        let command = words.iter().filter_map(|word| word.to_str()).find(is_command);
        let command = command.unwrap_or("COMMAND");
        return (
            format!("{flag} stands before the command: flags come after it"),
            typed(&format!("netmon {command} {flag}")),
        );
    }
    let command = named.path.join(" ");
    if !flag.starts_with('-') {
        return (format!("{command} takes no {flag}"), see(named));
    }
    let wrong = format!("{command} has no {flag}");
    if named.path == [SNAPSHOT]
        && let Some(foreign) = foreign::find(flag)
    {
        return (format!("{wrong}: {}", foreign.meaning), typed(foreign.instead));
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
    let similar = context(error, ContextKind::SuggestedArg);
    (wrong, similar.map_or_else(|| see(named), |similar| typed(&format!("{name} {similar}"))))
}

fn unknown_command(error: &Error, named: &Named<'_>, words: &[OsString]) -> (String, String) {
    let word = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
    let name = name(named);
    let instead = if named.path.is_empty() { instead(word, words) } else { None };
    let similar = || {
        let similar = context(error, ContextKind::SuggestedSubcommand)?;
        Some(format!("{name} {similar}"))
    };
    let advice = instead.or_else(similar).map_or_else(|| see(named), |words| typed(&words));
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
