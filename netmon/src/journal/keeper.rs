//! The thread that turns segments into Parquet and drops the oldest.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, SystemTime},
};

use super::{
    archive,
    files::{Dataset, Home, Segment},
    recorder::Shared,
};

/// It gives way to everything else: what it does can wait.
const NICE: i32 = 19;
/// How long it goes on after the recorder was asked to end.
const LAST: Duration = Duration::from_secs(30);
/// How often files are looked at for their age, and what failed is tried again.
const EVERY: Duration = Duration::from_secs(60);

/// What is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Bytes of this host's part of the journal.
    pub max_size: Option<u64>,
    /// Since the beginning of a segment.
    pub max_age: Option<Duration>,
}

pub(super) struct Keeper {
    home: Home,
    shared: Arc<Shared>,
    retention: Retention,
    /// Segments that could not be turned yet.
    waiting: Vec<i64>,
}

impl Keeper {
    pub(super) fn new(home: Home, shared: Arc<Shared>, retention: Retention) -> Self {
        Self { home, shared, retention, waiting: Vec::new() }
    }

    /// Works until no more segments can come.
    pub(super) fn run(mut self, closed: &Receiver<i64>) {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            log::debug!("the thread that writes Parquet does not give way: {error}");
        }
        loop {
            let start = match closed.recv_timeout(EVERY) {
                Ok(start) => Some(start),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.waiting.extend(start);
            // What is left over, the next recorder takes over.
            if self.shared.ending.get().is_some_and(|ending| ending.elapsed() > LAST) {
                return;
            }
            self.close();
            if let Err(error) = self.retain() {
                log::warn!("old files of the journal are not removed: {error}");
            }
        }
        self.close();
    }

    fn close(&mut self) {
        let Self { home, shared, waiting, .. } = self;
        waiting.retain(|start| match archive::close(home, *start) {
            Ok((events, torn)) => {
                shared.closed.fetch_add(1, Ordering::Relaxed);
                let end = if torn { ", whose end was torn" } else { "" };
                log::debug!("a segment of {events} events is done{end}");
                false
            }
            Err(error) => {
                log::warn!("a segment of the journal stays as it is for now: {error}");
                true
            }
        });
    }

    /// Drops the oldest segments, but never the newest.
    fn retain(&self) -> io::Result<()> {
        let segments = self.home.segments()?;
        let mut all: u64 = 0;
        let mut sizes = Vec::new();
        for segment in &segments {
            let size = size(segment)?;
            all += size;
            sizes.push(size);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let too_old = self
            .retention
            .max_age
            .map(|age| now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)));
        let older = segments.len().saturating_sub(1);
        for (segment, size) in segments.iter().zip(sizes).take(older) {
            let is_too_old = too_old.is_some_and(|oldest| segment.start < oldest);
            let is_too_much = self.retention.max_size.is_some_and(|most| all > most);
            if !(is_too_old || is_too_much) || self.waiting.contains(&segment.start) {
                continue;
            }
            all -= size;
            for dataset in Dataset::ALL {
                archive::remove(&segment.path(dataset))?;
            }
            // The hour's directory, and the day's: they go when nothing is left in them.
            let path = segment.path(Dataset::Events);
            for directory in path.ancestors().skip(1).take(2).filter(|_| segment.closed) {
                let _ = fs::remove_dir(directory);
            }
        }
        Ok(())
    }
}

fn size(segment: &Segment) -> io::Result<u64> {
    let mut size = 0;
    for dataset in Dataset::ALL {
        size += match fs::metadata(segment.path(dataset)) {
            // What it takes, not what it says.
            Ok(metadata) => metadata.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(size)
}
