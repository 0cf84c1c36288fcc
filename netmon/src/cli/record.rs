//! `netmon record`: the flight recorder.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use log::LevelFilter;
use netmon_common::KernelFilter;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{
    live::{Tracing, duration, runtime, size, stop_on_signals},
    past::Directory,
};
use crate::{
    core::filter::Filter,
    journal::{Health, Recorder, Retention},
    kernel::Live,
    session::{Limits, Scope, run},
};

/// How often a service manager is told how it goes.
const NEWS_EVERY: Duration = Duration::from_secs(10);
/// How long the end may take after a signal: the last segment becomes Parquet.
const GRACE: Duration = Duration::from_secs(60);

/// Record every connection into a journal, for `snapshot --at`, `watch --from` and `history`
#[derive(Debug, Args)]
pub(super) struct Record {
    #[command(flatten)]
    journal: Directory,
    /// Drop the oldest files when the journal of this host takes more than this, or nine tenths of what others
    /// leave of its file system
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = size)]
    max_size: u64,
    /// Drop files that are older than this: 36h, 30d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_age: Option<Duration>,
    /// End after this time: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    tracing: Tracing,
}

impl Record {
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<()> {
        runtime()?.block_on(self.record(log))
    }

    async fn record(self, log: LevelFilter) -> anyhow::Result<()> {
        let stop = stop_on_signals(GRACE)?;
        let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        let retention = Retention { max_size: Some(self.max_size), max_age: self.max_age };
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let mut recorder = Recorder::open(self.journal.path(), &host, retention)?;
        let options = self.tracing.options(log, KernelFilter::ANY);
        let mut live = Live::start(options)?;
        tell(&[NotifyState::Ready]);
        let handle = recorder.handle();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    got = hangup.recv() => match got {
                        Some(()) => handle.rotate(),
                        None => break,
                    },
                    () = sleep(NEWS_EVERY) => tell_health(&handle.health()),
                }
            }
        });
        let scope = Scope { filter: Filter::default(), initial: true, found: true };
        let limits = Limits { duration: self.duration, count: None };
        let summary = run(&mut live, &mut recorder, &scope, limits, &stop).await?;
        tell(&[NotifyState::Stopping]);
        let health = recorder.close();
        // Nobody may be left to read that.
        let _ = writeln!(
            io::stderr(),
            "netmon: {} transitions seen, {} events recorded, {} events lost",
            summary.seen,
            health.written,
            summary.lost + health.unwritten,
        );
        Ok(())
    }
}

/// Tells the service manager, where there is one.
fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        log::debug!("the service manager was not told: {error}");
    }
}

fn tell_health(health: &Health) {
    let Health { written, unwritten, segments } = health;
    let status = format!("{written} events recorded, {unwritten} not, {segments} segments done");
    log::debug!("{status}");
    tell(&[NotifyState::Status(&status)]);
}
