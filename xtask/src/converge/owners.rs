//! Whether the owners that `netmon watch --json` tells are right.
//!
//! Lines are counted by what they say, as they come; who is right is decided when all have come and the
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

/// Wrong ones that are shown.
const EXAMPLES: usize = 5;
/// A niceness.
const FIRST: i32 = -10;
/// The share without an owner that is too much: one in so many.
const ONE_IN: u64 = 1_000;

/// What the line of a connection's end says, as far as that matters here.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Said {
    netns: u64,
    local: IpAddr,
    /// Both ends have the same address, and so the same process.
    alone: bool,
    pid: Option<u64>,
    /// Those of [`WORDS`]; empty where there is none.
    words: [String; 4],
}

const WORDS: [&str; 4] = ["comm", "owner_evidence", "direction", "verdict"];
const EVIDENCE: usize = 1;
const DIRECTION: usize = 2;
const VERDICT: usize = 3;

impl Said {
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

/// How often, and the first such line.
type Seen = HashMap<Said, (u64, String)>;

/// All that netmon said.
#[derive(Default)]
pub(super) struct Stream {
    seen: Seen,
    lost: BTreeMap<String, u64>,
}

impl Stream {
    /// Reads to the end; `count` are the ends of connections so far.
    pub(super) fn read(from: impl Read, netns: &[u64], count: &AtomicU64) -> anyhow::Result<Self> {
        // Nothing is to be lost for the sake of a reader that waits its turn behind the load: netmon is
        // what is tested. Only this thread goes first.
        setpriority_process(None, FIRST).context("going first")?;
        let mut from = BufReader::with_capacity(1 << 20, from);
        let mut stream = Self::default();
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line)? > 0 {
            if line.starts_with(br#"{"type":"closed""#) {
                let value: Value = serde_json::from_slice(&line).context("a line of netmon's")?;
                let said = Said::of(&value)?;
                if netns.contains(&said.netns) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let first = || (0, String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
                    stream.seen.entry(said).or_insert_with(first).0 += 1;
                }
            } else if line.starts_with(br#"{"type":"lost""#) {
                let value: Value = serde_json::from_slice(&line).context("a line of netmon's")?;
                let reason = value["reason"].as_str().unwrap_or("unknown").to_owned();
                *stream.lost.entry(reason).or_default() += value["count"].as_u64().unwrap_or(0);
            }
            line.clear();
        }
        Ok(stream)
    }

    /// Prints what was said and how much of it is right; what is wrong is an error.
    pub(super) fn judge(&self, parties: &Parties) -> anyhow::Result<()> {
        let total: u64 = self.seen.values().map(|(count, _)| count).sum();
        let (mut wrong, mut without, mut examples) = (0, 0, Vec::new());
        for (said, (count, line)) in &self.seen {
            match fault(said, parties) {
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
        // One whose beginning was lost, and that ended before a dump, has none.
        ensure!(
            without * ONE_IN < total || !self.lost.is_empty(),
            "{without} connections have no owner"
        );
        Ok(())
    }

    /// Whether all that the mix made has ended, and each as it was made to, but for a few whose end no hook
    /// saw; where neither the mix nor netmon had to leave something out.
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
        for (said, (count, _)) in &self.seen {
            let side = match parties.get(&(said.netns, said.local)).map(|party| party.role) {
                Some(Role::Client) => "clients",
                // What fills a queue is not counted by the mix.
                Some(Role::Server) if !said.alone => "servers",
                _ => continue,
            };
            ends.entry((side, &said.words[VERDICT])).or_default()[1] += count;
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
            "netmon lost nothing, and still not everything ended as it was made to"
        );
        Ok(())
    }

    /// How many ends with each verdict, and with each evidence, by whose they are.
    fn show_words(&self, parties: &Parties) {
        println!(
            "{:<24} {:>9} {:>9} {:>9} {:>9}",
            "", "clients'", "servers'", "holders'", "others'"
        );
        for (name, place) in
            [("verdict", VERDICT), ("evidence", EVIDENCE), ("direction", DIRECTION)]
        {
            let mut rows: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
            for (said, (count, _)) in &self.seen {
                let column = match parties.get(&(said.netns, said.local)).map(|party| party.role) {
                    Some(Role::Client) => 0,
                    Some(Role::Server) => 1,
                    Some(Role::Holder) => 2,
                    None => 3,
                };
                rows.entry(&said.words[place]).or_default()[column] += count;
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

/// What is not as it should be.
fn fault(said: &Said, parties: &Parties) -> Option<&'static str> {
    let Some(party) = parties.get(&(said.netns, said.local)) else {
        return Some("nobody has this address");
    };
    let [comm, _, direction, _] = said.words.each_ref().map(String::as_str);
    let expected = match party.role {
        Role::Client => "outbound",
        Role::Server => "inbound",
        Role::Holder => "",
    };
    match said.pid {
        None => Some(NO_OWNER),
        Some(pid) if pid != u64::from(party.pid) => Some("another process has this address"),
        Some(_) if comm != "xtask" => Some("the process has another name"),
        // One that was open before netmon began may have none, and here one process is both ends.
        Some(_) if said.alone || direction.is_empty() || direction == expected => None,
        Some(_) => Some("the direction is another"),
    }
}

/// How a connection of this kind ends for the client, and for the server where it comes that far.
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
