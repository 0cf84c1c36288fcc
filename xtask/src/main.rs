//! netmon's chores: `cargo xtask COMMAND`.

mod bench;
mod capabilities;
mod cargo_tool;
mod ci;
mod converge;
mod daemon;
mod debian;
mod digest;
mod dist;
mod docs;
mod ebpf;
mod past;
mod python;
mod remaps;
mod run;
mod setup;
mod shell;
mod soak;
mod tidy;
mod vm;
mod workload;

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "netmon's chores", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build netmon and run it, with sudo when not root: `cargo xtask run -- watch`
    Run {
        /// Arguments of netmon
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run every test; the kernel tests run with sudo when not root
    Test {
        /// Kernel object for the kernel tests, instead of the committed one
        #[arg(long, value_name = "FILE")]
        object: Option<PathBuf>,
        /// Run only the kernel tests
        #[arg(long)]
        kernel: bool,
    },
    /// Install the toolchain for the kernel object, and print each step
    Setup,
    /// Build the kernel object from source into netmon-ebpf/prebuilt
    Ebpf {
        /// Change nothing: fail when the committed object does not match its sources
        #[arg(long)]
        check: bool,
    },
    /// Run all checks of CI: format, lints, tests, docs, the object rebuilt and tested
    Ci,
    /// Measure, in alternation with a baseline, on this machine
    Bench(bench::Bench),
    Docs(docs::Docs),
    Dist(dist::Dist),
    Vm(vm::Vm),
    /// Check that netmon's table equals the kernel's after churn of every kind, with right owners
    Converge(converge::Converge),
    /// Compare netmon's view of the past with the result of SQL over the journal
    Past(past::PastCheck),
    /// Make known connections for minutes, and check that netmon has each and does not grow
    Soak(soak::Soak),
    /// Check the rules of the house that no compiler knows: imports, lines, words
    Tidy,
    /// Make load, as `bench` does
    #[command(hide = true)]
    Load(workload::churn::Load),
    /// Hold connections, as `bench` and `converge` do
    #[command(hide = true)]
    Hold(workload::hold::Hold),
    /// Make connections of every kind, as `converge` does
    #[command(hide = true)]
    Mix(workload::mix::Mix),
    /// Start processes, as `bench` does
    #[command(hide = true)]
    Spawn(workload::spawn::Spawn),
    /// Run a command and print its seconds, peak kilobytes and seconds of CPU
    #[command(hide = true)]
    Measure {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run { args } => run::run(&args),
        Command::Test { object, kernel } => run::test(object.as_deref(), kernel),
        Command::Setup => setup::setup(),
        Command::Ebpf { check: true } => ebpf::check().map(|_| ()),
        Command::Ebpf { check: false } => ebpf::build().map(|_| ()),
        Command::Ci => ci::ci(),
        Command::Bench(bench) => bench.run(),
        Command::Docs(docs) => docs.run(),
        Command::Dist(dist) => dist.run(),
        Command::Vm(vm) => vm.run(),
        Command::Converge(converge) => converge.run(),
        Command::Past(past) => past.run(),
        Command::Soak(soak) => soak.run(),
        Command::Tidy => tidy::run(),
        Command::Load(load) => load.run(),
        Command::Hold(hold) => hold.run(),
        Command::Mix(mix) => mix.run(),
        Command::Spawn(spawn) => spawn.run(),
        Command::Measure { command } => workload::hold::measure(&command),
    }
}
