//! The command line: one file for each subcommand.

mod args;
mod completions;
mod doctor;
mod export;
mod foreign;
mod help;
mod history;
mod io;
mod journal;
mod locale;
mod man;
mod names;
mod netstat;
mod network;
mod own_sockets;
mod record;
mod services;
mod snapshot;
mod top;
mod usage;
mod verify;
mod watch;

use std::{
    fmt::Display,
    io::{Error, ErrorKind},
    path::Path,
    process::{self, ExitCode},
};

use anyhow::Context;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use log::LevelFilter;

use self::{args::tracing::CONFINING, io::stderr::report};
use crate::{
    core::filter::{Filter, FilterNames, RowKind},
    kernel::host::privilege::{Duty, confine, narrowed},
};

/// netstat that remembers: follows every TCP connection of this host through every state
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 80, args_override_self = true)]
#[command(disable_help_flag = true, disable_version_flag = true, disable_help_subcommand = true)]
#[command(before_help = EXAMPLES, after_help = help::topics_help())]
struct Cli {
    /// Log the work of netmon and its kernel program; -vv: more
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    #[command(flatten)]
    color: colorchoice_clap::Color,
    /// Show help: -h the common options, --help all of them
    #[arg(short, long, action = ArgAction::Help, global = true)]
    help: Option<bool>,
    /// Show the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Returns the command line of a command without a general flag.
    fn new(command: Command) -> Self {
        let color = colorchoice_clap::Color::default();
        Self { verbose: 0, color, help: None, version: None, command }
    }
}

const EXAMPLES: &str = "\
Examples:
  netmon -tulpen            what listens, as netstat -tulpen shows it
  sudo netmon watch         connections as they open, change and end
  sudo netmon record        remember them, for netmon snapshot --at 03:12";

/// The duties of a command that reads a journal. Such a command gives up the last one too, once it
/// has opened a journal without it.
const READING: &[Duty] = &[Duty::Open];

/// The end of the help of commands that take a filter and a moment.
const FILTER_HELP: &str = "netmon help filter explains FILTER, netmon help time every form of TIME";

/// The end of the help of commands that take a moment.
const TIME_HELP: &str = "netmon help time explains every form of TIME";

#[derive(Debug, Subcommand)]
enum Command {
    Snapshot(snapshot::SnapshotCommand),
    Watch(watch::WatchCommand),
    Top(top::TopCommand),
    Record(record::RecordCommand),
    History(history::HistoryCommand),
    Export(export::ExportCommand),
    Journal(journal::JournalCommand),
    Doctor(doctor::DoctorCommand),
    Verify(verify::VerifyCommand),
    Netstat(netstat::NetstatCommand),
    Routes(network::RoutesCommand),
    Interfaces(network::InterfacesCommand),
    Stats(network::StatsCommand),
    Services(services::ServicesCommand),
    Man(man::ManCommand),
    Completions(completions::CompletionsCommand),
    Help(help::HelpCommand),
}

impl Command {
    /// Returns the duties of the command. The command gives up all other privileges first.
    fn duties(&self) -> &'static [Duty] {
        match self {
            Self::Watch(watch) => watch.duties(),
            Self::Snapshot(snapshot) => snapshot.duties(),
            Self::Top(top) => top.duties(),
            Self::Netstat(netstat) => netstat.duties(),
            Self::Routes(routes) => routes.duties(),
            Self::Interfaces(interfaces) => interfaces.duties(),
            Self::Stats(stats) => stats.duties(),
            Self::Doctor(_) | Self::Record(_) | Self::Verify(_) => &Duty::ALL,
            Self::Export(_) | Self::History(_) | Self::Journal(_) => READING,
            Self::Services(services) => services.duties(),
            Self::Man(_) | Self::Completions(_) | Self::Help(_) => &[],
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
            Self::Netstat(netstat) => return netstat.run(),
            Self::Routes(routes) => routes.run(),
            Self::Interfaces(interfaces) => interfaces.run(),
            Self::Stats(stats) => stats.run(),
            Self::Services(services) => services.run(),
            Self::Man(man) => man.run(Cli::command()),
            Self::Completions(completions) => completions.run(help::layout(Cli::command())),
            Self::Help(help) => return help.run(Cli::command()),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// Runs the command line. The exit code is 0, 1 for an error, or 2 for wrong usage; `doctor` has
/// codes of its own.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match netstat::NetstatCommand::of_process() {
        Some(netstat) => Cli::new(Command::Netstat(netstat)),
        None => usage::parse(),
    };
    cli.color.write_global();
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

/// Returns the filter that the words of a command line make. A bad filter ends the program, as clap
/// would.
fn filter(words: &[String], rows: RowKind) -> Filter {
    filter_with(words, &names::LocalNames::new(), rows)
}

/// Returns the filter as [`filter`] does, with the names that `known` has.
fn filter_with(words: &[String], known: &dyn FilterNames, rows: RowKind) -> Filter {
    Filter::parse(&words.join(" "), known, rows).unwrap_or_else(|mut error| {
        if let Some(directory) = words.first().filter(|_| error.at == 0)
            && narrowed(&[], || Path::new(directory).is_dir()).unwrap_or(false)
        {
            error.advice = format!("write --journal {directory} for the journal in this directory");
        }
        refuse(error)
    })
}

/// Ends the program for wrong usage.
fn refuse(message: impl Display) -> ! {
    report(message);
    process::exit(2)
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
