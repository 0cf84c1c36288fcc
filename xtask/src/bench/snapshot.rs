//! `bench snapshot`: listings of many sockets, by netmon and by ss, and a comparison of their rows.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::Value;

use super::{
    figure::Figure,
    hold::Holders,
    process::{self, Used},
};
use crate::shell::{as_root, find, release_binary};

#[derive(Args, Clone, Debug)]
pub(crate) struct Snapshot {
    /// Sockets to hold open while measuring
    #[arg(long, default_value_t = 200_000)]
    sockets: u32,
    /// Runs of each command, taken in turn
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
}

pub(super) const LISTING: &str = "netmon snapshot -tan: s";
pub(super) const OWNERS: &str = "netmon snapshot -tanp: s";

/// Rounds of netstat, which takes half a minute and is no baseline of a target.
const FEW: usize = 3;

/// Commands that are compared: the program and its flags.
const COMMANDS: [(&str, &str); 7] = [
    ("ss", "-tan"),
    ("netmon", "-tan"),
    ("netstat", "-tan"),
    ("ss", "-tanp"),
    ("netmon", "-tanp"),
    ("netstat", "-tanp"),
    (DROP_IN, "-tanp"),
];
/// netmon with the command line of netstat.
const DROP_IN: &str = "netmon netstat";

impl Snapshot {
    pub(super) fn run(&self) -> anyhow::Result<Vec<Figure>> {
        let holders = Holders::start(self.sockets)?;
        eprintln!("{} sockets held", self.sockets);
        let mut seconds = vec![Vec::new(); COMMANDS.len()];
        let mut megabytes = seconds.clone();
        for round in 0..self.rounds as usize {
            // The commands take turns in going first, so that a drift of the machine favours none.
            for i in (0..COMMANDS.len()).cycle().skip(round).take(COMMANDS.len()) {
                let (program, flags) = COMMANDS[i];
                if program == "netstat" && (round >= FEW || find(program).is_none()) {
                    continue;
                }
                let (took, size) = measure(program, flags)?;
                eprintln!("{program} {flags}: {took:.3} s, {size:.1} MiB");
                seconds[i].push(took);
                megabytes[i].push(size);
            }
        }
        compare()?;
        drop(holders);
        let count = self.sockets;
        let ratio = |ours: usize, theirs: usize| {
            let pairs = seconds[ours].iter().zip(&seconds[theirs]);
            pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>()
        };
        let mut figures = vec![
            Figure::new(format!("snapshot -tan of ss -tan, {count} sockets: ratio"), ratio(1, 0))
                .at_most(0.6),
            Figure::new(format!("snapshot -tanp of ss -tanp, {count} sockets: ratio"), ratio(4, 3))
                .at_most(0.02),
        ];
        // Where netstat is not installed, there is no figure.
        let drop_in = ratio(6, 5);
        if !drop_in.is_empty() {
            let name = format!("netmon netstat -tanp of netstat -tanp, {count} sockets: ratio");
            figures.push(Figure::new(name, drop_in));
        }
        for (i, (program, flags)) in COMMANDS.into_iter().enumerate() {
            let name = if program == "netmon" { "netmon snapshot" } else { program };
            figures.push(Figure::new(format!("{name} {flags}: s"), seconds[i].clone()));
        }
        figures.push(Figure::new("netmon snapshot -tan: peak MiB", megabytes[1].clone()));
        figures.push(Figure::new("netmon snapshot -tanp: peak MiB", megabytes[4].clone()));
        Ok(figures)
    }
}

/// Returns the command for a listing by `program`.
fn listing(program: &str, flags: &str) -> Vec<String> {
    let netmon = release_binary().display().to_string();
    let words: &[&str] = match program {
        "netmon" => &[&netmon, "snapshot", flags],
        DROP_IN => &[&netmon, "netstat", flags],
        other => &[other, flags],
    };
    words.iter().map(ToString::to_string).collect()
}

/// Measures the seconds and peak MiB of one listing, without its output.
pub(super) fn measure(program: &str, flags: &str) -> anyhow::Result<(f64, f64)> {
    let Used { seconds, megabytes, .. } = process::used(listing(program, flags))?;
    Ok((seconds, megabytes))
}

/// Sockets as both programs print them, with the number of equal ones and the processes that hold
/// them.
type Rows = BTreeMap<(SocketAddr, SocketAddr, String), (u32, Vec<u32>)>;

/// Checks that both programs list the same sockets of this network namespace with the same owners.
fn compare() -> anyhow::Result<()> {
    let ours = as_root(release_binary())
        .args(["snapshot", "-tanp", "--json", "--netns", "self"])
        .output()?;
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

/// Reads an end as ss prints it: `[::1]:80`, `127.0.0.53%lo:53`, `0.0.0.0:*`, or `*:80` for an IPv6
/// socket that takes IPv4 as well.
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
