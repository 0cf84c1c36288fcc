//! Records what a session shows it.
//!
//! The session's loop must not wait for a disk: changes become columns here, which go through a bounded queue to a
//! thread that compresses and writes them. What the queue cannot take is dropped and recorded as lost.

use std::{
    fs::{File, OpenOptions, TryLockError},
    future::pending,
    io, mem,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::{
    batch::Batch,
    files::{Dataset, Home},
    keeper::{Keeper, Retention},
    reader,
    shared::{Handle, Health, Shared},
    stream, sync,
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

/// What was recorded is handed over after this time, and is on the disk soon after.
const HANDED_OVER_EVERY: Duration = Duration::from_millis(300);
/// How often the lock is tried for, and how far apart.
const LOCK_TRIES: usize = 10;
const LOCK_AGAIN: Duration = Duration::from_millis(20);
/// An anchor is written at least so often, ns: up to there the journal knows that nothing else happened.
pub(super) const ALIVE: u64 = 10_000_000_000;

/// What goes to the thread that writes.
pub(super) enum Message {
    Batch(Box<Batch>),
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

/// The view that records.
pub struct Recorder {
    shared: Arc<Shared>,
    queue: Option<Sender<Message>>,
    threads: Vec<JoinHandle<()>>,
    /// Held as long as this lives.
    _lock: File,
    /// What is to be handed over, and what is being filled.
    full: Vec<Batch>,
    batch: Batch,
    /// When any were handed over last.
    sent: Instant,
    /// The moment up to which they were, `CLOCK_MONOTONIC`, ns.
    handed: u64,
    /// What the queue could not take since then.
    dropped: Option<Gap>,
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
            thread::sleep(LOCK_AGAIN);
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
        let writer = Writer::new(home.clone(), Arc::clone(&shared), closed, (files, unsynced));
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
            full: Vec::new(),
            batch: Batch::new(),
            sent: Instant::now(),
            handed: 0,
            dropped: None,
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
            self.keep(&Change::Anchor(Anchor { monotonic: self.now, wall }));
        }
        // There is no more to come, and what is missing has to be said.
        self.send(usize::MAX);
        self.queue = None;
        self.shared.ending.get_or_init(Instant::now);
        for thread in self.threads.drain(..) {
            // It has said why.
            let _ = thread.join();
        }
    }

    /// Adds what is kept of a change, which the clocks have been compared before; whether anything is.
    fn keep(&mut self, change: &Change<'_>) -> bool {
        let anchor = self.anchor.unwrap_or_default();
        let Some(time) = self.batch.push(anchor, change) else { return false };
        self.now = self.now.max(time);
        if self.batch.is_full() {
            self.full.push(mem::replace(&mut self.batch, Batch::new()));
        }
        true
    }

    /// Ties the clocks together, if that says anything new; whether it does.
    fn tie(&mut self, anchor: Anchor) -> bool {
        self.now = self.now.max(anchor.monotonic);
        let is_same =
            |known: Anchor| known.wall_time(anchor.monotonic).abs_diff(anchor.wall) < RETIE;
        let is_told = self.told.saturating_add(ALIVE) > anchor.monotonic;
        if self.anchor.is_some_and(is_same) && is_told {
            return false;
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
        self.keep(&Change::Anchor(tied))
    }

    /// Hands over what there is, so that `most` changes wait.
    fn send(&mut self, most: usize) {
        self.sent = Instant::now();
        for batch in mem::take(&mut self.full) {
            self.hand_over(batch, most);
        }
        if self.batch.len() > 0 {
            let batch = mem::replace(&mut self.batch, Batch::new());
            self.hand_over(batch, most);
        }
    }

    /// Hands a batch over, or drops it where too much waits.
    fn hand_over(&mut self, mut batch: Batch, most: usize) {
        let queued = self.shared.queued.load(Ordering::Relaxed);
        if queued.saturating_add(batch.len()) > most {
            if !self.shared.begin.swap(true, Ordering::Relaxed) {
                log::error!("the disk does not keep up: events are lost until it does");
            }
            self.shared.unwritten.fetch_add(batch.lost(), Ordering::Relaxed);
            let (from, loss) = (self.handed, Loss::Unwritten);
            let gap = self.dropped.get_or_insert(Gap { from, time: from, count: 0, loss });
            gap.time = gap.time.max(batch.until);
            gap.count += batch.lost() + batch.gaps.iter().map(|gap| gap.count).sum::<u64>();
            return;
        }
        self.handed = self.handed.max(batch.until);
        if let Some(gap) = self.dropped.take() {
            batch.push(self.anchor.unwrap_or_default(), &Change::Gap(gap));
        }
        self.shared.queued.fetch_add(batch.len(), Ordering::Relaxed);
        if let Some(queue) = &self.queue {
            // Its thread ends after this.
            let _ = queue.send(Message::Batch(Box::new(batch)));
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
        self.keep(&Change::Anchor(moment));
        // With a clock that was behind, it may be a while until it is.
        if let Some(before) = self.before.take_if(|before| *before < wall)
            && self.reached < before
        {
            let (time, loss) = (moment.monotonic, Loss::NotRecorded);
            let from = time.wrapping_sub(wall.wrapping_sub(before).cast_unsigned());
            self.keep(&Change::Gap(Gap { from, time, count: 0, loss }));
        }
        (self.events, self.hour) = (0, wall.div_euclid(HOUR));
    }
}

impl View for Recorder {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        if let Change::Anchor(anchor) = change {
            return Ok(self.tie(*anchor));
        }
        if self.anchor.is_none() {
            // Every source begins with it.
            return Err(io::Error::other("an event came before the clocks were compared"));
        }
        let is_kept = self.keep(change);
        self.events += u64::from(is_kept);
        Ok(is_kept)
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
            self.begin(&ConnectionTable::default(), anchor);
            // What was there may be more than may wait otherwise, and comes at once.
            self.send(usize::MAX);
        }
        if !self.full.is_empty() || self.sent.elapsed() >= HANDED_OVER_EVERY {
            self.send(QUEUED);
        }
        let is_due = self.events >= SEGMENT
            || anchor.wall_time(self.now).div_euclid(HOUR) > self.hour
            || self.shared.begin.load(Ordering::Relaxed);
        if is_due && self.shared.queued.load(Ordering::Relaxed) < QUEUED / 2 {
            self.shared.begin.store(false, Ordering::Relaxed);
            self.send(QUEUED);
            self.begin(table, anchor);
        }
        Ok(())
    }

    async fn wanted(&mut self) -> io::Result<()> {
        if self.batch.len() == 0 {
            return pending().await;
        }
        sleep_until((self.sent + HANDED_OVER_EVERY).into()).await;
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
