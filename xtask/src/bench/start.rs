//! `bench start`: the time of a start, the memory for many sockets, and the cost of idle time.

use std::{env, fs, process::Stdio, thread, time::Duration};

use anyhow::Context;
use clap::Args;

use super::{figure::Figure, hold::Holders, process};
use crate::{daemon::RunningNetmon, shell::release_binary};

#[derive(Args, Clone, Debug)]
pub(crate) struct Start {
    /// Number of starts
    #[arg(long, default_value_t = 20)]
    pub(super) rounds: u32,
    /// Length of the idle time, seconds
    #[arg(long, default_value_t = 60)]
    pub(super) idle: u64,
    /// Sockets in the table whose memory is measured
    #[arg(long, default_value_t = 200_000)]
    sockets: u32,
}

pub(super) const EACH: &str = "watch: bytes for each socket it knows";

/// Rounds of the measurement of memory, which takes long.
const FEW: usize = 5;
/// The time of some dumps, after which the table does not change any more.
const SETTLE: Duration = Duration::from_secs(10);

impl Start {
    pub(super) fn run(&self) -> anyhow::Result<Vec<Figure>> {
        process::quiet()?;
        let mut starts = Vec::new();
        for _ in 0..self.rounds {
            let netmon = watch()?;
            starts.push(netmon.start.as_secs_f64() * 1e3);
            netmon.stop()?;
        }
        let start = Figure::new("start to attached: ms, object and BTF included", starts);
        let idle = Figure::new("record, no traffic: % of one core", vec![self.idle()?]);
        Ok(vec![start.at_most(80.0), idle.at_most(0.1), self.memory()?])
    }

    fn idle(&self) -> anyhow::Result<f64> {
        let journal = env::temp_dir().join(format!("netmon-bench-idle-{}", std::process::id()));
        let path = journal.to_str().context("a path that is text")?;
        let netmon =
            RunningNetmon::start(&release_binary(), &["record", "--journal", path], Stdio::null())?;
        thread::sleep(SETTLE);
        let before = process::cpu(netmon.id())?;
        thread::sleep(Duration::from_secs(self.idle));
        let used = process::cpu(netmon.id())?.saturating_sub(before);
        netmon.stop()?;
        fs::remove_dir_all(&journal)?;
        Ok(used.div_duration_f64(Duration::from_secs(self.idle)) * 100.0)
    }

    /// Measures the memory of a table with many rows, less the memory of a table with few, for each
    /// row.
    #[expect(clippy::cast_precision_loss, reason = "bytes")]
    fn memory(&self) -> anyhow::Result<Figure> {
        let mut each = Vec::new();
        for _ in 0..FEW {
            let without = settled_memory()?;
            let holders = Holders::start(self.sockets)?;
            let with = settled_memory()?;
            drop(holders);
            // A pause, in which the sockets close.
            thread::sleep(Duration::from_secs(1));
            each.push(with.saturating_sub(without) as f64 / f64::from(self.sockets));
        }
        let what = format!("{EACH}, {} sockets", self.sockets);
        Ok(Figure::new(what, each).at_most(300.0))
    }
}

pub(super) fn watch() -> anyhow::Result<RunningNetmon> {
    RunningNetmon::start(&release_binary(), &["watch", "--json"], Stdio::null())
}

/// Returns the memory of a `watch` after some dumps.
pub(super) fn settled_memory() -> anyhow::Result<u64> {
    let netmon = watch()?;
    thread::sleep(SETTLE);
    let memory = process::memory(netmon.id())?;
    netmon.stop()?;
    Ok(memory)
}
