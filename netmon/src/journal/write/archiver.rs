//! The thread that turns segments into Parquet and drops the oldest.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{
    parquet::{self, Sealed},
    place::JournalPlace,
};
use crate::{
    core::time::Wall,
    enclosure::enclosed,
    journal::{
        error::Malformed,
        intervals::wall_now,
        layout::{FileKind, HostDir, Segment},
        read::footer_sum_of,
        schema::Dataset,
        status::RecorderStatus,
    },
};

/// The priority of the thread: low, since its work can wait. A thread of the lowest priority, 19,
/// gets less than 2 % of a core on a busy host, and a segment would take minutes.
const NICE: i32 = 10;
/// Conversion to Parquet is postponed while more than this many events are recorded in a second …
const BUSY: f64 = 50_000.0;
/// … unless more than this many segments, of some 25 MB each, are waiting.
const MOST: usize = 8;
const LOOK: Duration = Duration::from_secs(1);
/// The time for which segments become Parquet after the recorder was asked to end.
const LAST: Duration = Duration::from_secs(30);
/// The interval at which the age of files is checked, and a failed conversion is tried again.
const EVERY: Duration = Duration::from_secs(60);

/// The limits of the segments that are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// The maximum number of bytes of this host's part of the journal.
    pub max_size: Option<u64>,
    /// The greatest age of a segment, counted from its end: the start of the next segment.
    pub max_age: Option<Duration>,
}

pub(super) struct Archiver {
    place: JournalPlace,
    shared: Arc<RecorderStatus>,
    retention: Retention,
    /// Segments that are to become Parquet, the oldest first.
    waiting: VecDeque<Wall>,
    /// Segments that could not be converted.
    failed: Vec<Wall>,
    /// The time of the last look at the number of written events, and that number.
    last_look: (Instant, u64),
}

impl Archiver {
    pub(super) fn new(
        place: JournalPlace,
        shared: Arc<RecorderStatus>,
        retention: Retention,
    ) -> Self {
        let (waiting, failed) = (VecDeque::new(), Vec::new());
        Self { place, shared, retention, waiting, failed, last_look: (Instant::now(), 0) }
    }

    /// Works until no more segments can come. Returns itself with the segments that are left.
    pub(super) fn run(mut self, closed: &Receiver<Wall>) -> Self {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            log::debug!(
                "the priority of the thread that writes Parquet cannot be lowered: {error}"
            );
        }
        let mut last_retention = Instant::now();
        let mut is_open = true;
        while is_open {
            let message = closed.recv_timeout(LOOK);
            is_open = message != Err(RecvTimeoutError::Disconnected);
            self.waiting.extend(message.ok());
            self.waiting.extend(closed.try_iter());
            let may_wait = !is_open || self.waiting.len() <= MOST && self.is_busy();
            let has_work = !may_wait && !self.waiting.is_empty();
            let is_due = last_retention.elapsed() >= EVERY;
            if has_work || is_due {
                let host = self.place.now();
                // A thread for each piece of work, as the directory may be another the next time.
                enclosed(host.dir.to_write(), || {
                    // Before the conversion, so that there is room.
                    self.retain(&host);
                    if has_work {
                        self.close(&host, |shared| shared.ending.get().is_none());
                    }
                });
            }
            if is_due {
                last_retention = Instant::now();
                self.waiting.extend(self.failed.drain(..));
            }
        }
        self
    }

    /// Turns the segments that are left into Parquet. Those for which there is no time are left to
    /// the next recorder.
    pub(super) fn finish(&mut self) {
        let host = self.place.now();
        let may_go_on = |shared: &RecorderStatus| {
            shared.ending.get().is_none_or(|ending| ending.elapsed() <= LAST)
        };
        enclosed(host.dir.to_write(), || {
            self.retain(&host);
            self.close(&host, may_go_on);
        });
    }

    /// Returns whether so many events are recorded that other work should wait.
    fn is_busy(&mut self) -> bool {
        let written = self.shared.written.load(Ordering::Relaxed);
        let (since, before) = self.last_look;
        let elapsed = since.elapsed();
        if elapsed >= LOOK {
            self.last_look = (Instant::now(), written);
        }
        // The number is smaller after the journal was removed, because removed events do not count
        // as written.
        written.saturating_sub(before) as f64 > BUSY * elapsed.as_secs_f64()
    }

    /// Turns segments into Parquet as long as `goes_on` permits.
    fn close(&mut self, host: &HostDir, goes_on: impl Fn(&RecorderStatus) -> bool) {
        while goes_on(&self.shared)
            && let Some(start) = self.waiting.pop_front()
        {
            match parquet::seal_segment(host, start, previous(host, start).as_deref()) {
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
                    log::warn!(
                        "{} cannot be converted to Parquet and stays as it is: {error}",
                        host.dir.path_of(&path).display()
                    );
                    // A file of another version does not change, and a file that is gone does not
                    // come back.
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

    /// Removes the oldest segments.
    fn retain(&self, host: &HostDir) {
        if let Err(error) = self.remove_oldest(host) {
            log::warn!("old files of the journal cannot be removed: {error}");
        }
    }

    /// Removes the oldest segments, but never the segment that is being written.
    fn remove_oldest(&self, host: &HostDir) -> io::Result<()> {
        // The clock and the open segment are read after the list: a segment that began in between
        // would look like one of the future, which goes first.
        let segments = host.segments()?;
        let open = self.shared.open();
        let now = wall_now();
        // Each segment ends where the next segment begins.
        let ends = segments.iter().skip(1).map(|next| next.start);
        let mut older = Vec::new();
        let mut all = 0;
        for (segment, end) in segments.iter().zip(ends.map(Some).chain([None])) {
            let size = size(host, *segment)?;
            all += size;
            older.push((segment, end, size));
        }
        let room = room(host, all)?;
        let most = self.retention.max_size.unwrap_or(u64::MAX).min(room);
        if all > room {
            log::warn!(
                "the file system of the journal is nearly full: its oldest segments make room"
            );
        }
        let oldest = self.retention.max_age.map(|age| now - age);
        // Segments of the future come first, since they were written before the clock was set back.
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

/// Returns the previous segment as the metadata of a file names it: its start, and the checksum of
/// its footer.
fn previous(host: &HostDir, start: Wall) -> Option<String> {
    let before = host.segments().ok()?.into_iter().rev().find(|segment| segment.start < start)?;
    let path = host.path(Dataset::Events, before.start, FileKind::Parquet);
    let sum = host.dir.read(&path).ok().and_then(|file| footer_sum_of(&file).ok());
    Some(format!("{} {}", before.start.as_nanos(), sum.unwrap_or_default()))
}

/// Returns the maximum number of bytes of the journal: nine tenths of its own bytes and the free
/// bytes together, so that the journal does not fill the file system.
fn room(host: &HostDir, all: u64) -> io::Result<u64> {
    Ok((all.saturating_add(host.dir.available()?) / 10).saturating_mul(9))
}

fn size(host: &HostDir, segment: Segment) -> io::Result<u64> {
    let mut size = 0;
    for dataset in Dataset::ALL {
        // The bytes on the disk, not the length of the file.
        size += host.dir.size(&host.file(segment, dataset))?;
    }
    Ok(size)
}
