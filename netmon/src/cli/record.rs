//! `netmon record`: the flight recorder.

use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use log::LevelFilter;
use netmon_common::KernelFilter;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{
    args::{
        journal::JournalDir,
        tracing::{CONFINING, TracingArgs, attach, runtime, stop_on_signals},
    },
    gaps_text,
    io::{
        progress::Progress,
        stderr::{announce, report},
    },
    names::SystemNames,
};
use crate::{
    core::{
        filter::Filter,
        units::{duration, is_bare, length, size},
    },
    journal::{Health, OpenError, Recorder, RecorderOptions, Retention},
    kernel::{
        Namespace, check_host,
        host::{clock::anchor, privilege::narrowed},
    },
    session::{Limits, Session, SessionScope},
};

/// The kernel's id of this boot: cookies are unique within a boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The time between two reports to a service manager.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// The longest time for the end after a signal: the last segment becomes Parquet.
const GRACE: Duration = Duration::from_secs(60);

/// The least `--max-size`. Each file of a segment takes a page of 4 KiB at least, and the segment
/// that is being written is never dropped: with less, nearly nothing of the past would be left.
const LEAST_SIZE: u64 = 64 << 10;
/// The least `--max-age`: files of a shorter age are gone before a reader asks for them.
const LEAST_AGE: Duration = Duration::from_secs(60);

/// The least `--segment-time`.
const LEAST_SEGMENT: Duration = Duration::from_secs(10);

const NOT_WRITABLE: &str =
    "this user may not write there: choose another --journal, or give the directory to the user";

/// Record every connection into a journal, until Ctrl-C
///
/// The journal answers netmon snapshot --at, watch --from, history, export and top --at. The
/// packages have a systemd unit for a recorder: netmon.service.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct RecordCommand {
    #[command(flatten)]
    journal: JournalDir,
    /// Delete the oldest files once this host's journal exceeds SIZE
    ///
    /// SIZE is 64K at least. The journal never takes more than nine tenths of the space that other
    /// files leave.
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = max_size)]
    max_size: u64,
    /// Delete files older than LENGTH: 36h, 30d, 2w
    ///
    /// LENGTH is 1m at least, and a day is 24 hours.
    #[arg(long, value_name = "LENGTH", value_parser = max_age)]
    max_age: Option<Duration>,
    /// Begin a new segment at each multiple of LENGTH, and convert the one before to Parquet
    ///
    /// LENGTH is 10s at least. With 1h, segments begin on the hour.
    #[arg(long, value_name = "LENGTH", default_value = "1h", value_parser = segment_time)]
    #[arg(hide_short_help = true)]
    segment_time: Duration,
    /// End after LENGTH: 30s, 5m, 1h
    #[arg(long, value_name = "LENGTH", value_parser = duration)]
    duration: Option<Duration>,
    /// Write the kernel's records and answers to FILE too, for tests of the assembler
    #[arg(long, value_name = "FILE", hide = true)]
    raw: Option<PathBuf>,
    #[command(flatten)]
    tracing: TracingArgs,
}

const EXAMPLES: &str = "\
Examples:
  sudo netmon record                               into /var/log/netmon
  sudo netmon record --max-size 20G --max-age 30d  keep that much, that long
  sudo netmon record --journal /srv/net            into another directory";

/// Makes the C library return large blocks to the kernel as soon as they are free. By default glibc
/// keeps the more of them the larger they were (mallopt(3)): the memory of a recorder then differs
/// by a tenth from one conversion to Parquet to the next.
#[cfg(target_env = "gnu")]
fn return_freed_memory() {
    /// Bytes: more than any buffer of the hot path.
    const LARGE: libc::c_int = 256 << 10;
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        #[expect(unsafe_code, reason = "no crate has this call")]
        // SAFETY: the call takes any numbers.
        let is_set = unsafe { libc::mallopt(parameter, LARGE) } == 1;
        if !is_set {
            log::debug!("mallopt refuses parameter {parameter}");
        }
    }
}

/// Makes mimalloc return freed memory to the kernel soon, not after a second. A recorder then has a
/// peak of 190 MiB instead of 255 at 5,000 connections a second, for no more CPU.
#[cfg(target_env = "musl")]
fn return_freed_memory() {
    /// `mi_option_purge_delay` (mimalloc.h).
    const PURGE_DELAY: libc::c_int = 15;
    const MILLISECONDS: libc::c_long = 50;
    #[expect(unsafe_code, reason = "no crate has a safe call")]
    // SAFETY: this is the declaration in mimalloc.h.
    unsafe extern "C" {
        fn mi_option_set(option: libc::c_int, value: libc::c_long);
    }
    #[expect(unsafe_code, reason = "no crate has a safe call")]
    // SAFETY: no other thread has begun, and the option takes any number.
    unsafe {
        mi_option_set(PURGE_DELAY, MILLISECONDS);
    }
}

