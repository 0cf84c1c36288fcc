//! Checks the owners that `netmon watch --json` reports.
//!
//! Lines are counted by their contents as they come. The judgement follows at the end, when the
//! addresses of all processes are known.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Read},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, ensure};
use rustix::process::setpriority_process;
use serde_json::Value;

use super::networks::{Parties, Role};
use crate::workload::mix::{Counts, ERRORS, EXHAUSTED, Kind};

/// Wrong owners that are printed, at most.
const EXAMPLES: usize = 5;
/// The niceness of the reader.
const FIRST: i32 = -10;
/// The share of connections that is too large to be without an owner, or to end in another way: one
/// in so many.
const ONE_IN: u64 = 1_000;

/// The line of a connection's end, as far as it matters here.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ClosedLine {
    netns: u64,
    local: IpAddr,
    /// Both ends have the same address, and so the same process.
    alone: bool,
    pid: Option<u64>,
    /// The values of [`WORDS`]; empty where the line has none.
    words: [String; 4],
}

const WORDS: [&str; 4] = ["comm", "owner_evidence", "direction", "verdict"];
const EVIDENCE: usize = 1;
const DIRECTION: usize = 2;
const VERDICT: usize = 3;

impl ClosedLine {
    fn of(line: &Value) -> anyhow::Result<Self> {
        let address = |name: &str| line[name].as_str().context(format!("no {name}: {line}"));
        let (local, remote) = (address("local_addr")?, address("remote_addr")?);
        Ok(Self {
            netns: line["netns"].as_u64().with_context(|| format!("no netns: {line}"))?,
            local: local.parse().with_context(|| format!("a local_addr: {line}"))?,
            alone: local == remote,
            pid: line["pid"].as_u64(),
            words: WORDS.map(|name| line[name].as_str().unwrap_or_default().to_owned()),
        })
    }
}

/// The number of equal lines, and the first of them.
type LineCounts = HashMap<ClosedLine, (u64, String)>;

/// The lines that netmon printed, counted.
#[derive(Default)]
pub(super) struct ClosedLines {
    seen: LineCounts,
    lost: BTreeMap<String, u64>,
}

