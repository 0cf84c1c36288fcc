//! `netmon record`: the flight recorder.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
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
    live::{CONFINING, Tracing, attach, duration, runtime, size, stop_on_signals},
    past::Directory,
};
use crate::{
    core::filter::Filter,
    journal::{Health, OpenError, Recorder, Retention},
    kernel::privilege::{Duty, narrowed},
    session::{Limits, Scope, run},
};

/// How often a service manager is told how it goes.
const NEWS_EVERY: Duration = Duration::from_secs(10);
/// How long the end may take after a signal: the last segment becomes Parquet.
const GRACE: Duration = Duration::from_secs(60);

const NOT_THERE: &str =
    "this user may not write there: choose another --journal, or give the directory to the user";

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

    /// The recorder, whose threads have as little privilege as the directory lets them: none, unless it is another
    /// user's.
    fn open(&self) -> anyhow::Result<Recorder> {
        let retention = Retention { max_size: Some(self.max_size), max_age: self.max_age };
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let path = self.journal.path();
        let open = |duties: &[Duty]| {
            narrowed(duties, || Recorder::open(path, &host, retention)).context(CONFINING)
        };
        let own = rustix::process::geteuid().as_raw();
        // What is refused may lie below another's, and be own all the same.
        let is_others = fs::metadata(path).is_ok_and(|found| found.uid() != own);
        if !is_others {
            match open(&[])? {
                Err(error) if is_denied(&error) => {}
                opened => return Ok(opened?),
            }
        }
        open(&[Duty::Write])?.map_err(|error| {
            let is_denied = is_denied(&error);
            let error = anyhow::Error::new(error);
            if is_denied { error.context(NOT_THERE) } else { error }
        })
    }

    async fn record(self, log: LevelFilter) -> anyhow::Result<()> {
        let stop = stop_on_signals(GRACE, || {})?;
        let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        let mut recorder = self.open()?;
        let options = self.tracing.options(log, KernelFilter::ANY);
        let mut live = attach(options)?;
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

/// Whether it was another's directory, or in one.
fn is_denied(error: &OpenError) -> bool {
    matches!(error, OpenError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
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
