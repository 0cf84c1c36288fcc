//! `bench churn`: what following every transition costs those who make them.

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader},
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
    #[arg(long)]
    to_file: bool,
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
        let mut lost = 0;
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
        }
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        println!("ratio: median {:.3}, from {least:.3} to {most:.3}; lost {lost}", median(&ratios));
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
        let watch = Watch::start(self.to_file)?;
        let rate = self.load()?;
        Ok((rate, watch.stop()?))
    }
}

/// A `netmon watch --json` whose output goes nowhere, or to a file that has no name any more.
struct Watch {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

/// What it said at its end.
struct Watched {
    seen: u64,
    lost: u64,
}

impl Watch {
    fn start(to_file: bool) -> anyhow::Result<Self> {
        let to = if to_file {
            let path = env::temp_dir().join(format!("netmon-bench-{}.jsonl", std::process::id()));
            let to = File::create(&path)?;
            std::fs::remove_file(&path)?;
            Stdio::from(to)
        } else {
            Stdio::null()
        };
        let mut child = as_root(release_binary())
            .args(["watch", "--json"])
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
        Ok(Self { child, stderr })
    }

    fn stop(mut self) -> anyhow::Result<Watched> {
        run(as_root("kill").args(["-INT", &self.child.id().to_string()]))?;
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
        Ok(Watched { seen: number("seen")?, lost: number("lost")? })
    }
}
