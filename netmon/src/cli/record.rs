//! `netmon record`: the flight recorder.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use log::LevelFilter;
use netmon_common::KernelFilter;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    live::{Tracing, duration, runtime, size, stop_on_signals},
    past::Directory,
};
use crate::{
    core::filter::Filter,
    journal::{Recorder, Retention},
    kernel::{Live, Options},
    session::{Limits, Scope, run},
};

/// How long the end may take after a signal: the last segment becomes Parquet.
const GRACE: Duration = Duration::from_secs(60);

/// Record every connection into a journal, for `snapshot --at`, `watch --from` and `history`
#[derive(Debug, Args)]
pub(super) struct Record {
    #[command(flatten)]
    journal: Directory,
    /// Drop the oldest files when the journal of this host takes more than this
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
        let options = Options { buffer: self.tracing.buffer, log, filter: KernelFilter::ANY };
        let mut live = Live::start(options)?;
        let handle = recorder.handle();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                handle.rotate();
            }
        });
        let scope = Scope { filter: Filter::default(), initial: true, found: true };
        let limits = Limits { duration: self.duration, count: None };
        let summary = run(&mut live, &mut recorder, &scope, limits, &stop).await?;
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
