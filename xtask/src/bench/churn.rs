//! `bench churn`: the cost of following every transition, for the processes that make them.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::{
    competitor::Peer,
    figure::{Figure, in_turn},
    process,
};
use crate::{
    daemon::RunningNetmon,
    shell::{output, release_binary, xtask},
    workload::churn::Ending,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct Churn {
    /// Pairs of runs, with and without
    #[arg(long, default_value_t = 10)]
    pub(super) pairs: u32,
    /// Connections of each run
    #[arg(long, default_value_t = 200_000)]
    pub(super) connections: u64,
    /// Length of the run in which nothing may be lost, seconds
    #[arg(long, default_value_t = 60)]
    pub(super) long: u64,
}

pub(super) const LOOP_OF_WATCH: &str = "watch --json, live: CPU ns of its loop an event";
pub(super) const LOOP_OF_RECORD: &str = "record, live: CPU ns of its loop an event";

/// The program that follows the churn.
#[derive(Clone, Copy, Debug)]
enum EventReader {
    /// `watch --json > file`
    Watch,
    /// `record`
    Record,
    Peer(Peer),
}

impl EventReader {
    fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch --json > file",
            Self::Record => "record",
            Self::Peer(peer) => peer.name(),
        }
    }
}

impl Churn {
    pub(super) fn run(&self) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        let (mut watched, mut recorded) = (Runs::default(), Runs::default());
        for (reader, ending, target) in [
            (EventReader::Watch, Ending::Reset, 0.85),
            (EventReader::Watch, Ending::Close, 0.80),
            (EventReader::Record, Ending::Reset, 0.87),
            (EventReader::Record, Ending::Close, 0.82),
        ] {
            let runs = match reader {
                EventReader::Record => &mut recorded,
                _ => &mut watched,
            };
            figures.push(self.pairs(reader, ending, runs)?.at_least(target));
        }
        for peer in Peer::ALL {
            let what = format!("churn with {}, 6 transitions: ratio", peer.name());
            figures.push(if peer.is_there() {
                self.pairs(EventReader::Peer(peer), Ending::Reset, &mut Runs::default())?
            } else {
                Figure::new(what, Vec::new())
            });
        }
        figures.push(self.long_run()?);
        figures.push(self.kernel()?);
        let figure = |what: &str, rounds: &[f64]| Figure::new(what, rounds.to_vec());
        figures.push(figure(LOOP_OF_WATCH, &watched.here));
        figures.push(figure(LOOP_OF_RECORD, &recorded.here));
        figures
            .push(figure("record, live: CPU ns of its writing thread an event", &recorded.there));
        figures.push(figure("journal: bytes an event, closed", &recorded.bytes).at_most(8.0));
        Ok(figures)
    }

    /// Measures the ratios of throughput with `reader` to throughput without.
    fn pairs(
        &self,
        reader: EventReader,
        ending: Ending,
        runs: &mut Runs,
    ) -> anyhow::Result<Figure> {
        // Peers lose what comes too fast. They get fewer connections, which take as long.
        let connections = match reader {
            EventReader::Watch | EventReader::Record => self.connections,
            EventReader::Peer(_) => self.connections / 4,
        };
        let transitions = match ending {
            Ending::Reset => 6,
            Ending::Close => 10,
        };
        let what = format!("churn with {}, {transitions} transitions: ratio", reader.name());
        // Connections that close fill the table with TIME_WAITs, before the second pair at the
        // latest.
        if ending == Ending::Reset {
            process::quiet()?;
        }
        let mut ratios = Vec::new();
        for pair in 1..=self.pairs {
            let with = || match reader {
                EventReader::Peer(peer) => {
                    let peer = peer.start()?;
                    let rate = load(connections, ending);
                    drop(peer);
                    rate
                }
                EventReader::Watch => follow(false, || load(connections, ending), runs),
                EventReader::Record => follow(true, || load(connections, ending), runs),
            };
            let (with, without) = in_turn(pair, with, || load(connections, ending))?;
            eprintln!("{what}: {pair}: {with:.0}/s of {without:.0}/s: {:.3}", with / without);
            ratios.push(with / without);
        }
        Ok(Figure::new(what, ratios))
    }

    /// Measures the events that `record` and `watch` lose while connections come and go for long.
    fn long_run(&self) -> anyhow::Result<Figure> {
        let mut lost = Vec::new();
        for reader in [EventReader::Record, EventReader::Watch] {
            let record = matches!(reader, EventReader::Record);
            let mut runs = Runs::default();
            for ending in [Ending::Reset, Ending::Close] {
                let rate = follow(record, || load_for(self.long, None, ending), &mut runs)?;
                let name = reader.name();
                let seconds = self.long;
                eprintln!(
                    "{seconds} s, {name}, {ending:?}: {rate:.0}/s, lost {:?}",
                    runs.lost.last()
                );
            }
            lost.extend(runs.lost);
        }
        let what = format!("events lost in {} s of churn, by watch and by record", self.long);
        // Every run must lose nothing; a median would hide a loss.
        Ok(Figure::new(what, lost).at_most(0.0).by_the_worst())
    }

    /// Measures the nanoseconds that the kernel programs take for each transition.
    fn kernel(&self) -> anyhow::Result<Figure> {
        let _statistics = process::Statistics::kept(true)?;
        let mut runs = Runs::default();
        for round in 0..self.pairs {
            let ending = if round % 2 == 0 { Ending::Reset } else { Ending::Close };
            follow(false, || load(self.connections / 4, ending), &mut runs)?;
        }
        let what = "kernel programs: ns a transition, some 60 of it the measuring";
        Ok(Figure::new(what, runs.kernel).at_most(320.0))
    }
}

