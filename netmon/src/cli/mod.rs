//! The command line: one file for each subcommand.

mod args;
mod doctor;
mod export;
mod history;
mod io;
mod journal;
mod names;
mod record;
mod services;
mod snapshot;
mod top;
mod verify;
mod watch;

use std::{
    fmt::Write,
    io::{Error, ErrorKind},
    process::{self, ExitCode},
};

use anyhow::Context;
use clap::{ArgAction, Parser, Subcommand};
use log::LevelFilter;

use self::{
    args::tracing::CONFINING,
    io::stderr::{self, report},
};
use crate::{
    core::filter::{Filter, FilterError, FilterNames, Operators, RowKind, WORDS},
    kernel::host::privilege::{Duty, confine},
};

/// netstat that remembers: follows every TCP connection of this host through every state
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// Log the work of netmon and its kernel program (-vv for all of it)
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

/// The duties of a command that reads a journal. Such a command gives up the last one too, once it
/// has opened a journal without it.
const READING: &[Duty] = &[Duty::Open];

#[derive(Debug, Subcommand)]
enum Command {
    Watch(watch::WatchCommand),
    Snapshot(snapshot::SnapshotCommand),
    Doctor(doctor::DoctorCommand),
    Export(export::ExportCommand),
    History(history::HistoryCommand),
    Journal(journal::JournalCommand),
    Record(record::RecordCommand),
    Top(top::TopCommand),
    Verify(verify::VerifyCommand),
    Services(services::ServicesCommand),
}

impl Command {
    /// Returns the duties of the command. The command gives up all other privileges first.
    fn duties(&self) -> &'static [Duty] {
        match self {
            Self::Watch(watch) => watch.duties(),
            Self::Snapshot(snapshot) => snapshot.duties(),
            Self::Top(top) => top.duties(),
            Self::Doctor(_) | Self::Record(_) | Self::Verify(_) => &Duty::ALL,
            Self::Export(_) | Self::History(_) | Self::Journal(_) => READING,
            Self::Services(_) => &[],
        }
    }

    /// Runs the command, and returns the exit code.
    fn run(self, log: LevelFilter) -> anyhow::Result<ExitCode> {
        confine(self.duties()).context(CONFINING)?;
        match self {
            Self::Watch(watch) => watch.run(log),
            Self::Snapshot(snapshot) => snapshot.run(),
            Self::Doctor(doctor) => return doctor.run(log),
            Self::Export(export) => export.run(),
            Self::History(history) => history.run(),
            Self::Journal(journal) => return journal.run(),
            Self::Record(record) => record.run(log),
            Self::Top(top) => top.run(log),
            Self::Verify(verify) => verify.run(log),
            Self::Services(services) => services.run(),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// Runs the command line. The exit code is 0, 1 for an error, or 2 for wrong usage; `doctor` has
/// codes of its own.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| usage(&error));
    let level = match cli.verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // RUST_LOG refines the level as usual, but does not reach the kernel program.
    env_logger::Builder::new()
        .filter_module("netmon", level)
        .parse_default_env()
        .target(env_logger::Target::Pipe(Box::new(io::log_writer::LogWriter)))
        .init();
    // Off by default: the kernel program then spends nothing on messages.
    let kernel_level = if cli.verbose == 0 { LevelFilter::Off } else { level };
    match cli.command.run(kernel_level) {
        Ok(code) => code,
        // The reader of the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Ends the program with the help that was asked for, or with an error. Arguments in an error
/// cannot direct a terminal.
fn usage(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let message = error.render().to_string();
    // The message is all there is to do about a failure.
    let _ = stderr::write(message.as_bytes());
    process::exit(error.exit_code())
}

/// Returns the filter that the words of a command line make. A bad filter ends the program, as clap
/// would.
fn filter(words: &[String], rows: RowKind) -> Filter {
    filter_with(words, &names::LocalNames::load(), rows)
}

/// Returns the filter as [`filter`] does, with the names that `known` has.
fn filter_with(words: &[String], known: &dyn FilterNames, rows: RowKind) -> Filter {
    Filter::parse(&words.join(" "), known, rows).unwrap_or_else(|error| refuse(&error))
}

/// Ends the program for a bad filter.
fn refuse(error: &FilterError) -> ! {
    report(error);
    process::exit(2)
}

/// Returns the filter language in short, for `--help`; docs/filter.md has all of it.
fn filter_help() -> String {
    let mut help = "FILTER, as for ss: connections\n".to_owned();
    for word in &WORDS {
        let operator = if word.operators == Operators::Order { "OP " } else { "" };
        let term = format!("{} {operator}{}", word.name, word.value);
        let also = if word.aliases.is_empty() { "" } else { "; also " };
        let _ = writeln!(help, "  {term:<23}{}{also}{}", word.help, word.aliases.join(", "));
    }
    help.push_str(
        "OP is = != < > <= >= or nothing, which means =; names also take ~ and !~ with a regular\n\
         expression, and patterns: comm = ngin*. A list means any of its values: port in 80,443\n\
         and, or, not and ( ) combine terms; terms side by side mean and. Quote the filter\n\
         against the shell: netmon snapshot 'state established and ( :443 or comm = ngin* )'",
    );
    help
}

/// Returns the number of gaps for a summary, since the number of lost events is not always known.
fn gaps_text(gaps: u64) -> String {
    match gaps {
        0 => String::new(),
        1 => ", 1 gap".to_owned(),
        gaps => format!(", {gaps} gaps"),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
