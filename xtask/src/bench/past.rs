//! `bench past`: the cost of questions to a long journal, beside the same questions to DuckDB on
//! one thread.
//!
//! The journals are made once and kept below `target`: some minutes are recorded, and copied to the
//! days before.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use super::{
    churn::{Runs, follow, load, size as size_of},
    figure::{Figure, in_turn},
    process::{KilledOnDrop, used},
    terminal,
};
use crate::{
    daemon::RunningNetmon,
    past::{RARE, RARE_COMM, record},
    python::python,
    shell::{as_root, output, release_binary, root, run},
    workload::churn::Ending,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct PastBench {
    /// Events of the long journal
    #[arg(long, default_value_t = 100_000_000)]
    events: u64,
    /// Segments of the journal of many segments
    #[arg(long, default_value_t = 10_000)]
    segments: u32,
    /// Rounds of each question
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Connections of each journal whose size is measured
    #[arg(long, default_value_t = 400_000)]
    connections: u64,
}

/// Events that are recorded to be copied.
const RECORDED: u64 = 3_000_000;
/// TIME_WAITs of each of the three namespaces. With the rest, the table has nearly 30,000 rows, as
/// on a busy host.
const WAITING: u32 = 8_192;
/// Segments that are recorded to be copied, and the time between two of their beginnings.
const SMALL: u32 = 100;
const APART: Duration = Duration::from_millis(100);
/// An address that no connection has.
const ABSENT: &str = "203.0.113.7";
/// A unit that no process runs in.
const ABSENT_UNIT: &str = "absent.service";
/// The time after which a first line counts as missing.
const PATIENCE: Duration = Duration::from_secs(120);
const LINES: u16 = 50;
const COLUMNS: u16 = 160;

impl PastBench {
    /// Reduces the events and rounds.
    pub(super) fn quick(&mut self) {
        *self = Self { events: RECORDED, segments: 2 * SMALL, rounds: 2, connections: 50_000 };
    }

    pub(super) fn run(&self) -> anyhow::Result<Vec<Figure>> {
        let python = python("past", &["duckdb"])?;
        let long = self.long()?;
        let mut figures = self.at_the_middle(&python, &long)?;
        figures.extend(self.selections(&python, &long)?);
        figures.push(self.first_line(&long)?);
        figures.push(self.many_segments()?);
        figures.extend(self.sizes()?);
        Ok(figures)
    }

    /// Measures the table at a moment in the middle of the journal.
    fn at_the_middle(&self, python: &Path, long: &Path) -> anyhow::Result<Vec<Figure>> {
        let files = files(&long.join("events"))?;
        let middle = files.get(files.len() / 2).context("a journal with segments")?;
        let moment = output(Command::new(python).arg(script()).arg("middle").arg(middle))?;
        let words = ["snapshot", "-ta", "--at", &moment];
        ask(long, &words)?;
        let (mut seconds, mut megabytes) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let used = used(command(long, &words))?;
            eprintln!("at {moment}: {:.2} s, {:.0} MiB", used.seconds, used.megabytes);
            seconds.push(used.seconds);
            megabytes.push(used.megabytes);
        }
        let what = format!("snapshot --at, middle of {}", self.millions());
        Ok(vec![
            Figure::new(format!("{what}: s"), seconds).at_most(0.5),
            Figure::new(format!("{what}: peak MiB"), megabytes).at_most(160.0),
        ])
    }

    /// Measures selections of few connections, by netmon and by DuckDB in turn.
    fn selections(&self, python: &Path, long: &Path) -> anyhow::Result<Vec<Figure>> {
        let rare = |column: &str| {
            output(Command::new(python).arg(script()).arg("rare").arg(long).arg(column))
        };
        let net = RARE.to_string();
        let net = net.trim_end_matches(|digit: char| digit.is_ascii_digit());
        let address = format!("src {RARE} or dst {RARE}");
        let sql_address = format!("local_addr = '{RARE}' OR remote_addr = '{RARE}'");
        let subnet = format!("src {net}0/24 or dst {net}0/24");
        let sql_subnet = format!("local_addr LIKE '{net}%' OR remote_addr LIKE '{net}%'");
        let (verdict, pid, exe) = (rare("verdict")?, rare("pid")?, rare("exe")?);
        let sql_exe = format!("exe = '{exe}' OR holder_exe = '{exe}'");
        let exe_or_unit = format!("exe = {exe} or unit = {ABSENT_UNIT}");
        let sql_exe_or_unit = format!("{sql_exe} OR unit = '{ABSENT_UNIT}'");
        let beside = self.beside(long, &exe_or_unit, &address)?;
        let questions = [
            ("one address", address, sql_address),
            ("a /24", subnet, sql_subnet),
            ("verdict", format!("verdict = {verdict}"), format!("verdict = '{verdict}'")),
            ("comm", format!("comm = {RARE_COMM}"), format!("comm = '{RARE_COMM}'")),
            ("pid", format!("pid = {pid}"), format!("pid = {pid}")),
            ("executable", format!("exe = {exe}"), sql_exe),
            ("executable or unit", exe_or_unit, sql_exe_or_unit),
        ];
        let mut figures = vec![beside];
        for (name, filter, condition) in questions {
            figures.extend(self.selection(python, long, name, &filter, &condition)?);
        }
        Ok(figures)
    }

    fn selection(
        &self,
        python: &Path,
        long: &Path,
        name: &str,
        filter: &str,
        condition: &str,
    ) -> anyhow::Result<[Figure; 4]> {
        let words = ["history", "--json", filter];
        let duckdb = || -> anyhow::Result<(f64, u64)> {
            let mut select = Command::new(python);
            let line = output(select.arg(script()).arg("select").arg(long).arg(condition))?;
            let (cpu, rows) = line.split_once(' ').context("two figures")?;
            Ok((cpu.parse()?, rows.parse()?))
        };
        let answer = ask(long, &words)?;
        let closed = answer.lines().filter(|line| line.starts_with(r#"{"type":"closed""#)).count();
        let (_, rows) = duckdb()?;
        ensure!(closed as u64 == rows, "{filter}: netmon has {closed} connections, DuckDB {rows}");
        let (mut ours, mut theirs, mut ratios, mut seconds) = (vec![], vec![], vec![], vec![]);
        for round in 0..self.rounds {
            let netmon = || used(command(long, &words));
            let (netmon, (duck, _)) = in_turn(round, netmon, duckdb)?;
            eprintln!("{filter}, {rows} rows: {:.2} s of CPU, DuckDB {duck:.2} s", netmon.cpu);
            ours.push(netmon.cpu);
            theirs.push(duck);
            ratios.push(netmon.cpu / duck);
            seconds.push(netmon.seconds);
        }
        let what = format!("history by {name}, {rows} rows");
        Ok([
            Figure::new(format!("{what}: CPU, DuckDB's is 1"), ratios).at_most(3.0),
            Figure::new(format!("{what}: s of CPU"), ours),
            Figure::new(format!("{what}: s of CPU of DuckDB"), theirs),
            Figure::new(format!("{what}: s"), seconds),
        ])
    }

    /// Measures a selection by executable or unit beside one by address.
    fn beside(&self, long: &Path, by_process: &str, by_address: &str) -> anyhow::Result<Figure> {
        let cpu = |filter| Ok(used(command(long, &["history", "--json", filter]))?.cpu);
        let mut ratios = Vec::new();
        for round in 0..=self.rounds {
            let (process, address) = in_turn(round, || cpu(by_process), || cpu(by_address))?;
            eprintln!("{by_process}: {process:.2} s of CPU, {by_address}: {address:.2} s");
            // The first round brings the files into the page cache.
            if round > 0 {
                ratios.push(process / address);
            }
        }
        let what = "history by executable or unit: CPU, that by one address is 1";
        Ok(Figure::new(what, ratios).at_most(1.0))
    }

    /// Measures the time to the first row of the whole journal, on a terminal.
    fn first_line(&self, long: &Path) -> anyhow::Result<Figure> {
        let mut seconds = Vec::new();
        for _ in 0..self.rounds {
            seconds.push(first_row(long)?);
            eprintln!("first line: {:.3} s", seconds[seconds.len() - 1]);
        }
        let what = format!("history of {}: s to the first line on a terminal", self.millions());
        Ok(Figure::new(what, seconds).at_most(0.3))
    }

    /// Measures the search for an absent address in a journal of many segments.
    fn many_segments(&self) -> anyhow::Result<Figure> {
        let journal = self.segmented()?;
        let segments = files(&journal.join("events"))?.len();
        let filter = format!("src {ABSENT} or dst {ABSENT}");
        let words = ["history", "--json", &filter];
        ask(&journal, &words)?;
        let mut seconds = Vec::new();
        for _ in 0..self.rounds {
            let used = used(command(&journal, &words))?;
            eprintln!("{segments} segments: {:.2} s, {:.2} s of CPU", used.seconds, used.cpu);
            seconds.push(used.seconds);
        }
        let what = format!("{segments} segments, an address that is not there: s");
        Ok(Figure::new(what, seconds).at_most(2.0))
    }

    /// Measures the bytes of a whole journal, by its events.
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    fn sizes(&self) -> anyhow::Result<[Figure; 3]> {
        let size = |ending| {
            let mut runs = Runs::default();
            for _ in 0..self.rounds {
                follow(true, || load(self.connections, ending), &mut runs)?;
            }
            anyhow::Ok(runs.bytes)
        };
        let what = "journal: bytes an event, everything included";
        let (mixed, events) = recorded()?;
        let of_mixed = vec![size_of(&mixed)? as f64 / events as f64];
        Ok([
            Figure::new(format!("{what}, mixed, a segment every 2 s"), of_mixed),
            Figure::new(format!("{what}, 6 transitions"), size(Ending::Reset)?).at_most(5.6),
            Figure::new(format!("{what}, 10 transitions"), size(Ending::Close)?).at_most(4.9),
        ])
    }

    fn millions(&self) -> String {
        format!("{} million events", self.events / 1_000_000)
    }

    /// Returns the long journal.
    fn long(&self) -> anyhow::Result<PathBuf> {
        let (recorded, events) = recorded()?;
        let days = self.events.div_ceil(events);
        let name = format!("events-{}", self.events);
        kept(&name, |to| shift(&recorded, to, days))
    }

    /// Returns the journal of many segments.
    fn segmented(&self) -> anyhow::Result<PathBuf> {
        let recorded = kept("small", record_small)?;
        let there = files(&recorded.join("events"))?.len() as u64;
        let days = u64::from(self.segments).div_ceil(there);
        kept(&format!("segments-{}", self.segments), |to| shift(&recorded, to, days))
    }
}

/// Returns the journal whose copies make the long journal, and its number of events.
fn recorded() -> anyhow::Result<(PathBuf, u64)> {
    // The number of events stands beside the journal.
    let count = root().join("target/past/recorded.events");
    let journal = kept("recorded", |to| {
        let events = record(&release_binary(), to, RECORDED, Some(WAITING))?;
        Ok(fs::write(&count, events.to_string())?)
    })?;
    let events = fs::read_to_string(&count).with_context(|| count.display().to_string())?;
    Ok((journal, events.parse()?))
}

/// Returns the path of a journal, which is made once.
fn kept(name: &str, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let journal = root().join("target/past").join(name);
    if journal.exists() {
        return Ok(journal);
    }
    // A journal with its final name is complete.
    let partial = journal.with_extension(format!("partial-{}", id()));
    let begin = Instant::now();
    let made = make(&partial).and_then(|()| Ok(fs::rename(&partial, &journal)?));
    if made.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    made.with_context(|| format!("making {}", journal.display()))?;
    let megabytes = size_of(&journal)? >> 20;
    eprintln!("{}: {megabytes} MiB in {:.0} s", journal.display(), begin.elapsed().as_secs_f64());
    Ok(journal)
}

/// Copies a journal to each of the `days` before, and checks the copies.
fn shift(from: &Path, to: &Path, days: u64) -> anyhow::Result<()> {
    let days = days.to_string();
    let netmon = || as_root(release_binary());
    run(netmon()
        .args(["journal", "shift", "--days", &days, "--journal"])
        .arg(from)
        .arg("--to")
        .arg(to))?;
    run(netmon().args(["journal", "check", "--journal"]).arg(to))
}

/// Records segments of a few events each.
fn record_small(to: &Path) -> anyhow::Result<()> {
    let path = to.to_str().context("a path that is text")?;
    let netmon =
        RunningNetmon::start(&release_binary(), &["record", "--journal", path], Stdio::null())?;
    let pid = i32::try_from(netmon.id()).ok().and_then(Pid::from_raw).context("a pid")?;
    for _ in 1..SMALL {
        load(10, Ending::Close)?;
        thread::sleep(APART);
        kill_process(pid, Signal::HUP)?;
    }
    netmon.stop().map(drop)
}

/// Returns the Parquet files of a dataset, by time.
fn files(dataset: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for date in fs::read_dir(dataset).with_context(|| dataset.display().to_string())? {
        for host in fs::read_dir(date?.path())? {
            for file in fs::read_dir(host?.path())? {
                files.push(file?.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn script() -> PathBuf {
    root().join("xtask/src/bench/past.py")
}

/// Returns the command of a question to a journal.
fn command(journal: &Path, words: &[&str]) -> Vec<String> {
    let netmon = release_binary().display().to_string();
    let mut command = vec![netmon, words[0].to_owned()];
    command.extend(["--journal".to_owned(), journal.display().to_string(), "--utc".to_owned()]);
    command.extend(words[1..].iter().map(ToString::to_string));
    command
}

/// Returns the answer to a question.
fn ask(journal: &Path, words: &[&str]) -> anyhow::Result<String> {
    let command = command(journal, words);
    output(as_root(&command[0]).args(&command[1..]))
}

/// Measures the seconds until the first row below the heading is on a terminal.
fn first_row(journal: &Path) -> anyhow::Result<f64> {
    let (mut ours, theirs) = terminal::open(LINES, COLUMNS)?;
    let words = command(journal, &["history", "-n"]);
    let begin = Instant::now();
    let mut netmon = as_root(&words[0]);
    netmon.args(&words[1..]).stdout(Stdio::from(theirs)).stderr(Stdio::null());
    let netmon = KilledOnDrop(netmon.spawn().context("starting netmon on a terminal")?);
    let (found, row) = channel();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        let mut lines = 0;
        // The loop ends with netmon.
        while let Ok(count @ 1..) = ours.read(&mut buffer) {
            lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count();
            if lines >= 2 {
                let _ = found.send(Instant::now());
                break;
            }
        }
    });
    let row = row.recv_timeout(PATIENCE).context("no row on the terminal");
    drop(netmon);
    let _ = reader.join();
    Ok(row?.duration_since(begin).as_secs_f64())
}
