//! The thread that turns segments into Parquet and drops the oldest.

use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    archive,
    decode::Malformed,
    files::{Dataset, Home, Segment},
    shared::Shared,
};

/// It gives way to everything else: what it does can wait.
const NICE: i32 = 19;
/// While more events than this are recorded in a second, segments wait to become Parquet,
const BUSY: f64 = 50_000.0;
/// but no more of them than this: some 25 MB each.
const MOST: usize = 8;
const LOOK: Duration = Duration::from_secs(1);
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
    /// Segments that are to become Parquet, the oldest first.
    waiting: VecDeque<i64>,
    /// Those that could not.
    failed: Vec<i64>,
    /// When it was last looked how much is written, and how much was by then.
    looked: (Instant, u64),
}

impl Keeper {
    pub(super) fn new(home: Home, shared: Arc<Shared>, retention: Retention) -> Self {
        let (waiting, failed) = (VecDeque::new(), Vec::new());
        Self { home, shared, retention, waiting, failed, looked: (Instant::now(), 0) }
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

    /// Whether so much is recorded that other work had better wait.
    fn is_busy(&mut self) -> bool {
        let written = self.shared.written.load(Ordering::Relaxed);
        let (since, before) = self.looked;
        let elapsed = since.elapsed();
        if elapsed >= LOOK {
            self.looked = (Instant::now(), written);
        }
        (written - before) as f64 > BUSY * elapsed.as_secs_f64()
    }

    fn close(&mut self) {
        while let Some(start) = self.waiting.pop_front() {
            // What is left over, the next recorder takes over.
            if self.shared.ending.get().is_some_and(|ending| ending.elapsed() > LAST) {
                return;
            }
            match archive::close(&self.home, start) {
                Ok((events, torn)) => {
                    self.shared.closed.fetch_add(1, Ordering::Relaxed);
                    if torn {
                        log::warn!("the end of a segment was torn: {events} events of it are kept");
                    }
                    log::debug!("a segment of {events} events is done");
                }
                Err(error) => {
                    let path = self.home.live(start).path(Dataset::Events);
                    log::warn!("{} stays as it is: {error}", path.display());
                    // What another version wrote does not change.
                    if !matches!(error, Malformed::Version(_) | Malformed::Foreign) {
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
        let segments = self.home.segments()?;
        // Each ends where the next begins.
        let ends = segments.iter().skip(1).map(|next| next.start);
        let mut older = Vec::new();
        let mut all = 0;
        for (segment, end) in segments.iter().zip(ends.map(Some).chain([None])) {
            let size = size(segment)?;
            all += size;
            older.push((segment, end, size));
        }
        let most = self.retention.max_size.unwrap_or(u64::MAX).min(self.room(all)?);
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
            self.home.live(segment.start).remove()?;
            segment.remove()?;
            // The hour's directory, and the day's: they go when nothing is left in them.
            let path = segment.path(Dataset::Events);
            for directory in path.ancestors().skip(1).take(2).filter(|_| segment.closed) {
                let _ = fs::remove_dir(directory);
            }
        }
        Ok(())
    }

    /// What it may take at most of what it has and what is left of the file system: it is not to be the reason
    /// why that is full.
    fn room(&self, all: u64) -> io::Result<u64> {
        let system = rustix::fs::statvfs(&self.home.0)?;
        let available = system.f_bavail.saturating_mul(system.f_frsize);
        Ok((all.saturating_add(available) / 10).saturating_mul(9))
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
