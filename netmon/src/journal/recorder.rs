//! Records what a session shows it.
//!
//! The session's loop must not wait for a disk: changes go through a bounded queue to a thread that
//! encodes, writes and syncs. What the queue cannot take is dropped and recorded as lost.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    files::{Dataset, Home},
    item::Item,
    keeper::{Keeper, Retention},
    reader, stream, sync,
    writer::Writer,
};
use crate::{
    core::{
        connection::{Change, Connection},
        event::{Anchor, Gap, Loss},
        table::ConnectionTable,
    },
    session::View,
};

/// Changes that may wait for the disk: some two seconds of what this machine's network can do.
const QUEUED: usize = 512 << 10;
/// A segment has no more events than this, so that a moment in it is found within a second.
const SEGMENT: u64 = 1 << 19;
const HOUR: i64 = 3_600_000_000_000;
/// The clocks have to be this far from where they were, ns, to be tied anew: less is inaccuracy.
const RETIE: u64 = 100_000;
/// A clock that was set this far, ns, begins a segment.
const STEP: u64 = 1_000_000_000;

/// A flush with more changes than this, so soon after the last that was handed over, waits for the next one,
/// which is not far: to wake the thread that writes costs as much as encoding a dozen.
const FEW: usize = 256;
const TOGETHER: Duration = Duration::from_millis(20);
/// How often the lock is tried for, [`TOGETHER`] apart.
const LOCK_TRIES: usize = 10;
/// An anchor is written at least so often, ns: up to there the journal knows that nothing else happened.
pub(super) const ALIVE: u64 = 10_000_000_000;

/// What the recorder's threads have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// A new segment is wanted, with a checkpoint.
    pub(super) begin: AtomicBool,
    /// Changes in the queue.
    pub(super) queued: AtomicUsize,
    /// The segment that is being written, by its start.
    pub(super) open: AtomicI64,
    /// Up to when it is written, `CLOCK_MONOTONIC`, ns.
    pub(super) reached: AtomicU64,
    /// Events on the disk.
    pub(super) written: AtomicU64,
    /// Events that were not written.
    pub(super) unwritten: AtomicU64,
    /// Segments that are done.
    pub(super) closed: AtomicU64,
    /// When the recorder was asked to end.
    pub(super) ending: OnceLock<Instant>,
}

/// What a recorder has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Events on the disk.
    pub written: u64,
    /// Events that the disk could not take, or not in time.
    pub unwritten: u64,
    /// Segments that are done.
    pub segments: u64,
}

/// What goes to the thread that writes.
#[derive(Debug)]
pub(super) enum Message {
    Items(Vec<Item>),
    /// So many were to come here, up to this moment, but too many waited.
    Dropped(u64, u64),
    /// The table at a moment: a segment begins.
    Checkpoint(Anchor, Vec<Connection>),
}

/// Why a journal cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else does.
    #[error("another netmon records into {0}: stop it, or choose another --journal")]
    Locked(String),
    /// The directory cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// Which file or directory.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Asks for a new segment, or for news, from anywhere.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Begins a new segment at the next event.
    pub fn rotate(&self) {
        self.0.begin.store(true, Ordering::Relaxed);
    }

    /// What was done so far.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            written: self.0.written.load(Ordering::Relaxed),
            unwritten: self.0.unwritten.load(Ordering::Relaxed),
            segments: self.0.closed.load(Ordering::Relaxed),
        }
    }
}

/// The view that records.
pub struct Recorder {
    shared: Arc<Shared>,
    queue: Option<Sender<Message>>,
    threads: Vec<JoinHandle<()>>,
    /// Held as long as this lives.
    _lock: File,
    items: Vec<Item>,
    /// When any were handed over last.
    sent: Instant,
    /// Where those come back from that were written.
    spare: Receiver<Vec<Item>>,
    anchor: Option<Anchor>,
    /// The moment of the last change.
    now: u64,
    /// The moment of the last anchor that was written.
    told: u64,
    /// Since the segment began.
    events: u64,
    hour: i64,
    has_begun: bool,
    /// What was there before ends here; told as soon as a segment begins later than that.
    before: Option<i64>,
    /// The wall time up to which it was recorded before the clock was set last.
    reached: i64,
}

