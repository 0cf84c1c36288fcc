//! `netmon journal`: looks after journals.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::{
    args::journal::JournalArgs,
    io::{progress::Progress, stdout::Stdout},
};
use crate::core::escape::Escaped;

/// Check a journal for missing, torn and changed files
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct JournalCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Compare every file with its checksums, and print missing, torn and changed ones
    ///
    /// Exits with 0 when the journal is whole, and 1 when it is not, or for any other error.
    Check(Check),
    /// Copy the finished segments of a journal into another directory, once for each of N earlier
    /// days
    #[command(hide = true)]
    Shift(Shift),
}

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
struct Check {
    #[command(flatten)]
    past: JournalArgs,
}

const EXAMPLES: &str = "\
Examples:
  netmon journal check                             the journal of this host
  netmon journal check --journal /mnt/journal      another one";

/// The options with which `cargo xtask bench past` makes the journal of a month of one of minutes.
#[derive(Debug, Args)]
struct Shift {
    #[command(flatten)]
    past: JournalArgs,
    /// Directory for the copies
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Number of copies: the newest is a day earlier than the journal
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

impl JournalCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Check(check) => check.run(),
            Action::Shift(shift) => shift.run(),
        }
    }
}

impl Shift {
    fn run(self) -> anyhow::Result<ExitCode> {
        let journal = self.past.open_to_ask()?;
        let progress = Progress::of_quiet(journal.read_counter());
        let copied = journal.shift(&self.to, self.days)?;
        drop(progress);
        writeln!(Stdout::lock(), "{copied} files copied")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Check {
    fn run(self) -> anyhow::Result<ExitCode> {
        let journal = self.past.open()?;
        let mut out = Stdout::lock();
        let progress = Progress::of_quiet(journal.read_counter());
        let mut result = Ok(());
        let checked = journal.check(|problem| {
            let (path, text) = (Escaped(problem.path.as_bytes()), Escaped(problem.text.as_bytes()));
            if result.is_ok() {
                result = writeln!(out, "{path}: {text}");
            }
        });
        drop(progress);
        result?;
        let (segments, files) = (checked.segments, checked.files);
        let found = match checked.problems {
            0 => "whole".to_owned(),
            1 => "1 problem".to_owned(),
            problems => format!("{problems} problems"),
        };
        writeln!(out, "{segments} segments, {files} files: {found}")?;
        out.flush()?;
        Ok(if checked.problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
