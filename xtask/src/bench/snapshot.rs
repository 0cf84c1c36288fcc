//! `bench snapshot`: listings of many sockets, by netmon and by ss.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::Value;

use super::median;
use crate::shell::{as_root, build_release, cargo, output, release_binary, run};

#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// Sockets to hold open while measuring
    #[arg(long, default_value_t = 200_000)]
    sockets: u32,
    /// Runs of each command, taken in turn
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Runs of `ss -tanp`, which takes long
    #[arg(long, default_value_t = 1)]
    slow_rounds: u32,
}

/// Sockets that one process holds: below the usual limit of 20,000 descriptors.
const PER_PROCESS: u32 = 16_000;

impl Snapshot {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        build_release()?;
        run(cargo().args(["build", "--release", "--quiet", "--package", "xtask"]))?;
        let holders = self.hold()?;
        println!("{} sockets held by {} processes", self.sockets, holders.len());
        let commands = [
            ("ss", "-tan", self.rounds),
            ("netmon", "-tan", self.rounds),
            ("netmon", "-tanp", self.rounds),
            ("ss", "-tanp", self.slow_rounds),
        ];
        let mut figures: Vec<Figures> = commands.iter().map(|_| Figures::default()).collect();
        for round in 0..self.rounds.max(self.slow_rounds) {
            // In turn another one first, so that a drift of the machine favours none.
            for i in (0..commands.len()).cycle().skip(round as usize).take(commands.len()) {
                let (program, flags, rounds) = commands[i];
                if round < rounds {
                    figures[i].add(&measure(program, flags)?);
                }
            }
        }
        let base = figures[0].seconds();
        println!("{:<22} {:>8} {:>17} {:>8} {:>8}", "", "median s", "from..to", "/ ss", "MiB");
        for ((program, flags, _), figures) in commands.iter().zip(&figures) {
            println!("{:<22} {}", format!("{program} {flags}"), figures.show(base));
        }
        let (netmon, ss) = (figures[2].seconds(), figures[3].seconds());
        println!("netmon -tanp is {:.4} of ss -tanp", netmon / ss);
        compare()?;
        drop(holders);
        Ok(())
    }

    fn hold(&self) -> anyhow::Result<Vec<Holder>> {
        let processes = self.sockets.div_ceil(PER_PROCESS);
        let mut left = self.sockets;
        (0..processes)
            .map(|index| {
                let sockets = left.min(PER_PROCESS);
                left -= sockets;
                Holder::start(index, sockets)
            })
            .collect()
    }
}

fn xtask() -> PathBuf {
    release_binary().with_file_name("xtask")
}

/// A process that holds connections until it is dropped.
struct Holder(Child);

