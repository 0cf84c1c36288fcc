//! `bench`: figures that anyone can reproduce, each taken in alternation with its baseline in one
//! run.

mod churn;
mod competitor;
mod figure;
mod growth;
mod history;
mod hold;
mod micro;
mod past;
mod plot;
mod process;
mod processes;
mod projection;
mod snapshot;
mod start;
mod terminal;
mod top;

use std::{fs, process::Command};

use anyhow::Context;
use clap::{Args, Subcommand};

use self::figure::{Figure, table, write_json};
use crate::shell::{as_root, build_release, cargo, output, root, run, xtask};

/// The directory of the figures that the documents cite.
const FIGURES: &str = "docs/figures";

#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Part to measure; by default everything
    #[command(subcommand)]
    part: Option<Part>,
    /// Few and short rounds, to check the bench itself: the figures mean little
    #[arg(long)]
    quick: bool,
    /// Keep table, JSON and plots of a whole run in docs/figures, not below target
    #[arg(long)]
    write: bool,
    /// Everything is built, and this process is root's
    #[arg(long, hide = true)]
    built: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Throughput of connection churn with netmon and with its peers, against churn alone
    Churn(churn::Churn),
    /// Time and memory of listings against those of `ss` and `netstat`
    Snapshot(snapshot::Snapshot),
    /// Start, idle time, memory
    Start(start::Start),
    /// Cost of following processes, and the memory of each
    Processes(processes::ProcessesBench),
    /// Cost of an event in user space
    Micro,
    /// The full screen: time to an answer, frames a second, losses
    Top(top::Top),
    /// Growth of cost with sockets and with connections a second
    Growth(growth::Growth),
    /// Questions to a journal of 100 million events, beside DuckDB's answers
    Past(past::PastBench),
}

impl Part {
    /// Returns all parts, with their default options.
    fn all(quick: bool) -> anyhow::Result<Vec<Self>> {
        let mut churn = default::<churn::Churn>()?;
        let mut snapshot = default::<snapshot::Snapshot>()?;
        let mut start = default::<start::Start>()?;
        let mut processes = default::<processes::ProcessesBench>()?;
        let mut top = default::<top::Top>()?;
        let mut growth = default::<growth::Growth>()?;
        let mut past = default::<past::PastBench>()?;
        if quick {
            (churn.pairs, churn.connections, churn.long) = (2, 20_000, 5);
            (snapshot.rounds, start.rounds, start.idle, growth.rounds) = (1, 3, 10, 1);
            (processes.rounds, processes.seconds, processes.processes) = (1, 5, 1_000);
            (top.sockets, top.seconds) = (20_000, 5);
            past.quick();
        }
        Ok(vec![
            Self::Micro,
            Self::Churn(churn),
            Self::Snapshot(snapshot),
            Self::Start(start),
            Self::Processes(processes),
            Self::Top(top),
            Self::Growth(growth),
            Self::Past(past),
        ])
    }
}

fn default<T: Args>() -> anyhow::Result<T> {
    #[derive(clap::Parser)]
    struct Alone<T: Args> {
        #[command(flatten)]
        part: T,
    }
    let alone = <Alone<T> as clap::Parser>::try_parse_from([""])?;
    Ok(alone.part)
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if !self.built {
            return self.start_over();
        }
        // The cost of statistics that another program left on would count as netmon's.
        let _statistics = process::Statistics::kept(false)?;
        let is_whole = self.part.is_none();
        let parts = match self.part {
            None => Part::all(self.quick)?,
            Some(Part::Past(mut past)) if self.quick => {
                past.quick();
                vec![Part::Past(past)]
            }
            Some(part) => vec![part],
        };
        let (mut figures, mut plots) = (Vec::new(), Vec::new());
        for part in parts {
            figures.extend(match part {
                Part::Churn(churn) => churn.run()?,
                Part::Snapshot(snapshot) => snapshot.run()?,
                Part::Start(start) => start.run()?,
                Part::Processes(processes) => processes.run()?,
                Part::Top(top) => top.run()?,
                Part::Past(past) => past.run()?,
                Part::Micro => micro::figures()?,
                Part::Growth(growth) => {
                    let (figures, curves) = growth.run()?;
                    plots.extend(curves);
                    figures
                }
            });
        }
        // Figures with a target come first.
        figures.sort_by_key(|figure: &Figure| figure.target.is_none());
        let machine = machine()?;
        let table = table(&figures) + &projection::paragraph(&figures);
        println!("\n{machine}\n\n{table}");
        let directory = root().join(if self.write && is_whole { FIGURES } else { "target/bench" });
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("table.md"), format!("{machine}\n\n{table}"))?;
        write_json(&figures, &machine, &directory.join("bench.json"))?;
        if self.write && is_whole {
            history::add(&figures, &machine, &directory)?;
        }
        plots.iter().try_for_each(|plot| plot.write(&directory))?;
        println!("as JSON, and curves as SVG: {}", directory.display());
        Ok(())
    }

    /// Builds everything that is measured, and runs this program again as root and optimised: its
    /// own part must be fast.
    fn start_over(&self) -> anyhow::Result<()> {
        build_release()?;
        run(cargo().args(["build", "--release", "--quiet", "--package", "xtask"]))?;
        if matches!(self.part, None | Some(Part::Micro)) {
            micro::measure()?;
        }
        let words: Vec<_> = std::env::args_os().skip(2).collect();
        run(as_root(xtask()).args(["bench", "--built"]).args(words))
    }
}

/// Returns the version, date, kernel and CPUs of the measurement.
fn machine() -> anyhow::Result<String> {
    let kernel = output(Command::new("uname").arg("-sr"))?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = std::thread::available_parallelism()?;
    let commit =
        output(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root()));
    let version = commit.context("the version").unwrap_or_else(|_| "unknown".to_owned());
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let model = model.map_or("", |(_, model)| model);
    Ok(format!("netmon {version}, {date}, {kernel}, {count} CPUs: {model}"))
}
