//! The reading of a command line: its words, the default flags, and the messages for mistakes.
//!
//! clap parses. This module completes the words first, and gives clap's errors two lines: the
//! mistake, and the words to type instead.

mod config;
mod flags;
mod line;
mod mistake;

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal},
    process,
};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use self::config::Config;
use super::{
    foreign,
    help::layout,
    io::stderr::{self, report},
};

/// The command whose flags may stand without its name, as netstat's flags do.
const SNAPSHOT: &str = "snapshot";
/// The command whose flags are net-tools'.
const NETSTAT: &str = "netstat";
/// The commands whose `-c` alone takes no value.
const CONTINUOUS: [&str; 4] = [SNAPSHOT, "routes", "interfaces", "stats"];
/// The arguments of `snapshot` that choose sockets.
const CHOICES: [&str; 6] = ["tcp", "udp", "raw", "unix", "listening", "all"];

/// Reads the command line of this process. Ends the process with the help that was asked for, or
/// with a message.
pub(super) fn parse<C: CommandFactory + FromArgMatches>() -> C {
    let command = layout(C::command());
    let arguments: Vec<_> = env::args_os().collect();
    let config = Config::load(&command).unwrap_or_else(|message| fail(&message));
    let read = matches(&command, arguments.clone(), &config);
    let matches = read.unwrap_or_else(|mistake| match mistake {
        // Help ends the process with 0, and help without a command with 2.
        Mistake::Help(help) => match help.print() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                report(format_args!("standard output cannot be written to: {error}"));
                process::exit(1)
            }
            _ => process::exit(help.exit_code()),
        },
        Mistake::Message(message) => fail(&message),
    });
    if let Some(note) = note(&matches, &arguments)
        && io::stderr().is_terminal()
    {
        report(note);
    }
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Returns the command that a command line without its first word names, and the words after the
/// name.
pub(super) fn command_of(root: &Command, line: Vec<OsString>) -> (&Command, Vec<OsString>) {
    let line = complete(root, [root.get_name().into()].into_iter().chain(line).collect());
    let named = Named::of(root, &line);
    (named.command, line[named.end.min(line.len())..].to_vec())
}

/// The end of a command line that cannot be run.
#[derive(Debug)]
enum Mistake {
    /// The help that was asked for.
    Help(clap::Error),
    /// Wrong usage.
    Message(String),
}

/// Reads a command line.
fn matches(
    command: &Command,
    arguments: Vec<OsString>,
    config: &Config,
) -> Result<ArgMatches, Mistake> {
    use clap::error::ErrorKind::*;
    let plain = complete(command, arguments);
    let named = Named::of(command, &plain);
    let (mut words, end) = (plain.clone(), named.end.min(plain.len()));
    words.splice(end..end, config.flags(&named.path));
    let read = |words: &[OsString]| command.clone().try_get_matches_from(words);
    let error = match read(&words) {
        // Alone, `NetstatCommand::of_process` has taken it.
        Ok(_) if named.path == [NETSTAT] && named.end > 2 => {
            return Err(Mistake::Message(mistake::before_netstat(&named, &plain)));
        }
        Ok(matches) => {
            let of_command = matches.subcommand().map(|(_, of_command)| of_command);
            if named.path == [SNAPSHOT]
                && of_command.is_some_and(|snapshot| !snapshot.contains_id("at"))
                && let Some(message) = mistake::journal_of_the_present(&plain)
            {
                return Err(Mistake::Message(message));
            }
            let filter = of_command.and_then(|of| of.try_get_one::<String>("filter").ok()?);
            return match mistake::number_of_lines(&named, &plain, filter) {
                Some(message) => Err(Mistake::Message(message)),
                None => Ok(matches),
            };
        }
        Err(error) => error,
    };
    Err(match error.kind() {
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand => {
            Mistake::Help(error)
        }
        _ => {
            let message = mistake::message(&error, command, &plain);
            let is_from_config = words != plain && read(&plain).is_ok();
            Mistake::Message(if is_from_config { message + &config.note() } else { message })
        }
    })
}

