//! `soak`: known connections of every kind for minutes or hours, beside a recorder and a watcher.
//!
//! At the end both must have every connection with its verdict, no event may be lost, and memory
//! and descriptors must not have grown. The soak makes namespaces of its own and changes nothing
//! outside them.

mod gauge;
mod kind;
mod place;
mod site;
mod tally;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use clap::Args;

use self::{
    gauge::Gauge,
    kind::Kind,
    place::LASTING,
    site::{Load, Site, pass},
    tally::{Made, Reported, compare},
};
use crate::{
    daemon::RunningNetmon,
    shell::{as_root, build_release, cargo, release_binary, root, run},
};

/// The time between two samples, and between two lines.
const SAMPLE: Duration = Duration::from_secs(10);
const LINE: Duration = Duration::from_secs(30);
/// The longest wait for netmon to report the last ends.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// Rows of TIME_WAITs come for a minute before the first of them goes.
const LEAST_MINUTES: u64 = 2;

#[derive(Args, Debug)]
pub(crate) struct Soak {
    /// Length of the soak
    #[arg(long, value_parser = clap::value_parser!(u64).range(LEAST_MINUTES..=10_080))]
    minutes: u64,
    /// Connections a second, in all namespaces together
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(5..=5_000))]
    rate: u32,
    /// The netmon to run, instead of a fresh build
    #[arg(long, value_name = "FILE", hide = true)]
    netmon: Option<PathBuf>,
}

