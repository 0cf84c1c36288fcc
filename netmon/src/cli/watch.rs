//! `netmon watch`: transitions, live or of a journal, one line each.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use log::LevelFilter;
use tokio::sync::Notify;

use super::{
    args::{
        journal::{FormArgs, JournalArgs, SpanArgs, report_unknown_self},
        tracing::{CONFINING, TracingArgs, attach, runtime, stop_on_signals},
    },
    gaps_text,
    io::{progress::Progress, queued_stdout::QueuedStdout, stderr::report},
};
use crate::{
    core::{filter::RowKind, units::duration},
    kernel::{
        host::privilege::{Duty, narrowed},
        netns_names,
    },
    session::{Limits, SessionScope, SessionSummary, Source, run},
    view::{
        NetnsNames,
        changes::{appearance::Appearance, json::Json, lines::Lines},
    },
};

/// The longest time for the end after a signal: a reader that stopped reading must not hold it up.
const GRACE: Duration = Duration::from_secs(10);

/// Show every change of TCP connections, live or from a journal
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = super::FILTER_HELP)]
pub(super) struct WatchCommand {
    /// Show the existing connections first
    #[arg(long)]
    initial: bool,
    /// End after LENGTH: 30s, 5m, 1h
    #[arg(long, value_name = "LENGTH", value_parser = duration)]
    duration: Option<Duration>,
    /// End after N transitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    stretch: SpanArgs,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    past: JournalArgs,
    #[command(flatten)]
    tracing: TracingArgs,
    /// Changes to show, as for ss: dport = :443 and not dst 10.0.0.0/8
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  sudo netmon watch                         every change, live
  sudo netmon watch 'dport = :5432'         only connections to that port
  netmon watch --from 03:10 --to 03:15      that time again, from a journal";

impl WatchCommand {
    pub(super) fn duties(&self) -> &'static [Duty] {
        if self.is_replay() { super::READING } else { &Duty::ALL }
    }

    /// Watches until a limit, a signal or a closed output.
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<()> {
        runtime()?.block_on(self.watch(log))
    }

    async fn watch(self, log: LevelFilter) -> anyhow::Result<()> {
        let stop = stop_on_signals(GRACE, || {})?;
        let summary = if self.is_replay() {
            let filter = self.past.filter(&self.filter, RowKind::Connection);
            let scope = SessionScope { filter, initial: self.initial, include_dumped: false };
            let journal = self.past.open()?;
            report_unknown_self(journal.hosts(), scope.filter.names_own_netns());
            let span = self.past.span(&journal, &self.stretch)?;
            let appearance = self.past.appearance_of(&journal, self.form);
            let _progress = Progress::of(journal.read_counter());
            // The journal has the names of its namespaces.
            let lines = (appearance, Box::new(|_| None) as NetnsNames);
            self.show(journal.replay(span), lines, &scope, &stop).await?
        } else {
            let filter = super::filter(&self.filter, RowKind::Connection);
            self.tracing.check(&filter);
            let clauses = filter.clauses().in_any_state();
            let scope = SessionScope { filter, initial: self.initial, include_dumped: false };
            let options = self.tracing.options(log, clauses);
            let lines = (self.past.appearance(self.form), Box::new(netns_names()) as NetnsNames);
            self.show(attach(options)?, lines, &scope, &stop).await?
        };
        report_summary(&summary);
        Ok(())
    }

    /// Returns whether a journal is chosen: by a stretch of time, a directory or a host.
    fn is_replay(&self) -> bool {
        self.stretch.is_chosen() || self.past.is_chosen()
    }

    async fn show(
        &self,
        mut source: impl Source,
        (appearance, names): (Appearance, NetnsNames),
        scope: &SessionScope,
        stop: &Notify,
    ) -> anyhow::Result<SessionSummary> {
        let limits = Limits { duration: self.duration, count: self.count };
        let mut out = narrowed(&[], QueuedStdout::start).context(CONFINING)??;
        let summary = if self.form.json {
            run(&mut source, &mut Json::new(&mut out, names), scope, limits, stop).await
        } else {
            run(&mut source, &mut Lines::new(&mut out, appearance, names)?, scope, limits, stop)
                .await
        };
        // Shown lines are written, also if the session failed.
        let output = out.close();
        Ok(summary.and_then(|summary| output.map(|()| summary))?)
    }
}

fn report_summary(summary: &SessionSummary) {
    report(format_args!(
        "{} transitions seen, {} shown, {} events lost{}{}",
        summary.seen,
        summary.shown,
        summary.lost,
        gaps_text(summary.gaps),
        match summary.corrected {
            0 => String::new(),
            corrected => format!(", {corrected} connections corrected"),
        }
    ));
}