impl Recorder {
    /// Begins to record into the directory `journal`, as `host`.
    ///
    /// # Errors
    /// When the directory cannot be written to, or another recorder does.
    pub fn open(journal: &Path, host: &str, retention: Retention) -> Result<Self, OpenError> {
        let home = Home::of(journal, host);
        let live = home.live(0).path(Dataset::Events);
        let live = live.parent().unwrap_or(&home.0).to_owned();
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error| OpenError::Io { path, error }
        };
        super::create_directory(&live).map_err(failed(&live))?;
        let path = home.lock();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(stream::FILE_MODE);
        let lock = options.open(&path);
        let lock = lock.map_err(failed(&path))?;
        // Readers take it for a moment, to see whether it is taken.
        let mut locked = lock.try_lock();
        for _ in 0..LOCK_TRIES {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            thread::sleep(TOGETHER);
            locked = lock.try_lock();
        }
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked(journal.display().to_string()),
            TryLockError::Error(error) => failed(&path)(error),
        })?;
        home.tidy().map_err(failed(&home.0))?;
        let before = reader::last_moment(&home).map_err(failed(&home.0))?;
        let leftover: Vec<i64> = home
            .segments()
            .map_err(failed(&home.0))?
            .into_iter()
            .filter(|segment| !segment.closed)
            .map(|segment| segment.start)
            .collect();

        let shared = Arc::new(Shared::default());
        let (queue, messages) = channel();
        let (closed, to_close) = channel();
        let (emptied, spare) = channel();
        let (files, to_sync) = channel();
        let (errors, unsynced) = channel();
        for start in leftover {
            if !stream::is_ended(&home.live(start).path(Dataset::Events)) {
                log::warn!(
                    "the last recording was not ended in order: its last segment is taken over"
                );
            }
            let _ = closed.send(start);
        }
        let syncing = Arc::clone(&shared);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
            thread.map_err(failed(&home.0))
        };
        let writer =
            Writer::new(home.clone(), Arc::clone(&shared), closed, emptied, (files, unsynced));
        let keeper = Keeper::new(home.clone(), Arc::clone(&shared), retention);
        let threads = vec![
            spawn("journal", Box::new(move || write(writer, messages)))?,
            spawn("sync", Box::new(move || sync::run(&syncing, &to_sync, &errors)))?,
            spawn("parquet", Box::new(move || keeper.run(&to_close)))?,
        ];
        Ok(Self {
            shared,
            queue: Some(queue),
            threads,
            _lock: lock,
            items: Vec::new(),
            sent: Instant::now(),
            spare,
            anchor: None,
            now: 0,
            told: 0,
            events: 0,
            hour: 0,
            has_begun: false,
            before,
            reached: i64::MIN,
        })
    }

    /// A way to ask it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Writes what is left, and turns it into what it is to be.
    #[must_use]
    pub fn close(mut self) -> Health {
        let health = self.handle();
        self.end();
        health.health()
    }

    fn end(&mut self) {
        if self.queue.is_none() {
            return;
        }
        if let Some(anchor) = self.anchor {
            let wall = anchor.wall_time(self.now);
            self.items.push(Item::Anchor(Anchor { monotonic: self.now, wall }));
        }
        self.send();
        self.queue = None;
        self.shared.ending.get_or_init(Instant::now);
        for thread in self.threads.drain(..) {
            // It has said why.
            let _ = thread.join();
        }
    }

    /// Hands the changes over, or drops them where too many wait.
    fn send(&mut self) {
        if self.items.is_empty() {
            return;
        }
        self.sent = Instant::now();
        let spare = self.spare.try_recv().unwrap_or_default();
        let items = std::mem::replace(&mut self.items, spare);
        let count = items.len();
        let queued = self.shared.queued.load(Ordering::Relaxed);
        // What was there in the beginning may be more than that, and comes at once.
        let message = if queued > 0 && queued + count > QUEUED {
            Message::Dropped(count as u64, self.now)
        } else {
            self.shared.queued.fetch_add(count, Ordering::Relaxed);
            Message::Items(items)
        };
        if let Some(queue) = &self.queue {
            // Its thread ends after this.
            let _ = queue.send(message);
        }
    }

    /// Begins a segment with the table as it is.
    fn begin(&mut self, table: &ConnectionTable, anchor: Anchor) {
        let rows: Vec<Connection> = table.rows().cloned().collect();
        let wall = anchor.wall_time(self.now);
        let moment = Anchor { monotonic: self.now, wall };
        if let Some(queue) = &self.queue {
            let _ = queue.send(Message::Checkpoint(moment, rows));
        }
        self.items.push(Item::Anchor(moment));
        // With a clock that was behind, it may be a while until it is.
        if let Some(before) = self.before.take_if(|before| *before < wall)
            && self.reached < before
        {
            let (time, loss) = (moment.monotonic, Loss::NotRecorded);
            let from = time.wrapping_sub(wall.wrapping_sub(before).cast_unsigned());
            self.items.push(Item::Lost(Gap { from, time, count: 0, loss }));
        }
        (self.events, self.hour) = (0, wall.div_euclid(HOUR));
    }
}