/// The resources that netmon used in each run.
#[derive(Default)]
pub(super) struct Runs {
    pub(super) lost: Vec<f64>,
    /// CPU ns of the thread that follows the churn, an event.
    pub(super) here: Vec<f64>,
    /// CPU ns of the thread that writes the journal, an event.
    pub(super) there: Vec<f64>,
    /// ns of the kernel programs, an event.
    pub(super) kernel: Vec<f64>,
    /// Bytes of the journal, an event.
    pub(super) bytes: Vec<f64>,
    /// CPU s of all of netmon.
    pub(super) cpu: Vec<f64>,
}

/// Runs `load` while netmon records, or watches and writes to an unlinked file. Returns the rate of
/// `load`.
#[expect(clippy::cast_precision_loss, reason = "figures")]
pub(super) fn follow(
    record: bool,
    load: impl FnOnce() -> anyhow::Result<f64>,
    runs: &mut Runs,
) -> anyhow::Result<f64> {
    let place = env::temp_dir().join(format!("netmon-bench-{}", std::process::id()));
    let path = place.to_str().context("a path that is text")?;
    let netmon = if record {
        RunningNetmon::start(&release_binary(), &["record", "--journal", path], Stdio::null())?
    } else {
        let to = File::create(&place)?;
        fs::remove_file(&place)?;
        RunningNetmon::start(&release_binary(), &["watch", "--json"], Stdio::from(to))?
    };
    let pid = netmon.id();
    let used = || {
        let of = |thread| process::cpu_of_thread(pid, thread);
        anyhow::Ok((
            process::cpu(pid)?,
            process::programs(pid)?,
            of("netmon")?,
            of("netmon:journal")?,
        ))
    };
    let before = used()?;
    let rate = load()?;
    // Meanwhile netmon reads the rest of its rings.
    std::thread::sleep(Duration::from_millis(300));
    let after = used()?;
    let (cpu, kernel) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let (here, there) = (after.2.saturating_sub(before.2), after.3.saturating_sub(before.3));
    let messages = netmon.stop()?;
    let events = number(&messages, "seen")? as f64;
    runs.lost.push(number(&messages, "lost")? as f64);
    runs.here.push(here.as_nanos() as f64 / events);
    runs.there.push(there.as_nanos() as f64 / events);
    runs.kernel.push(kernel as f64 / events);
    runs.cpu.push(cpu.as_secs_f64());
    if record {
        runs.bytes.push(size(&place)? as f64 / events);
        fs::remove_dir_all(&place)?;
    }
    Ok(rate)
}

/// Returns the number before the last word `after` in netmon's messages.
pub(super) fn number(messages: &str, after: &str) -> anyhow::Result<u64> {
    let words: Vec<_> = messages.split_whitespace().collect();
    let at = words.iter().rposition(|word| word.trim_end_matches(',') == after);
    let count = at.and_then(|at| words[..at].iter().rev().find_map(|word| word.parse().ok()));
    count.with_context(|| format!("netmon reported: {messages}"))
}

/// Returns the bytes of all files below `path`.
pub(super) fn size(path: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Makes and ends connections. Returns their number a second.
pub(super) fn load(connections: u64, ending: Ending) -> anyhow::Result<f64> {
    made(&["--connections", &connections.to_string()], ending)
}

/// Makes and ends connections for `seconds`, `rate` a second at most. Returns their number a
/// second.
pub(super) fn load_for(seconds: u64, rate: Option<u32>, ending: Ending) -> anyhow::Result<f64> {
    let (seconds, most) = (seconds.to_string(), u64::MAX.to_string());
    let rate = rate.map(|rate| rate.to_string());
    let mut words = vec!["--connections", &most, "--seconds", &seconds];
    if let Some(rate) = &rate {
        words.extend(["--rate", rate]);
    }
    made(&words, ending)
}

fn made(words: &[&str], ending: Ending) -> anyhow::Result<f64> {
    let ending = ending.to_possible_value().context("a value")?;
    let rate = output(
        Command::new(xtask()).arg("load").args(words).args(["--ending", ending.get_name()]),
    )?;
    rate.parse().context("the load prints a rate")
}