impl RecordCommand {
    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<()> {
        return_freed_memory();
        runtime()?.block_on(self.record(log))
    }

    /// Opens the recorder, whose threads have no privilege at all: the directory is this user's
    /// own.
    fn open(&self) -> anyhow::Result<Recorder> {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let boot_id = fs::read_to_string(BOOT_ID).with_context(|| format!("reading {BOOT_ID}"))?;
        let options = RecorderOptions {
            retention: Retention { max_size: Some(self.max_size), max_age: self.max_age },
            segment_time: self.segment_time,
            boot_id: boot_id.trim().to_owned(),
            netns: Namespace::current().map_or(0, |own| own.inum),
            names: Box::new(SystemNames),
        };
        let path = self.journal.path();
        let opened = narrowed(&[], || Recorder::open(&path, &host, options)).context(CONFINING)?;
        opened.map_err(|error| {
            let is_denied = is_denied(&error);
            let error = anyhow::Error::new(error);
            if is_denied { error.context(NOT_WRITABLE) } else { error }
        })
    }

    async fn record(self, log: LevelFilter) -> anyhow::Result<()> {
        let stop = stop_on_signals(GRACE, || {})?;
        let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        // Before the directory: a message about that would lead to a second one about privileges.
        check_host()?;
        let mut recorder = self.open()?;
        report(format_args!("recording into {}; Ctrl-C ends it", recorder.path().display()));
        let options = self.tracing.options(log, KernelFilter::ANY);
        let mut live = attach(options)?;
        if let Some(path) = &self.raw {
            live.capture(path).with_context(|| format!("{}: cannot be made", path.display()))?;
        }
        notify(&[NotifyState::Ready]);
        let handle = recorder.handle();
        let progress = Progress::start({
            let (handle, began) = (handle.clone(), Instant::now());
            move || progress_text(&handle.health(), began.elapsed())
        });
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    got = hangup.recv() => match got {
                        Some(()) => handle.rotate(),
                        None => break,
                    },
                    () = sleep(STATUS_INTERVAL) => notify_health(&handle.health()),
                }
            }
        });
        let scope = SessionScope { filter: Filter::default(), initial: true, include_dumped: true };
        let limits = Limits { duration: self.duration, count: None };
        let mut session = Session::new(&scope);
        session.remember(recorder.former_rows(anchor()));
        session.follow(&mut live, &mut recorder, limits, &stop).await?;
        let summary = session.finish(&mut live, &mut recorder).await?;
        drop(progress);
        announce("finishing the last segment");
        notify(&[NotifyState::Stopping]);
        let health = recorder.close();
        report(format_args!(
            "{} transitions seen, {} events recorded, {} events lost{}, {} connections corrected",
            summary.seen,
            health.written,
            summary.lost + health.unwritten,
            gaps_text(summary.gaps),
            summary.corrected,
        ));
        if health.unwritten > 0 || health.has_failed {
            bail!(
                "{} events could not be written: the journal has gaps, which `netmon history` \
                 shows",
                health.unwritten
            );
        }
        Ok(())
    }
}

/// Returns the progress of a recorder.
fn progress_text(health: &Health, time: Duration) -> String {
    let Health { written, unwritten, .. } = health;
    let lost = if *unwritten > 0 { format!(", {unwritten} not") } else { String::new() };
    format!("{written} events recorded{lost}, {} s", time.as_secs())
}

/// Reads `--max-size`. Refuses a bare 10, which hardly means ten bytes.
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

/// Returns whether the directory is another user's, or lies in such a directory.
fn is_denied(error: &OpenError) -> bool {
    matches!(error, OpenError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
}

/// Notifies the service manager, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager was not notified: {error}");
    }
}

fn notify_health(health: &Health) {
    let Health { written, unwritten, segments, .. } = health;
    let status = format!("{written} events recorded, {unwritten} not, {segments} segments done");
    log::debug!("{status}");
    notify(&[NotifyState::Status(&status)]);
}

/// Reads `--segment-time`.
fn segment_time(text: &str) -> Result<Duration, String> {
    let length = length(text).ok_or_else(|| format!("'{text}' is no time: write 10m or 1h"))?;
    if length < LEAST_SEGMENT {
        return Err("a segment takes 10s at least: each has five files and the whole table".into());
    }
    Ok(length)
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
