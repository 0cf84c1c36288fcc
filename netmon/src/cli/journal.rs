//! `netmon journal`: looks after journals.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};

use super::{past::Past, stdout::Stdout};
use crate::core::escape::Escaped;

/// How often progress is shown on a terminal.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Look after journals
#[derive(Debug, Args)]
pub(super) struct JournalCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Compare every file with its checksums and say what is missing, torn or changed; exit 1 if
    /// anything is
    Check(Check),
    /// Copy what is done of a journal into another directory, once for each of so many days before
    #[command(hide = true)]
    Shift(Shift),
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    past: Past,
}

/// How `cargo xtask bench past` makes a journal of a month of one of minutes.
#[derive(Debug, Args)]
struct Shift {
    #[command(flatten)]
    past: Past,
    /// Where the copies go
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// How many there are: the newest is a day earlier than what is there
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
        let journal = self.past.open()?;
        let mut progress = Progress::new();
        let copied = journal.shift(&self.to, self.days, |files| progress.show(files, "files"));
        progress.clear();
        writeln!(Stdout::lock(), "{} files copied", copied?)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// How far it has come, on a terminal.
struct Progress {
    is_terminal: bool,
    shown: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), shown: Instant::now() }
    }

    /// Shows it, if some time has passed since it was shown last.
    fn show(&mut self, count: u64, of: &str) {
        if self.is_terminal && self.shown.elapsed() >= PROGRESS_EVERY {
            self.shown = Instant::now();
            // Nobody may be left to read that.
            let _ = write!(io::stderr(), "\r{count} {of}");
        }
    }

    fn clear(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Check {
    fn run(self) -> anyhow::Result<ExitCode> {
        let journal = self.past.open()?;
        let mut out = Stdout::lock();
        let mut progress = Progress::new();
        let mut result = Ok(());
        let checked = journal.check(
            |checked| progress.show(checked.segments, "segments checked"),
            |problem| {
                let (path, text) =
                    (Escaped(problem.path.as_bytes()), Escaped(problem.text.as_bytes()));
                if result.is_ok() {
                    result = writeln!(out, "{path}: {text}");
                }
            },
        );
        progress.clear();
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
