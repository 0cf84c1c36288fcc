//! `netmon watch`: transitions, live or of a journal, one line each.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use log::LevelFilter;
use tokio::sync::Notify;

use super::{
    args::{
        journal::{JournalArgs, SpanArgs},
        tracing::{CONFINING, TracingArgs, attach, runtime, stop_on_signals},
        units::duration,
    },
    io::{progress::Progress, queued_stdout::QueuedStdout},
};
use crate::{
    kernel::host::privilege::narrowed,
    session::{Limits, SessionScope, SessionSummary, Source, run},
    view::changes::{
        json::Json,
        lines::{Appearance, Lines},
    },
};

/// How long the end may take after a signal: a reader that stopped reading must not hold it up.
const GRACE: Duration = Duration::from_secs(5);

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
    stretch: SpanArgs,
    #[command(flatten)]
    past: JournalArgs,
    #[command(flatten)]
    tracing: TracingArgs,
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
        let stop = stop_on_signals(GRACE, || {})?;
        let summary = if self.is_replay() {
            let filter = self.past.filter(&self.filter);
            let scope = SessionScope { filter, initial: self.initial, include_dumped: false };
            let journal = self.past.open()?;
            let span = self.past.span(&journal, &self.stretch)?;
            let look = self.past.appearance_of(&journal, self.numeric);
            let _progress = Progress::of(journal.read_counter());
            self.show(journal.replay(span), look, &scope, &stop).await?
        } else {
            let filter = super::filter(&self.filter);
            let clauses = filter.clauses().in_any_state();
            let scope = SessionScope { filter, initial: self.initial, include_dumped: false };
            let options = self.tracing.options(log, clauses);
            let look = self.past.appearance(self.numeric);
            self.show(attach(options)?, look, &scope, &stop).await?
        };
        report(&summary);
        Ok(())
    }

    /// Whether a journal is asked for: a part of it, or one by its name.
    fn is_replay(&self) -> bool {
        self.stretch.is_chosen() || self.past.is_chosen()
    }

    async fn show(
        &self,
        mut source: impl Source,
        look: Appearance,
        scope: &SessionScope,
        stop: &Notify,
    ) -> anyhow::Result<SessionSummary> {
        let limits = Limits { duration: self.duration, count: self.count };
        let mut out = narrowed(&[], QueuedStdout::start).context(CONFINING)??;
        let summary = if self.json {
            run(&mut source, &mut Json::new(&mut out), scope, limits, stop).await
        } else {
            run(&mut source, &mut Lines::new(&mut out, look)?, scope, limits, stop).await
        };
        // What was shown is seen, whatever became of the rest.
        let written = out.close();
        Ok(summary.and_then(|summary| written.map(|()| summary))?)
    }
}

fn report(summary: &SessionSummary) {
    // Nobody may be left to read that either.
    let _ = writeln!(
        io::stderr(),
        "netmon: {} transitions seen, {} shown, {} events lost{}{}",
        summary.seen,
        summary.shown,
        summary.lost,
        match summary.gaps {
            0 => String::new(),
            1 => ", 1 gap".to_owned(),
            gaps => format!(", {gaps} gaps"),
        },
        match summary.corrected {
            0 => String::new(),
            corrected => format!(", {corrected} connections corrected"),
        }
    );
}
