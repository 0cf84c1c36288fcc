//! `converge`: checks that netmon's table equals the kernel's after churn of every kind, and that
//! its owners are right.
//!
//! The check makes namespaces of its own and changes nothing outside them.

pub(crate) mod networks;
mod owners;

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};
use clap::Args;

use super::{
    daemon::RunningNetmon,
    shell::{as_root, build_release, cargo, release_binary, run},
    workload::mix::{Counts, Kind},
};
use networks::{Network, Parties, Process, mix, register};
use owners::ClosedLines;

/// Namespaces: netmon must not take a connection of one for a connection of another.
const NETWORKS: RangeInclusive<u8> = 0..=1;
/// Seconds that `verify` watches longer than the mix runs: for its start, its end and a timeout.
const SETTLE: u64 = 5;
/// The time without a reported end after which no more ends are expected. netmon learns of an end
/// that no hook saw from its next dump, some seconds later.
const QUIET: Duration = Duration::from_secs(8);
/// The longest wait for such a quiet time, and for netmon's end.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(crate) struct Converge {
    /// Length of the churn, seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(4..=86_400))]
    seconds: u64,
    /// Connections that are open from before netmon starts to the end
    #[arg(long, default_value_t = 10_000)]
    held: u32,
    /// Size of netmon's ring buffer
    #[arg(long, value_name = "SIZE", default_value = "16M")]
    buffer: String,
    /// The netmon to run, instead of a fresh build
    #[arg(long, value_name = "FILE", hide = true)]
    netmon: Option<PathBuf>,
}

impl Converge {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match &self.netmon {
            Some(netmon) => self.converge(netmon),
            None => self.start_over(),
        }
    }

    /// Runs this program again as root and optimised, as its own part must keep up with netmon.
    fn start_over(&self) -> anyhow::Result<()> {
        build_release()?;
        run(cargo().args(["build", "--release", "--quiet", "--package", "xtask"]))?;
        let netmon = release_binary();
        run(as_root(netmon.with_file_name("xtask"))
            .args(["converge", "--buffer", &self.buffer, "--held", &self.held.to_string()])
            .args(["--seconds", &self.seconds.to_string()])
            .arg("--netmon")
            .arg(netmon))
    }

    fn converge(&self, netmon: &Path) -> anyhow::Result<()> {
        let networks = NETWORKS.map(Network::new).collect::<anyhow::Result<Vec<_>>>()?;
        let mut holders = Vec::new();
        for network in &networks {
            holders.extend(network.hold(self.held / 2)?);
        }
        holders.iter_mut().try_for_each(Process::ready)?;
        println!("about {} connections held by {} processes", self.held, holders.len());
        // The check of the owners is of use even when the check of the table fails.
        let table = self.table(netmon, &networks);
        if let Err(error) = &table {
            println!("{error:#}");
        }
        self.owners(netmon, &networks, holders)?;
        table
    }

    /// Checks that the table equals the kernel's after the mix.
    fn table(&self, netmon: &Path, networks: &[Network]) -> anyhow::Result<()> {
        println!("\nthe table, after {} s:", self.seconds);
        let duration = self.seconds + SETTLE;
        let words = ["verify", "--duration", &format!("{duration}s"), "--buffer", &self.buffer];
        let mut netmon = RunningNetmon::start(netmon, &words, Stdio::inherit())?;
        let counts = mix(networks, self.seconds, &mut Parties::new())?;
        show(&counts, self.seconds);
        // `verify` compares for a minute at most, and looks twice.
        let status = netmon.ended(Duration::from_secs(SETTLE) + 3 * PATIENCE)?;
        print!("{}", netmon.messages());
        ensure!(status.success(), "netmon's table is not the kernel's: netmon verify: {status}");
        Ok(())
    }

    /// Checks that netmon knows the process of each connection.
    fn owners(
        &self,
        netmon: &Path,
        networks: &[Network],
        mut holders: Vec<Process>,
    ) -> anyhow::Result<()> {
        let seconds = self.seconds / 4;
        println!("\nowners, over {seconds} s:");
        let words = ["watch", "--json", "--buffer", &self.buffer];
        let mut netmon = RunningNetmon::start(netmon, &words, Stdio::piped())?;
        let stdout = netmon.stdout()?;
        let inums: Vec<u64> = networks.iter().map(|network| network.inum).collect();
        let mut parties = Parties::new();
        register(&mut parties, &holders);
        let count = AtomicU64::new(0);
        let (counts, stream) = thread::scope(|scope| {
            let reader = scope.spawn(|| ClosedLines::read(stdout, &inums, &count));
            let mut work = || {
                let counts = mix(networks, seconds, &mut parties)?;
                show(&counts, seconds);
                // The holders end while netmon watches. netmon knows their owners from the dump at
                // its start.
                holders.iter_mut().for_each(Process::stop);
                holders.iter_mut().try_for_each(|holder| holder.ended().map(drop))?;
                until_quiet(&count)?;
                netmon.interrupt()?;
                let status = netmon.ended(PATIENCE)?;
                ensure!(status.success(), "netmon watch: {status}: {}", netmon.messages());
                Ok(counts)
            };
            let counts = work();
            // The reader ends with netmon, also after a failure.
            drop(netmon);
            let stream = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
            anyhow::Ok((counts?, stream?))
        })?;
        // Both checks print their findings.
        stream.judge(&parties).and(stream.compare(&parties, &counts))
    }
}

/// Waits until no more connections end.
fn until_quiet(count: &AtomicU64) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let before = count.load(Ordering::Relaxed);
        thread::sleep(QUIET);
        if count.load(Ordering::Relaxed) == before {
            return Ok(());
        }
        ensure!(Instant::now() < end, "connections still end after {PATIENCE:?}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn show(counts: &Counts, seconds: u64) {
    let made: u64 = Kind::ALL.iter().filter_map(|kind| counts.get(kind.name())).sum();
    println!("the mix: {made} connections, {:.0} a second", made as f64 / seconds as f64);
    for (name, count) in counts {
        println!("{name:>16} {count:>9}");
    }
}
