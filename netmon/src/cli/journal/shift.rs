//! `netmon journal shift`: makes the journal of a month of one of minutes, for `cargo xtask bench
//! past`. Released programs lack the command.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::cli::{
    args::journal::JournalArgs,
    io::{progress::Progress, stdout::Stdout},
};

#[derive(Debug, Args)]
pub(super) struct Shift {
    #[command(flatten)]
    past: JournalArgs,
    /// Directory for the copies
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Number of copies: the newest is a day earlier than the journal
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

impl Shift {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let journal = self.past.open_to_ask()?;
        let progress = Progress::of_quiet(journal.read_counter());
        let copied = journal.shift(&self.to, self.days)?;
        drop(progress);
        writeln!(Stdout::lock(), "{copied} files copied")?;
        Ok(ExitCode::SUCCESS)
    }
}
