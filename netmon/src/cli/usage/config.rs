//! The file of default flags, whose name is in `NETMON_CONFIG`.
//!
//! A line is a flag as it is typed after `netmon`: `watch --json`, `journal check --utc`. A line
//! without a command is for every command that has the flag: `--utc`. The flags come before those
//! of the command line, which prevail. Blank lines and lines that begin with `#` are comments.

use std::{env, ffi::OsString, fs, io, path::PathBuf};

use clap::{Command, error::ErrorKind};

use super::mistake::first_line;
use crate::kernel::host::privilege::{is_secure, narrowed};

/// The variable that names the file.
const VARIABLE: &str = "NETMON_CONFIG";
/// The flags with which `watch` is a replay.
const REPLAYING: [&str; 4] = ["--journal", "--host", "--from", "--to"];

/// The default flags of a user, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Config {
    path: PathBuf,
    flags: Vec<DefaultFlag>,
}

#[derive(Debug)]
struct DefaultFlag {
    /// The commands that take the flag, each with all its names.
    commands: Vec<Vec<String>>,
    /// The flag, with its value after `=`.
    text: String,
}

impl Config {
    /// Reads the file of this user. Without the variable, or with an empty one, there are no flags.
    pub(super) fn load(root: &Command) -> Result<Self, String> {
        let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
            return Ok(Self::default());
        };
        let path = PathBuf::from(path);
        let read = || fs::read_to_string(&path);
        // A message may show the text, which the caller must be able to read.
        let text = if is_secure() { narrowed(&[], read).and_then(|read| read) } else { read() };
        let text = text.map_err(|error: io::Error| {
            let path = path.display();
            format!(
                "netmon: {path}: cannot be read: {error}\n  \
                 {VARIABLE} names this file of default flags: mend that, or unset the variable\n"
            )
        })?;
        Self::parse(root, path, &text)
    }

    /// Reads the text of a file. The error names the line.
    pub(super) fn parse(root: &Command, path: PathBuf, text: &str) -> Result<Self, String> {
        let mut root = root.clone();
        // Only then a command has the flags of every command.
        root.build();
        let mut config = Self { path, flags: Vec::new() };
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let flag = DefaultFlag::read(&root, line).map_err(|wrong| {
                let path = config.path.display();
                format!(
                    "netmon: {path}:{number}: {wrong}\n  \
                     type: a flag (--utc), or a command and its flag (watch --json)\n"
                )
            })?;
            config.flags.push(flag);
        }
        Ok(config)
    }

    /// Returns the flags for a command.
    pub(super) fn flags(&self, command: &[&str]) -> Vec<OsString> {
        let is_for = |flag: &&DefaultFlag| flag.commands.iter().any(|names| names == command);
        self.flags.iter().filter(is_for).map(|flag| OsString::from(&flag.text)).collect()
    }

    /// Returns a line for messages about a command line with default flags.
    pub(super) fn note(&self) -> String {
        let path = self.path.display();
        format!("  flags of {path} count too: {VARIABLE}= netmon ... leaves them out\n")
    }
}

impl DefaultFlag {
    fn read(root: &Command, line: &str) -> Result<Self, String> {
        let (mut path, mut command, mut rest) = (Vec::new(), root, line);
        while !rest.starts_with('-') {
            let (name, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let found = command.find_subcommand(name);
            command = found.ok_or_else(|| format!("'{name}' is no command and no flag"))?;
            path.push(command.get_name());
            rest = after.trim_start();
            if rest.is_empty() {
                return Err(format!("there is no flag after {}", path.join(" ")));
            }
        }
        // Spaces need no quotes, since a line has one flag.
        let text = match rest.split_once(char::is_whitespace) {
            Some((flag, value)) => format!("{flag}={}", value.trim_start()),
            None => rest.to_owned(),
        };
        let mut leaves = Vec::new();
        add_leaves(command, &path, &mut leaves);
        let mut commands = Vec::new();
        for (names, leaf) in leaves {
            if has(leaf, &text)? {
                commands.push(names.into_iter().map(str::to_owned).collect());
            }
        }
        let flag = text.split('=').next().unwrap_or_default();
        match (path.is_empty(), commands.is_empty()) {
            (true, true) => Err(format!("no command has {flag}")),
            (false, true) if path == ["netstat"] => {
                Err("netstat takes no default flags".to_owned())
            }
            (false, true) => Err(format!("{} has no {flag}", path.join(" "))),
            (true, false) if REPLAYING.contains(&flag) => Err(format!(
                "with {flag}, every netmon watch would be a replay: name the command before \
                 {flag}, or set NETMON_JOURNAL"
            )),
            _ => Ok(Self { commands, text }),
        }
    }
}

/// Adds a command, or the commands below it, each with all its names.
fn add_leaves<'a>(
    command: &'a Command,
    path: &[&'a str],
    to: &mut Vec<(Vec<&'a str>, &'a Command)>,
) {
    // The output of netstat is net-tools', whatever a user prefers elsewhere.
    if !command.has_subcommands() && path != ["netstat"] {
        to.push((path.to_vec(), command));
    }
    for below in command.get_subcommands() {
        add_leaves(below, &[path, &[below.get_name()]].concat(), to);
    }
}

/// Returns whether a command has a flag. The error is clap's, about the flag's value.
fn has(command: &Command, flag: &str) -> Result<bool, String> {
    use ErrorKind::{DisplayHelp, DisplayVersion, MissingRequiredArgument, UnknownArgument};
    if matches!(flag, "-" | "--") {
        return Ok(false);
    }
    match command.clone().try_get_matches_from([command.get_name(), flag]) {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            UnknownArgument | DisplayHelp | DisplayVersion => Ok(false),
            MissingRequiredArgument => Ok(true),
            _ => Err(first_line(&error)),
        },
    }
}
