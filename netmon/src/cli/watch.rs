//! `netmon watch`: live transitions, one line each.

use std::{
    env, fs,
    io::{self, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    time::Duration,
};

use clap::Args;
use jiff::tz::TimeZone;
use log::LevelFilter;

use super::{
    live::{Tracing, duration, runtime, stop_on_signals},
    stdout::Stdout,
};
use crate::{
    core::names::Services,
    kernel::{Live, Options},
    session::{Limits, Scope, Summary, run},
    view::{
        json::Json,
        lines::{Appearance, Lines},
    },
};

/// How long the end may take after a signal: a reader that stopped reading must not hold it up.
const GRACE: Duration = Duration::from_secs(2);

/// Show TCP connections changing state, live, one line each
#[derive(Debug, Args)]
#[command(after_help = super::FILTER_HELP)]
pub(super) struct Watch {
    /// Write JSON Lines
    #[arg(long)]
    json: bool,
    /// Show port numbers instead of service names
    #[arg(short = 'n', long)]
    numeric: bool,
    /// First show the connections that are there already
    #[arg(long)]
    initial: bool,
    /// End after this time: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// End after this many transitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    tracing: Tracing,
    /// Which transitions, as for ss: dport = :443 and not dst 10.0.0.0/8; `state` is the new one
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

impl Watch {
    /// Watches until a limit, a signal or a closed output.
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<()> {
        runtime()?.block_on(self.watch(log))
    }

    async fn watch(self, log: LevelFilter) -> anyhow::Result<()> {
        let filter = super::filter(&self.filter);
        let stop = stop_on_signals(GRACE)?;
        let clauses = filter.clauses().in_any_state();
        let options = Options { buffer: self.tracing.buffer, log, filter: clauses };
        let scope = Scope { filter, initial: self.initial, found: false };
        let mut live = Live::start(options)?;
        let limits = Limits { duration: self.duration, count: self.count };
        let summary = if self.json {
            run(&mut live, &mut Json::new(Stdout::lock()), &scope, limits, &stop).await?
        } else {
            let mut view = Lines::new(Stdout::lock(), self.appearance())?;
            run(&mut live, &mut view, &scope, limits, &stop).await?
        };
        report(&summary);
        Ok(())
    }

    fn appearance(&self) -> Appearance {
        let colour =
            io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Appearance {
            services: if self.numeric { Services::default() } else { Services::load() },
            colour,
            zone: TimeZone::system(),
            netns: fs::metadata("/proc/self/ns/net").ok().and_then(|ns| ns.ino().try_into().ok()),
        }
    }
}

fn report(summary: &Summary) {
    // Nobody may be left to read that either.
    let _ = writeln!(
        io::stderr(),
        "netmon: {} transitions seen, {} shown, {} events lost{}",
        summary.seen,
        summary.shown,
        summary.lost,
        match summary.corrected {
            0 => String::new(),
            corrected => format!(", {corrected} connections corrected"),
        }
    );
}