/// Prints a message that may repeat arguments, and ends the process: the usage was wrong.
/// Arguments cannot direct a terminal.
fn fail(message: &str) -> ! {
    // The message is all there is to do about a failure.
    let _ = stderr::write(message.as_bytes());
    process::exit(2)
}

/// The command that the words of a command line name.
struct Named<'a> {
    /// The names, as `journal` and `check`; none without a command.
    path: Vec<&'a str>,
    command: &'a Command,
    /// The place of the first word after the names.
    end: usize,
}

impl<'a> Named<'a> {
    fn of(root: &'a Command, words: &[OsString]) -> Self {
        let mut named = Self { path: Vec::new(), command: root, end: 1 };
        let text = |place: usize| words.get(place).and_then(|word| word.to_str());
        let mut place = 1;
        while let Some(word) = text(place) {
            if let Some(found) = named.command.find_subcommand(word) {
                named = Self { command: found, end: place + 1, ..named };
                named.path.push(found.get_name());
                place += 1;
                continue;
            }
            match general(&words[place..]) {
                0 => break,
                words => place += words,
            }
        }
        named
    }
}

/// Returns the number of words of a flag that may stand before the command, as `-vv`, `--help` and
/// `--color never`; 0 for another word.
fn general(words: &[OsString]) -> usize {
    let is_verbose = |letters: &str| !letters.is_empty() && letters.bytes().all(|b| b == b'v');
    match words.first().and_then(|word| word.to_str()) {
        Some("--color") => 2,
        Some("-h" | "--help" | "-V" | "--version" | "--verbose") => 1,
        Some(word) if word.starts_with("--color=") => 1,
        Some(word) if word.strip_prefix('-').is_some_and(is_verbose) => 1,
        _ => 0,
    }
}

/// Completes the words of a command line: `netmon -tulpen` is `netmon snapshot -tulpen`, and
/// `-c 5` is `-c=5`, since a `-c` alone takes no value.
fn complete(command: &Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let text = |word: &OsString| word.to_str().unwrap_or_default().to_owned();
    let mut first = 1;
    while let Some(count @ 1..) = words.get(first..).map(general) {
        first += count;
    }
    if let Some([word, ..]) = words.get(first..)
        && text(word).starts_with('-')
    {
        let plain = words[first..].iter().map(text).find(|word| !word.starts_with('-'));
        if plain.is_none_or(|word| command.find_subcommand(word).is_none()) {
            words.insert(first, SNAPSHOT.into());
        }
    }
    if !matches!(Named::of(command, &words).path[..], [name] if CONTINUOUS.contains(&name)) {
        return words;
    }
    let mut place = 1;
    while place + 1 < words.len() {
        let (flag, value) = (text(&words[place]), text(&words[place + 1]));
        let is_short = flag.starts_with('-') && !flag.starts_with("--") && flag.ends_with('c');
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if (is_short || flag == "--continuous") && is_number {
            words[place] = format!("{flag}={value}").into();
            words.remove(place + 1);
        }
        place += 1;
    }
    words
}

/// Returns a note for `snapshot -r` and `snapshot -i` without a choice of sockets: netstat's flags
/// with these letters have other meanings.
fn note(matches: &ArgMatches, words: &[OsString]) -> Option<&'static str> {
    let (SNAPSHOT, snapshot) = matches.subcommand()? else { return None };
    let chooses = CHOICES.iter().any(|id| snapshot.get_flag(id)) || snapshot.contains_id("filter");
    let short = words.iter().filter_map(|word| word.to_str()?.strip_prefix('-'));
    let mut short =
        short.filter(|letters| letters.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let has = |letters: &str, letter: char| letters.contains(letter);
    if chooses {
        return None;
    }
    short.find_map(|letters| match letters {
        letters if has(letters, 'r') => Some(foreign::ROUTES),
        letters if has(letters, 'i') => Some(foreign::INTERFACES),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
