//! `bench processes`: the cost of following every process of the host, and the memory of each.

use std::{
    fs::File,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use super::{
    churn::number,
    figure::{Figure, in_turn},
    hold::Holder,
    process,
    start::{settled_memory, watch},
};
use crate::{
    daemon::RunningNetmon,
    shell::{output, release_binary, xtask},
};

#[derive(Args, Clone, Debug)]
pub(crate) struct ProcessesBench {
    /// Rounds of each figure
    #[arg(long, default_value_t = 5)]
    pub(super) rounds: u32,
    /// Seconds of each load, and of the rest before it
    #[arg(long, default_value_t = 20)]
    pub(super) seconds: u64,
    /// Processes whose memory is measured
    #[arg(long, default_value_t = 10_000)]
    pub(super) processes: u32,
}

/// The rate of a host that starts very many processes.
const RATE: u32 = 1_000;
/// The time in which netmon reads `/proc` and makes its first dumps.
const SETTLE: Duration = Duration::from_secs(5);

/// CPU time of the kernel programs and of all threads, as a share of one core.
#[derive(Clone, Copy)]
struct Cost {
    kernel: f64,
    user: f64,
}

impl ProcessesBench {
    pub(super) fn run(&self) -> anyhow::Result<Vec<Figure>> {
        let (mut kernel, mut user, mut sum) = (Vec::new(), Vec::new(), Vec::new());
        let statistics = process::Statistics::kept(true)?;
        for round in 1..=self.rounds {
            let cost = self.cost()?;
            eprintln!(
                "{RATE} processes a second: {round}: {:.2} % of a core in the kernel, {:.2} % here",
                cost.kernel, cost.user
            );
            kernel.push(cost.kernel);
            user.push(cost.user);
            sum.push(cost.kernel + cost.user);
        }
        drop(statistics);
        let (ratio, made, lost) = self.ratio()?;
        let at_rate = |part: &str| format!("{RATE} processes a second, {part}: % of a core");
        Ok(vec![
            Figure::new(at_rate("all of watch"), sum).at_most(1.0),
            Figure::new(at_rate("kernel programs"), kernel),
            Figure::new(at_rate("threads of watch"), user),
            ratio,
            made,
            lost,
            self.memory()?,
        ])
    }

    /// Measures the cost of processes that come and go, less that of the same time without them.
    fn cost(&self) -> anyhow::Result<Cost> {
        let netmon = watch()?;
        thread::sleep(SETTLE);
        let pid = netmon.id();
        let used = || anyhow::Ok((process::programs(pid)?, process::cpu(pid)?));
        let begin = used()?;
        thread::sleep(Duration::from_secs(self.seconds));
        let middle = used()?;
        self.spawned(Some(RATE))?;
        let end = used()?;
        netmon.stop()?;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share =
            |now: u128, rest: u128| (now as f64 - rest as f64) / 1e9 / self.seconds as f64 * 100.0;
        let kernel = share((end.0 - middle.0).into(), (middle.0 - begin.0).into());
        let user = share((end.1 - middle.1).as_nanos(), (middle.1 - begin.1).as_nanos());
        Ok(Cost { kernel, user })
    }

    /// Measures the ratio of the processes a second with netmon to those without, the rate without,
    /// and the events that netmon lost.
    fn ratio(&self) -> anyhow::Result<(Figure, Figure, Figure)> {
        let what = "as many processes as possible, with watch: ratio";
        let (mut ratios, mut made, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            let with = || {
                let to = Stdio::from(File::create("/dev/null")?);
                let netmon = RunningNetmon::start(&release_binary(), &["watch", "--json"], to)?;
                let rate = self.spawned(None)?;
                #[expect(clippy::cast_precision_loss, reason = "a count")]
                lost.push(number(&netmon.stop()?, "lost")? as f64);
                anyhow::Ok(rate)
            };
            let (with, without) = in_turn(round, with, || self.spawned(None))?;
            eprintln!("{what}: {round}: {with:.0}/s of {without:.0}/s: {:.3}", with / without);
            ratios.push(with / without);
            made.push(without);
        }
        Ok((
            Figure::new(what, ratios),
            Figure::new("as many processes as possible, without netmon: a second", made),
            Figure::new("as many processes as possible, with watch: events lost", lost)
                .at_most(0.0)
                .by_the_worst(),
        ))
    }

    /// Measures the memory of a table with many processes, less that of a table with few, for each
    /// process.
    #[expect(clippy::cast_precision_loss, reason = "bytes")]
    fn memory(&self) -> anyhow::Result<Figure> {
        let mut each = Vec::new();
        for _ in 0..self.rounds {
            let without = settled_memory()?;
            let count = self.processes.to_string();
            let held = Holder::start(&["spawn", "--hold", &count])?;
            let with = settled_memory()?;
            drop(held);
            // A pause, in which the processes end.
            thread::sleep(Duration::from_secs(1));
            each.push((with as f64 - without as f64) / f64::from(self.processes));
        }
        let what = format!("watch: bytes for each process it knows, {} processes", self.processes);
        Ok(Figure::new(what, each).at_most(600.0))
    }

    /// Starts processes that end at once. Returns their number a second.
    fn spawned(&self, rate: Option<u32>) -> anyhow::Result<f64> {
        let mut load = Command::new(xtask());
        load.args(["spawn", "--seconds", &self.seconds.to_string()]);
        load.args(rate.map(|rate| format!("--rate={rate}")));
        output(&mut load)?.parse().context("the load prints a rate")
    }
}
