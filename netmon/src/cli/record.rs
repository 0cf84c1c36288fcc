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
    amount::{duration, is_bare, length, size},
    live::{CONFINING, Tracing, attach, runtime, stop_on_signals},
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

/// The least `--max-size`. Each file of a segment takes a page of 4 KiB at least, and the segment
/// that is being written is never dropped: with less, nearly nothing of the past would be left.
const LEAST_SIZE: u64 = 64 << 10;
/// The least `--max-age`: a journal of less does not reach back to when somebody begins to ask.
const LEAST_AGE: Duration = Duration::from_secs(60);

const NOT_THERE: &str =
    "this user may not write there: choose another --journal, or give the directory to the user";

/// Record every connection into a journal, for `snapshot --at`, `watch --from` and `history`
#[derive(Debug, Args)]
pub(super) struct Record {
    #[command(flatten)]
    journal: Directory,
    /// Drop the oldest files when the journal of this host takes more than this (64K at least), or
    /// nine tenths of what others leave of its file system
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = max_size)]
    max_size: u64,
    /// Drop files that are older than this: 36h, 30d, 2w; 1m at least, a day is 24 hours
    #[arg(long, value_name = "TIME", value_parser = max_age)]
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

/// Reads `--max-size`: whoever writes a bare 10 hardly means ten bytes.
fn max_size(text: &str) -> Result<u64, String> {
    if is_bare(text) {
        return Err(format!("'{text}' has no unit: write 10G"));
    }
    let size = size(text)?;
    if size < LEAST_SIZE {
        return Err(format!(
            "'{text}' is too little: write 64K or more, as each segment takes several files of 4K \
             at least, and the one that is being written stays"
        ));
    }
    Ok(size)
}

/// Reads `--max-age`.
fn max_age(text: &str) -> Result<Duration, String> {
    if is_bare(text) {
        return Err(format!("'{text}' has no unit: write 36h or 30d"));
    }
    let age = length(text).ok_or_else(|| format!("'{text}' is no time: write 36h or 30d"))?;
    if age < LEAST_AGE {
        return Err(format!(
            "'{text}' is too little: write 1m or more, as less is gone before anybody asks for it"
        ));
    }
    Ok(age)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T: std::fmt::Debug>(read: Result<T, String>, why: &str) {
        let error = read.expect_err("refused");
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn sizes_have_a_unit_and_a_least() {
        assert_eq!(max_size("10G"), Ok(10 << 30));
        assert_eq!(max_size("64K"), Ok(LEAST_SIZE));
        refused(max_size("10"), "write 10G");
        refused(max_size("99999999999999999999"), "write 10G");
        refused(max_size("63K"), "64K or more");
        refused(max_size("10b"), "64K or more");
        for bad in ["", "0G", "-1G", "1.5G", "lots", "99999999999999999999G"] {
            refused(max_size(bad), "is no size");
        }
    }

    #[test]
    fn ages_have_a_unit_and_a_least() {
        let hours = |hours: u64| Ok(Duration::from_secs(hours * 3600));
        assert_eq!(max_age("36h"), hours(36));
        assert_eq!(max_age("30d"), hours(720));
        assert_eq!(max_age("2w"), hours(336));
        assert_eq!(max_age("1m"), Ok(LEAST_AGE));
        refused(max_age("30"), "write 36h or 30d");
        refused(max_age("59s"), "1m or more");
        refused(max_age("0d"), "1m or more");
        for bad in ["", "-1d", "1y", "30d ago", "soon", "99999999999999999999d"] {
            refused(max_age(bad), "is no time");
        }
    }
}
