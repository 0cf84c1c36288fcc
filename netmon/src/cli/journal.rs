//! `netmon journal`: looks after journals.

#[cfg(feature = "bench")]
mod shift;

use std::{io::Write, process::ExitCode};

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
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    Shift(shift::Shift),
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

impl JournalCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Check(check) => check.run(),
            #[cfg(feature = "bench")]
            Action::Shift(shift) => shift.run(),
        }
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
