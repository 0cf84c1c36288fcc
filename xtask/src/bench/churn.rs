//! `bench churn`: what following every transition costs those who make them.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use super::median;
use crate::{
    load::Ending,
    shell::{as_root, build_release, cargo, output, release_binary, run},
};

#[derive(Debug, Args)]
pub(crate) struct Churn {
    /// Pairs of runs, with and without
    #[arg(long, default_value_t = 10)]
    pairs: u32,
    /// Connections of each run
    #[arg(long, default_value_t = 200_000)]
    connections: u64,
    /// Let netmon write to a file instead of to nowhere
    #[arg(long, conflicts_with = "record")]
    to_file: bool,
    /// Let netmon record into a journal instead, and say how large it is in the end
    #[arg(long)]
    record: bool,
    /// How they end
    #[arg(long, value_enum, default_value = "reset")]
    ending: Ending,
}

impl Churn {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        build_release()?;
        // The load itself runs optimised, whatever this was built as.
        run(cargo().args(["build", "--release", "--quiet", "--package", "xtask"]))?;
        println!(
            "{:>4} {:>12} {:>12} {:>7} {:>10} {:>6}",
            "pair", "without/s", "with/s", "ratio", "seen", "lost"
        );
        let mut ratios = Vec::new();
        let (mut lost, mut events, mut bytes) = (0, 0, 0);
        for pair in 1..=self.pairs {
            // In turn the one and the other first, so that a drift of the machine favours neither.
            let (without, (with, watched)) = if pair % 2 == 0 {
                (self.load()?, self.watched()?)
            } else {
                let watched = self.watched()?;
                (self.load()?, watched)
            };
            let ratio = with / without;
            println!(
                "{pair:>4} {without:>12.0} {with:>12.0} {ratio:>7.3} {:>10} {:>6}",
                watched.seen, watched.lost
            );
            ratios.push(ratio);
            lost += watched.lost;
            events += watched.seen;
            bytes += watched.bytes;
        }
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        println!("ratio: median {:.3}, from {least:.3} to {most:.3}; lost {lost}", median(&ratios));
        if self.record {
            #[expect(clippy::cast_precision_loss, reason = "a few figures are shown")]
            let each = bytes as f64 / events as f64;
            println!("journal: {each:.2} bytes a transition");
        }
        Ok(())
    }

    /// Connections per second of one load.
    fn load(&self) -> anyhow::Result<f64> {
        let load = release_binary().with_file_name("xtask");
        let ending = self.ending.to_possible_value().context("a value")?;
        let rate = output(Command::new(load).args([
            "load",
            "--connections",
            &self.connections.to_string(),
            "--ending",
            ending.get_name(),
        ]))?;
        rate.parse().context("the load prints a rate")
    }

    fn watched(&self) -> anyhow::Result<(f64, Watched)> {
        let watch = Watch::start(self.to_file, self.record)?;
        let rate = self.load()?;
        Ok((rate, watch.stop()?))
    }
}

/// A `netmon watch --json` whose output goes nowhere, or to a file that has no name any more.
struct Watch {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    journal: Option<PathBuf>,
}

/// What it said at its end.
struct Watched {
    seen: u64,
    lost: u64,
    /// Of the journal.
    bytes: u64,
}

impl Watch {
    fn start(to_file: bool, record: bool) -> anyhow::Result<Self> {
        let name = format!("netmon-bench-journal-{}", std::process::id());
        let journal = record.then(|| env::temp_dir().join(name));
        let to = if to_file {
            let path = env::temp_dir().join(format!("netmon-bench-{}.jsonl", std::process::id()));
            let to = File::create(&path)?;
            std::fs::remove_file(&path)?;
            Stdio::from(to)
        } else {
            Stdio::null()
        };
        let mut command = as_root(release_binary());
        match &journal {
            Some(journal) => command.arg("record").arg("--journal").arg(journal),
            None => command.args(["watch", "--json"]),
        };
        let mut child = command
            // Its kernel side stays silent: only this program's own start is logged.
            .env("RUST_LOG", "netmon=info")
            .stdout(to)
            .stderr(Stdio::piped())
            .spawn()
            .context("starting netmon")?;
        let stderr = child.stderr.take().context("its stderr")?;
        let mut stderr = BufReader::new(stderr);
        let mut line = String::new();
        while !line.contains("attached") {
            line.clear();
            ensure!(stderr.read_line(&mut line)? > 0, "netmon ended before it was attached");
        }
        Ok(Self { child, stderr, journal })
    }

    fn stop(mut self) -> anyhow::Result<Watched> {
        run(as_root("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let mut said = String::new();
        while self.stderr.read_line(&mut said)? > 0 {}
        ensure!(self.child.wait()?.success(), "netmon failed: {said}");
        let number = |after: &str| -> anyhow::Result<u64> {
            let words: Vec<_> = said.split_whitespace().collect();
            let at = words.iter().position(|word| word.trim_end_matches(',') == after);
            let count =
                at.and_then(|at| words[..at].iter().rev().find_map(|word| word.parse().ok()));
            count.with_context(|| format!("netmon said: {said}"))
        };
        let bytes = match &self.journal {
            Some(journal) => {
                let bytes = size(journal)?;
                fs::remove_dir_all(journal)?;
                bytes
            }
            None => 0,
        };
        Ok(Watched { seen: number("seen")?, lost: number("lost")?, bytes })
    }
}

/// Bytes of all files below.
fn size(path: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
