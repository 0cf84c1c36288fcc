//! The thread that turns segments into Parquet and drops the oldest.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    parquet::{self, Sealed},
    place::JournalPlace,
};
use crate::journal::{
    error::Malformed,
    layout::{FileKind, HostDir, Segment},
    read::footer_sum_of,
    schema::Dataset,
    status::RecorderStatus,
};

/// It gives way to everything else: what it does can wait.
const NICE: i32 = 19;
/// Conversion to Parquet is postponed while more than this many events are recorded in a second …
const BUSY: f64 = 50_000.0;
/// … unless more than this many segments, of some 25 MB each, are waiting.
const MOST: usize = 8;
const LOOK: Duration = Duration::from_secs(1);
/// How long it goes on after the recorder was asked to end.
const LAST: Duration = Duration::from_secs(30);
/// How often files are looked at for their age, and what failed is tried again.
const EVERY: Duration = Duration::from_secs(60);

/// How much of a journal is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Bytes of this host's part of the journal.
    pub max_size: Option<u64>,
    /// Since the newest event of a segment.
    pub max_age: Option<Duration>,
}

pub(super) struct Archiver {
    place: JournalPlace,
    shared: Arc<RecorderStatus>,
    retention: Retention,
    /// Segments that are to become Parquet, the oldest first.
    waiting: VecDeque<i64>,
    /// Segments that could not be converted.
    failed: Vec<i64>,
    /// When it was last looked how much is written, and how much was by then.
    looked: (Instant, u64),
}

impl Archiver {
    pub(super) fn new(
        place: JournalPlace,
        shared: Arc<RecorderStatus>,
        retention: Retention,
    ) -> Self {
        let (waiting, failed) = (VecDeque::new(), Vec::new());
        Self { place, shared, retention, waiting, failed, looked: (Instant::now(), 0) }
    }

    /// Works until no more segments can come.
    pub(super) fn run(mut self, closed: &Receiver<i64>) {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            log::debug!("the thread that writes Parquet does not give way: {error}");
        }
        let mut retained = Instant::now();
        let mut is_open = true;
        while is_open {
            let message = closed.recv_timeout(LOOK);
            is_open = message != Err(RecvTimeoutError::Disconnected);
            self.waiting.extend(message.ok());
            self.waiting.extend(closed.try_iter());
            let may_wait = is_open && self.waiting.len() <= MOST && self.is_busy();
            let has_work = !may_wait && !self.waiting.is_empty();
            let is_due = retained.elapsed() >= EVERY;
            // First, so that there is room.
            if (has_work || is_due)
                && let Err(error) = self.retain()
            {
                log::warn!("old files of the journal are not removed: {error}");
            }
            if has_work {
                self.close();
            }
            if is_due {
                retained = Instant::now();
                self.waiting.extend(self.failed.drain(..));
            }
        }
    }

    /// Returns whether so much is recorded that other work had better wait.
    fn is_busy(&mut self) -> bool {
        let written = self.shared.written.load(Ordering::Relaxed);
        let (since, before) = self.looked;
        let elapsed = since.elapsed();
        if elapsed >= LOOK {
            self.looked = (Instant::now(), written);
        }
        // Fewer, after the journal was removed: those events are no longer written.
        written.saturating_sub(before) as f64 > BUSY * elapsed.as_secs_f64()
    }

    fn close(&mut self) {
        while let Some(start) = self.waiting.pop_front() {
            // What is left over, the next recorder takes over.
            if self.shared.ending.get().is_some_and(|ending| ending.elapsed() > LAST) {
                return;
            }
            let host = self.place.now();
            match parquet::seal_segment(&host, start, previous(&host, start).as_deref()) {
                Ok(Sealed { events, torn, damaged, .. }) => {
                    self.shared.closed.fetch_add(1, Ordering::Relaxed);
                    if torn {
                        log::warn!("the end of a segment was torn: {events} events of it are kept");
                    }
                    if damaged {
                        log::error!(
                            "a part of a segment was changed after it was written: {events} events \
                             of it are kept, and its streams stay in {}",
                            host.dir.path_of(&host.live()).display()
                        );
                    }
                    log::debug!("a segment of {events} events is done");
                }
                Err(error) => {
                    let path = host.path(Dataset::Events, start, FileKind::Stream);
                    log::warn!("{} stays as it is: {error}", host.dir.path_of(&path).display());
                    // What another version wrote does not change, and what is gone does not come
                    // back.
                    let is_final = match &error {
                        Malformed::Version { .. } | Malformed::Foreign => true,
                        Malformed::Io(error) => error.kind() == io::ErrorKind::NotFound,
                        _ => false,
                    };
                    if !is_final {
                        self.failed.push(start);
                    }
                }
            }
        }
    }

    /// Drops the oldest segments, but never the one that is written.
    fn retain(&self) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let open = self.shared.open.load(Ordering::Relaxed);
        let host = self.place.now();
        let segments = host.segments()?;
        // Each ends where the next begins.
        let ends = segments.iter().skip(1).map(|next| next.start);
        let mut older = Vec::new();
        let mut all = 0;
        for (segment, end) in segments.iter().zip(ends.map(Some).chain([None])) {
            let size = size(&host, *segment)?;
            all += size;
            older.push((segment, end, size));
        }
        let most = self.retention.max_size.unwrap_or(u64::MAX).min(room(&host, all)?);
        let oldest = self
            .retention
            .max_age
            .map(|age| now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)));
        // What is of the future was written before the clock was set back.
        older.sort_by_key(|(segment, ..)| (segment.start <= now, segment.start));
        let older = older.iter().take(segments.len().saturating_sub(1));
        for (segment, end, size) in older {
            let is_too_old = oldest.zip(*end).is_some_and(|(oldest, end)| end < oldest);
            if segment.start == open || !(is_too_old || all > most) {
                continue;
            }
            all -= size;
            host.remove(segment.start)?;
        }
        Ok(())
    }
}

/// The segment before, as a file names it: its start, and the checksum of its footer.
fn previous(host: &HostDir, start: i64) -> Option<String> {
    let before = host.segments().ok()?.into_iter().rev().find(|segment| segment.start < start)?;
    let path = host.path(Dataset::Events, before.start, FileKind::Parquet);
    let sum = host.dir.read(&path).ok().and_then(|file| footer_sum_of(&file).ok());
    Some(format!("{} {}", before.start, sum.unwrap_or_default()))
}

/// Bytes that the journal may take at most, of those it has and those that are left of the file
/// system: the journal is not to be the reason why that is full.
fn room(host: &HostDir, all: u64) -> io::Result<u64> {
    Ok((all.saturating_add(host.dir.available()?) / 10).saturating_mul(9))
}

fn size(host: &HostDir, segment: Segment) -> io::Result<u64> {
    let mut size = 0;
    for dataset in Dataset::ALL {
        // What it takes, not what it says.
        size += host.dir.size(&host.file(segment, dataset))?;
    }
    Ok(size)
}