impl View for Recorder {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        let Some(item) = Item::of(change) else { return Ok(false) };
        if let Item::Anchor(anchor) = item {
            self.now = self.now.max(anchor.monotonic);
            let is_same =
                |known: Anchor| known.wall_time(anchor.monotonic).abs_diff(anchor.wall) < RETIE;
            let is_told = self.told.saturating_add(ALIVE) > anchor.monotonic;
            if self.anchor.is_some_and(is_same) && is_told {
                return Ok(false);
            }
            self.told = anchor.monotonic;
            let known = *self.anchor.get_or_insert(anchor);
            // The clocks stay tied as they were as long as that is true: times are comparable then.
            let wall = known.wall_time(anchor.monotonic);
            let tied = if is_same(known) { Anchor { wall, ..anchor } } else { anchor };
            // Set, or back from suspend: within a segment times do not run back.
            if wall.abs_diff(anchor.wall) >= STEP {
                self.shared.begin.store(true, Ordering::Relaxed);
            } else if self.has_begun {
                self.reached = wall;
            }
            self.anchor = Some(tied);
            self.items.push(Item::Anchor(tied));
            return Ok(true);
        } else {
            self.events += 1;
            self.now = self.now.max(item.time());
        }
        self.items.push(item);
        Ok(true)
    }

    fn flush(&mut self, table: &ConnectionTable) -> io::Result<()> {
        if self.threads.iter().any(JoinHandle::is_finished) {
            return Err(io::Error::other("a thread that writes the journal has died: see above"));
        }
        // Nothing can be dated before the clocks were compared.
        let Some(anchor) = self.anchor else { return Ok(()) };
        if !self.has_begun {
            // What is in the table came with what is to be recorded.
            self.has_begun = true;
            let items = std::mem::take(&mut self.items);
            self.begin(&ConnectionTable::default(), anchor);
            self.items.extend(items);
        }
        // Many come in haste, and more are on their way.
        if self.items.len() < FEW || self.sent.elapsed() >= TOGETHER {
            self.send();
        }
        let is_due = self.events >= SEGMENT
            || anchor.wall_time(self.now).div_euclid(HOUR) > self.hour
            || self.shared.begin.load(Ordering::Relaxed);
        if is_due && self.shared.queued.load(Ordering::Relaxed) < QUEUED / 2 {
            self.shared.begin.store(false, Ordering::Relaxed);
            self.send();
            self.begin(table, anchor);
        }
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the thread owns both")]
fn write(mut writer: Writer, messages: Receiver<Message>) {
    writer.run(&messages);
}
