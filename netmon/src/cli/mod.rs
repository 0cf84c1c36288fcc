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
    io::{Error, ErrorKind, Write, stderr},
    process::{self, ExitCode},
};

use clap::{ArgAction, Parser, Subcommand};
use log::LevelFilter;

use crate::core::filter::{Filter, FilterNames};

/// netstat that remembers: follows every TCP connection of this host through every state
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// Say more: what netmon and its kernel program do (-vv for all of it)
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

/// What `--help` says of filters; docs/filter.md says all.
const FILTER_HELP: &str = "\
FILTER, as for ss:
  state NAME | exclude NAME     established, listening, time-wait, connected, ...
  sport OP PORT, dport OP PORT  = != < > <= >=; :443, 443, https
  src ADDRESS, dst ADDRESS      10.0.0.0/8, 10.0.0.1:443, [::1]:80, *:80
  pid, comm, uid, netns, cgroup = or !=, then a number or a name
  verdict = refused, ...        watch: the last of connections that ended so
  and, or, not, ( )             side by side means and
Quote it against the shell: netmon snapshot 'state established and ( dport = :443 )'";

#[derive(Debug, Subcommand)]
enum Command {
    Watch(watch::Watch),
    Snapshot(snapshot::Snapshot),
    Doctor(doctor::Doctor),
    Export(export::Export),
    History(history::History),
    Journal(journal::JournalCommand),
    Record(record::Record),
    Top(top::TopCommand),
    Verify(verify::Verify),
    Services(services::Services),
}

impl Command {
    /// Runs it; the exit code, where that is for it to say.
    fn run(self, log: LevelFilter) -> anyhow::Result<ExitCode> {
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

/// Runs the command line; the exit code is 0, 1 for an error, 2 for wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // RUST_LOG refines it, as everywhere; it does not reach the kernel program.
    env_logger::Builder::new()
        .filter_module("netmon", level)
        .parse_default_env()
        .target(env_logger::Target::Pipe(Box::new(io::log_writer::LogWriter)))
        .init();
    // Silent unless asked: the kernel program then spends nothing on it.
    let kernel_level = if cli.verbose == 0 { LevelFilter::Off } else { level };
    match cli.command.run(kernel_level) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be left to read that either.
            let _ = writeln!(stderr(), "netmon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The filter that the words of a command line make; a bad one ends the program, as clap would.
fn filter(words: &[String]) -> Filter {
    filter_with(words, &names::LocalNames::load())
}

/// The same, with the names that `known` knows.
fn filter_with(words: &[String], known: &dyn FilterNames) -> Filter {
    Filter::parse(&words.join(" "), known).unwrap_or_else(|error| {
        // Nobody may be left to read that either.
        let _ = writeln!(stderr(), "netmon: {error}");
        process::exit(2)
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