impl Holder {
    fn start(index: u32, sockets: u32) -> anyhow::Result<Self> {
        let mut child = Command::new(xtask())
            .args(["hold", "--address", &format!("127.0.2.{index}")])
            .args(["--connections", &(sockets / 2).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a process that holds sockets")?;
        let stdout = child.stdout.take().context("its output")?;
        let holder = Self(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "a process that was to hold sockets failed");
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Its standard input ends with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Default)]
struct Figures {
    seconds: Vec<f64>,
    kilobytes: u64,
}

impl Figures {
    fn add(&mut self, (seconds, kilobytes): &(f64, u64)) {
        self.seconds.push(*seconds);
        self.seconds.sort_by(f64::total_cmp);
        self.kilobytes = self.kilobytes.max(*kilobytes);
    }

    fn seconds(&self) -> f64 {
        median(&self.seconds)
    }

    #[expect(clippy::cast_precision_loss, reason = "a size in MiB")]
    fn show(&self, base: f64) -> String {
        let (Some(least), Some(most)) = (self.seconds.first(), self.seconds.last()) else {
            return "not run".to_owned();
        };
        let ratio = self.seconds() / base;
        let range = format!("{least:.3}..{most:.3}");
        let size = self.kilobytes as f64 / 1024.0;
        format!("{:>8.3} {range:>17} {ratio:>8.3} {size:>8.1}", self.seconds())
    }
}

/// The command for a listing by `program`.
fn listing(program: &str, flags: &str) -> Vec<String> {
    let netmon = release_binary().display().to_string();
    let words: &[&str] =
        if program == "netmon" { &[&netmon, "snapshot", flags] } else { &[program, flags] };
    words.iter().map(ToString::to_string).collect()
}

/// Seconds and peak kilobytes of one listing to nowhere.
fn measure(program: &str, flags: &str) -> anyhow::Result<(f64, u64)> {
    let said = output(as_root(xtask()).arg("measure").args(listing(program, flags)))?;
    let (seconds, kilobytes) = said.split_once(' ').context("two figures")?;
    Ok((seconds.parse()?, kilobytes.parse()?))
}

/// A socket as both print it, and the processes that hold it.
type Rows = BTreeMap<(SocketAddr, SocketAddr, String), (u32, Vec<u32>)>;

/// Whether both list the same sockets with the same owners.
fn compare() -> anyhow::Result<()> {
    let ours = as_root(release_binary()).args(["snapshot", "-tanp", "--json"]).output()?;
    ensure!(ours.status.success(), "netmon: {}", String::from_utf8_lossy(&ours.stderr));
    let theirs = as_root("ss").arg("-tanpHO").output().context("running ss")?;
    ensure!(theirs.status.success(), "ss: {}", String::from_utf8_lossy(&theirs.stderr));
    let ours = of_netmon(&String::from_utf8_lossy(&ours.stdout))?;
    let theirs = of_ss(&String::from_utf8_lossy(&theirs.stdout))?;
    let differing = ours
        .iter()
        .filter(|(key, value)| theirs.get(*key) != Some(*value))
        .map(|(key, value)| format!("netmon: {key:?} {value:?}"))
        .chain(
            theirs
                .iter()
                .filter(|(key, value)| ours.get(*key) != Some(*value))
                .map(|(key, value)| format!("ss: {key:?} {value:?}")),
        );
    let differing: Vec<_> = differing.collect();
    println!(
        "rows: netmon {}, ss {}; {} differ",
        ours.values().map(|(count, _)| count).sum::<u32>(),
        theirs.values().map(|(count, _)| count).sum::<u32>(),
        differing.len()
    );
    differing.iter().take(10).for_each(|row| println!("{row}"));
    ensure!(differing.is_empty(), "netmon and ss do not list the same");
    Ok(())
}

fn add(rows: &mut Rows, key: (SocketAddr, SocketAddr, String), mut pids: Vec<u32>) {
    let row = rows.entry(key).or_default();
    row.0 += 1;
    row.1.append(&mut pids);
    row.1.sort_unstable();
    row.1.dedup();
}

fn of_netmon(text: &str) -> anyhow::Result<Rows> {
    let mut rows = Rows::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line)?;
        let end = |side: &str| -> anyhow::Result<SocketAddr> {
            let address = row[format!("{side}_addr")].as_str().context("an address")?.parse()?;
            let port = row[format!("{side}_port")].as_u64().unwrap_or(0).try_into()?;
            Ok(SocketAddr::new(address, port))
        };
        let pids = row["owners"].as_array().context("owners")?.iter();
        let pids = pids.filter_map(|owner| u32::try_from(owner["pid"].as_u64()?).ok()).collect();
        let state = row["state"].as_str().context("a state")?.to_owned();
        add(&mut rows, (end("local")?, end("remote")?, state), pids);
    }
    Ok(rows)
}

fn of_ss(text: &str) -> anyhow::Result<Rows> {
    let mut rows = Rows::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [state, _, _, local, remote, rest @ ..] = words.as_slice() else { continue };
        let state = match *state {
            "ESTAB" => "ESTABLISHED".to_owned(),
            "UNCONN" => "CLOSE".to_owned(),
            "FIN-WAIT-1" => "FIN_WAIT1".to_owned(),
            "FIN-WAIT-2" => "FIN_WAIT2".to_owned(),
            other => other.replace('-', "_"),
        };
        let pids = rest.join(" ");
        let pids = pids
            .split("pid=")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        add(&mut rows, (end_of_ss(local)?, end_of_ss(remote)?, state), pids.collect());
    }
    Ok(rows)
}

/// `[::1]:80`, `127.0.0.53%lo:53`, `*:80`: an IPv6 socket that takes IPv4 as well, `0.0.0.0:*`.
fn end_of_ss(text: &str) -> anyhow::Result<SocketAddr> {
    let (address, port) = text.rsplit_once(':').context("an address and a port")?;
    let address = address.split('%').next().unwrap_or_default();
    let address = match address.trim_matches(['[', ']']) {
        "*" => "::",
        other => other,
    };
    let address = address.parse::<std::net::IpAddr>().context(text.to_owned())?;
    let port = if port == "*" { 0 } else { port.parse()? };
    Ok(SocketAddr::new(address.to_canonical(), port))
}