impl Soak {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let Some(netmon) = &self.netmon else { return start_over() };
        let journal = root().join(format!("target/soak/journal-{}", id()));
        let soaked = self.soak(netmon, &journal);
        if soaked.is_ok() {
            fs::remove_dir_all(&journal)
                .with_context(|| format!("removing {}", journal.display()))?;
        } else if journal.exists() {
            eprintln!("the journal is kept: {}", journal.display());
        }
        soaked
    }

    fn soak(&self, netmon: &Path, journal: &Path) -> anyhow::Result<()> {
        let mut sites = vec![Site::own()?];
        for number in 1..=LASTING {
            sites.push(Site::new(number)?);
        }
        let to = journal.to_str().context("a path that is text")?;
        let words = ["record", "--journal", to, "--segment-time", "1m"];
        let recorder = RunningNetmon::start(netmon, &words, Stdio::null())?;
        let mut watcher = RunningNetmon::start(netmon, &["watch", "--json"], Stdio::piped())?;
        let stdout = watcher.stdout()?;
        let mut gauges = [Gauge::new("record", recorder.id()), Gauge::new("watch", watcher.id())];
        let seen = AtomicU64::new(0);
        let (made, messages, watched) = thread::scope(|scope| {
            let reader = scope.spawn(|| Reported::read(stdout, &seen));
            // The reader ends with netmon, also after a failure.
            let made = self.load(&sites, &mut gauges, &seen).and_then(|made| {
                until_seen(made.total(), &seen);
                Ok((made, [recorder.stop()?, watcher.stop()?]))
            });
            let watched = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
            made.and_then(|(made, messages)| Ok((made, messages, watched?)))
        })?;
        let recorded = history(netmon, to)?;
        let mut faults = compare(&made, &recorded, &watched);
        for (name, messages) in ["record", "watch"].iter().zip(&messages) {
            println!("{name}: {}", messages.lines().last().unwrap_or_default());
            if !messages.contains(" 0 events lost") {
                faults.push(format!("{name} lost events: {messages}"));
            }
        }
        for (name, reported) in [("recorded", &recorded), ("watched", &watched)] {
            let lost = reported.lost.iter();
            faults.extend(lost.map(|(reason, count)| format!("{name}: {count} lost ({reason})")));
        }
        faults.extend(gauges.iter().flat_map(Gauge::judge));
        for fault in &faults {
            println!("{fault}");
        }
        ensure!(faults.is_empty(), "the soak found {} faults", faults.len());
        println!("no fault");
        Ok(())
    }

    /// Makes connections in all namespaces until the end, and returns their ends.
    fn load(
        &self,
        sites: &[Site],
        gauges: &mut [Gauge; 2],
        seen: &AtomicU64,
    ) -> anyhow::Result<Made> {
        let (total, passed) = (AtomicU64::new(0), AtomicU64::new(0));
        let stop = AtomicBool::new(false);
        // Each namespace makes an equal part, and one more part is that of the passing ones.
        let parts = u32::from(LASTING) + 2;
        let interval = Duration::from_secs(1) * parts / self.rate;
        let load = &Load { interval, total: &total };
        let (stop, passed) = (&stop, &passed);
        thread::scope(|scope| {
            let mut threads = vec![scope.spawn(move || pass(load, stop, passed))];
            for site in sites {
                for kinds in [&Kind::QUICK[..], &Kind::SLOW[..]] {
                    let is_over = || stop.load(Ordering::Relaxed);
                    threads.push(scope.spawn(move || site.load(kinds, load, is_over)));
                }
            }
            let followed = self.follow(&threads, gauges, || {
                let (ends, passed) =
                    (total.load(Ordering::Relaxed), passed.load(Ordering::Relaxed));
                let seen = seen.load(Ordering::Relaxed);
                format!("{ends} ends made, {seen} watched, {passed} namespaces passed")
            });
            stop.store(true, Ordering::Relaxed);
            let mut made = Made::default();
            for thread in threads {
                made.join(thread.join().map_err(|_| anyhow!("a load panicked"))??);
            }
            followed.map(|()| made)
        })
    }

    /// Takes samples and prints lines until the end, or until a load has failed.
    fn follow(
        &self,
        threads: &[ScopedJoinHandle<'_, anyhow::Result<Made>>],
        gauges: &mut [Gauge; 2],
        state: impl Fn() -> String,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        let length = Duration::from_secs(60 * self.minutes);
        let (mut sample, mut line) = (SAMPLE, LINE);
        while begin.elapsed() < length && !threads.iter().any(ScopedJoinHandle::is_finished) {
            thread::sleep(PAUSE);
            if begin.elapsed() >= sample {
                gauges.iter_mut().try_for_each(Gauge::sample)?;
                sample += SAMPLE;
            }
            if begin.elapsed() >= line {
                let [record, watch] = gauges.each_ref().map(Gauge::last);
                let seconds = line.as_secs();
                println!("{seconds} s of {}: {}; {record}; {watch}", length.as_secs(), state());
                line += LINE;
            }
        }
        Ok(())
    }
}

/// Builds netmon and this program, and runs the optimised program as root.
fn start_over() -> anyhow::Result<()> {
    build_release()?;
    run(cargo().args(["build", "--release", "--quiet", "--package", "xtask"]))?;
    let netmon = release_binary();
    let words = std::env::args_os().skip(1);
    run(as_root(netmon.with_file_name("xtask")).args(words).arg("--netmon").arg(netmon))
}

/// Waits until netmon has reported all ends. The comparison names those that are missing.
fn until_seen(made: u64, seen: &AtomicU64) {
    let end = Instant::now() + PATIENCE;
    while seen.load(Ordering::Relaxed) < made && Instant::now() < end {
        thread::sleep(PAUSE);
    }
}

/// Reads the connections of the journal.
fn history(netmon: &Path, journal: &str) -> anyhow::Result<Reported> {
    let mut reader = Command::new(netmon)
        .args(["history", "--json", "--journal", journal])
        .stdout(Stdio::piped())
        .spawn()
        .context("starting netmon history")?;
    let stdout = reader.stdout.take().context("its output")?;
    let recorded = Reported::read(stdout, &AtomicU64::new(0));
    let status = reader.wait()?;
    ensure!(status.success(), "netmon history: {status}");
    recorded
}