impl ClosedLines {
    /// Reads all lines. `count` is the number of connections that have ended so far.
    pub(super) fn read(from: impl Read, netns: &[u64], count: &AtomicU64) -> anyhow::Result<Self> {
        // netmon is under test: no event may be lost because this reader waits for its turn behind
        // the load. Only this thread has priority.
        setpriority_process(None, FIRST).context("raising the priority of the reader")?;
        let mut from = BufReader::with_capacity(1 << 20, from);
        let mut stream = Self::default();
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line)? > 0 {
            if line.starts_with(br#"{"type":"closed""#) {
                let value: Value = serde_json::from_slice(&line).context("a line of netmon's")?;
                let closed = ClosedLine::of(&value)?;
                if netns.contains(&closed.netns) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let first = || (0, String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
                    stream.seen.entry(closed).or_insert_with(first).0 += 1;
                }
            } else if line.starts_with(br#"{"type":"lost""#) {
                let value: Value = serde_json::from_slice(&line).context("a line of netmon's")?;
                let reason = value["reason"].as_str().unwrap_or("unknown").to_owned();
                *stream.lost.entry(reason).or_default() += value["lost"].as_u64().unwrap_or(0);
            }
            line.clear();
        }
        Ok(stream)
    }

    /// Prints the owners and the number of right ones. Returns an error when an owner is wrong, or
    /// when too many are missing.
    pub(super) fn judge(&self, parties: &Parties) -> anyhow::Result<()> {
        let total: u64 = self.seen.values().map(|(count, _)| count).sum();
        let (mut wrong, mut without, mut examples) = (0, 0, Vec::new());
        for (closed, (count, line)) in &self.seen {
            match fault(closed, parties) {
                None => {}
                Some(NO_OWNER) => without += count,
                Some(fault) => {
                    wrong += count;
                    examples.push((count, fault, line));
                }
            }
        }
        self.show_words(parties);
        for (reason, count) in &self.lost {
            println!("lost: {count} ({reason})");
        }
        println!("owners of {total} connections that ended:");
        for (name, count) in
            [("right", total - wrong - without), ("wrong", wrong), ("without", without)]
        {
            println!("{name:>9} {count:>9} {}", share(count, total));
        }
        examples.sort_by_key(|(count, ..)| std::cmp::Reverse(**count));
        for (count, fault, line) in examples.iter().take(EXAMPLES) {
            println!("wrong, {count} such: {fault}: {line}");
        }
        ensure!(total > 0, "netmon saw no connection end");
        ensure!(wrong == 0, "{wrong} owners are wrong");
        // A connection has no owner when its beginning was lost and it ended before a dump.
        ensure!(
            without * ONE_IN < total || !self.lost.is_empty(),
            "{without} connections have no owner"
        );
        Ok(())
    }

    /// Checks that all connections of the mix have ended, and each in the way of its kind, except
    /// for a few whose end no hook saw. The check does not apply where the mix or netmon had to
    /// leave something out.
    pub(super) fn compare(&self, parties: &Parties, made: &Counts) -> anyhow::Result<()> {
        let mut ends: BTreeMap<(&str, &str), [u64; 2]> = BTreeMap::new();
        for kind in Kind::ALL {
            let count = made.get(kind.name()).copied().unwrap_or(0);
            let (client, server) = verdicts(kind);
            ends.entry(("clients", client)).or_default()[0] += count;
            if let Some(server) = server {
                ends.entry(("servers", server)).or_default()[0] += count;
            }
        }
        for (closed, (count, _)) in &self.seen {
            let side = match parties.get(&(closed.netns, closed.local)).map(|party| party.role) {
                Some(Role::Client) => "clients",
                // The mix does not count the connection that fills a queue.
                Some(Role::Server) if !closed.alone => "servers",
                _ => continue,
            };
            ends.entry((side, &closed.words[VERDICT])).or_default()[1] += count;
        }
        ends.retain(|_, [made, seen]| made != seen);
        for ((side, verdict), [made, seen]) in &ends {
            println!("{side}, {verdict}: {made} made, {seen} seen");
        }
        let all: u64 = Kind::ALL.iter().filter_map(|kind| made.get(kind.name())).sum();
        let off: u64 = ends.values().map(|[made, seen]| made.abs_diff(*seen)).sum();
        let exact = [ERRORS, EXHAUSTED].iter().all(|name| !made.contains_key(*name));
        ensure!(
            off * ONE_IN < all || !exact || !self.lost.is_empty(),
            "netmon reports no loss, but not every connection ended in the way of its kind"
        );
        Ok(())
    }

    /// Prints the number of ends with each verdict, evidence and direction, by role.
    fn show_words(&self, parties: &Parties) {
        println!(
            "{:<24} {:>9} {:>9} {:>9} {:>9}",
            "", "clients'", "servers'", "holders'", "others'"
        );
        for (name, place) in
            [("verdict", VERDICT), ("evidence", EVIDENCE), ("direction", DIRECTION)]
        {
            let mut rows: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
            for (closed, (count, _)) in &self.seen {
                let column =
                    match parties.get(&(closed.netns, closed.local)).map(|party| party.role) {
                        Some(Role::Client) => 0,
                        Some(Role::Server) => 1,
                        Some(Role::Holder) => 2,
                        None => 3,
                    };
                rows.entry(&closed.words[place]).or_default()[column] += count;
            }
            for (word, [clients, servers, holders, others]) in rows {
                let word = if word.is_empty() { "(none)" } else { word };
                println!(
                    "{:<24} {clients:>9} {servers:>9} {holders:>9} {others:>9}",
                    format!("{name} {word}")
                );
            }
        }
    }
}

const NO_OWNER: &str = "no owner";

/// Returns the fault of a line, if there is one.
fn fault(closed: &ClosedLine, parties: &Parties) -> Option<&'static str> {
    let Some(party) = parties.get(&(closed.netns, closed.local)) else {
        return Some("no process has this address");
    };
    let [comm, _, direction, _] = closed.words.each_ref().map(String::as_str);
    let expected = match party.role {
        Role::Client => "outbound",
        Role::Server => "inbound",
        Role::Holder => "",
    };
    match closed.pid {
        None => Some(NO_OWNER),
        Some(pid) if pid != u64::from(party.pid) => Some("another process has this address"),
        Some(_) if comm != "xtask" => Some("the process has another name"),
        // A connection that is older than netmon may have no direction. Where one process has both
        // ends, either direction is right.
        Some(_) if closed.alone || direction.is_empty() || direction == expected => None,
        Some(_) => Some("the direction is another"),
    }
}

/// Returns the verdict of the client on a connection of `kind`, and of the server if the connection
/// reaches it.
const fn verdicts(kind: Kind) -> (&'static str, Option<&'static str>) {
    match kind {
        Kind::ClientFirst | Kind::HalfClose | Kind::Hasty => {
            ("closed-locally", Some("closed-by-peer"))
        }
        Kind::ServerFirst => ("closed-by-peer", Some("closed-locally")),
        Kind::Reset | Kind::Unread => ("reset-locally", Some("reset-by-peer")),
        Kind::Refused => ("refused", None),
        Kind::Unanswered => ("aborted", None),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(count: u64, total: u64) -> String {
    format!("{:>8.4} %", count as f64 * 100.0 / total.max(1) as f64)
}
