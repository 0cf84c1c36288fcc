//! Records what a session shows it.
//!
//! The session's loop must not wait for a disk: changes become columns here, which go through a
//! bounded queue to a thread that compresses and writes them. What the queue cannot take is dropped
//! and recorded as lost.

use std::{
    future::pending,
    io, mem,
    path::{Path, PathBuf},
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
    archiver::{Archiver, Retention},
    change_batch::ChangeBatch,
    names::{HostNames, NameCache},
    place::{JournalPlace, OpenError, io_error, open_host},
    segment_writer::{RecorderIdentity, SegmentWriter, WriterMessage},
    syncer,
};
use crate::{
    core::{
        connection::{Change, Connection},
        event::{Anchor, Gap, Loss},
        table::ConnectionTable,
    },
    journal::{
        intervals::ALIVE,
        layout::Segment,
        read,
        status::{Health, RecorderHandle, RecorderStatus},
    },
    session::View,
};

/// Changes that may wait for the disk: some two seconds of what this machine's network can do.
const QUEUED: usize = 512 << 10;
/// A segment has no more events than this, so that a moment in it is found within a second.
const SEGMENT: u64 = 1 << 19;
/// The clocks have to be this far from where they were, ns, to be tied anew: less is inaccuracy.
const RETIE: u64 = 100_000;
/// A clock that was set this far, ns, begins a segment.
const STEP: u64 = 1_000_000_000;

/// Changes are handed over after this time, and are on the disk soon after.
const HANDED_OVER_EVERY: Duration = Duration::from_millis(300);
/// Options of a recorder.
pub struct RecorderOptions {
    /// How much is kept.
    pub retention: Retention,
    /// A segment ends when a multiple of this time since 1970 has passed.
    pub segment_time: Duration,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The network namespace of the recorder itself, which goes without saying in listings.
    pub netns: u32,
    /// Says what numbers are called on this host.
    pub names: Box<dyn HostNames>,
}

/// The view that records.
pub struct Recorder {
    shared: Arc<RecorderStatus>,
    queue: Option<Sender<WriterMessage>>,
    threads: Vec<JoinHandle<()>>,
    boot: Arc<str>,
    path: PathBuf,
    /// Batches to be handed over, and the one that is being filled.
    full: Vec<ChangeBatch>,
    batch: ChangeBatch,
    /// When any were handed over last.
    sent: Instant,
    /// The moment up to which they were, `CLOCK_MONOTONIC`, ns.
    handed: u64,
    /// Changes that the queue could not take since then.
    dropped: Option<Gap>,
    anchor: Option<Anchor>,
    /// The moment of the last change.
    now: u64,
    /// The moment of the last anchor that was written.
    told: u64,
    /// Since the segment began.
    events: u64,
    /// Length of a segment, ns, and which multiple of it the segment is of.
    segment_time: i64,
    period: i64,
    /// The table of the recording before.
    former: Vec<Connection>,
    has_begun: bool,
    /// The end of the recording before; the gap after it is reported once a segment begins later.
    before: Option<i64>,
    /// The wall time up to which it was recorded before the clock was set last.
    reached: i64,
}

impl Recorder {
    /// Begins to record into the directory `journal`, as `host`.
    ///
    /// # Errors
    /// When the directory cannot be written to, is another user's, or another recorder writes to
    /// it.
    pub fn open(journal: &Path, host: &str, options: RecorderOptions) -> Result<Self, OpenError> {
        let host = open_host(journal, host)?;
        let failed = |error| io_error(journal, error);
        host.tidy().map_err(failed)?;
        let (before, former) = read::last_table(&host).map_err(failed)?;
        let boot: Arc<str> = options.boot_id.into();
        let former = former.into_iter().map(|row| of_earlier_boot(row, &boot)).collect();
        let leftover: Vec<Segment> = host.segments().map_err(failed)?;
        let leftover = leftover.iter().filter(|segment| !segment.closed);

        let shared = Arc::new(RecorderStatus::default());
        let (queue, messages) = channel();
        let (closed, to_close) = channel();
        let (files, to_sync) = channel();
        let (errors, unsynced) = channel();
        for segment in leftover {
            if !read::is_ended(&host, segment.start) {
                log::warn!(
                    "the last recording was not ended in order: its last segment is taken over"
                );
            }
            let _ = closed.send(segment.start);
        }
        let place = JournalPlace::new(host);
        let syncing = Arc::clone(&shared);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
            thread.map_err(|error| io_error(journal, error))
        };
        let names = NameCache::start(options.names).map_err(failed)?;
        let writer = SegmentWriter::new(
            place.clone(),
            Arc::clone(&shared),
            RecorderIdentity { boot: Arc::clone(&boot), netns: options.netns },
            names,
            closed,
            (files, unsynced),
        );
        let archiver = Archiver::new(place, Arc::clone(&shared), options.retention);
        let threads = vec![
            spawn("netmon:journal", Box::new(move || write(writer, messages)))?,
            spawn("netmon:sync", Box::new(move || syncer::run(&syncing, &to_sync, &errors)))?,
            spawn("netmon:parquet", Box::new(move || archiver.run(&to_close)))?,
        ];
        let segment_time = i64::try_from(options.segment_time.as_nanos()).unwrap_or(i64::MAX);
        Ok(Self {
            shared,
            queue: Some(queue),
            threads,
            full: Vec::new(),
            batch: ChangeBatch::new(&boot),
            boot,
            path: journal.to_owned(),
            sent: Instant::now(),
            handed: 0,
            dropped: None,
            anchor: None,
            now: 0,
            told: 0,
            events: 0,
            segment_time: segment_time.max(1),
            period: 0,
            former,
            has_begun: false,
            before,
            reached: i64::MIN,
        })
    }

    /// Takes the table with which the recording before ended: who opened what may still be there.
    /// Its moments are of this boot's monotonic clock once `anchor` has tied it to the wall.
    #[must_use]
    pub fn former_rows(&mut self, anchor: Anchor) -> Vec<Connection> {
        let offset = anchor.offset();
        let mut former = mem::take(&mut self.former);
        for row in &mut former {
            row.id.epoch = row.opened.wrapping_sub(offset).cast_unsigned();
        }
        former
    }

    /// The directory into which it records.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A way to ask it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> RecorderHandle {
        RecorderHandle(Arc::clone(&self.shared))
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

    /// Adds what is kept of a change, which the clocks have been compared before; whether anything
    /// is.
    fn keep(&mut self, change: &Change<'_>) -> bool {
        let anchor = self.anchor.unwrap_or_default();
        let Some(time) = self.batch.push(anchor, change) else { return false };
        self.now = self.now.max(time);
        if self.batch.is_full() {
            self.full.push(self.batch.next(&self.boot));
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
            self.shared.segment_wanted.store(true, Ordering::Relaxed);
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
            let batch = self.batch.next(&self.boot);
            self.hand_over(batch, most);
        }
    }

    /// Hands a batch over, or drops it where too much waits.
    fn hand_over(&mut self, mut batch: ChangeBatch, most: usize) {
        let queued = self.shared.queued.load(Ordering::Relaxed);
        if queued.saturating_add(batch.len()) > most {
            if !self.shared.segment_wanted.swap(true, Ordering::Relaxed) {
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
            let _ = queue.send(WriterMessage::Batch(Box::new(batch)));
        }
    }

    /// Begins a segment with the table as it was at `now`, `CLOCK_MONOTONIC`, ns.
    fn begin(&mut self, table: &ConnectionTable, anchor: Anchor, now: u64) {
        let rows: Vec<Connection> = table.rows().cloned().collect();
        let wall = anchor.wall_time(now);
        let moment = Anchor { monotonic: now, wall };
        if let Some(queue) = &self.queue {
            let _ = queue.send(WriterMessage::Checkpoint(moment, rows));
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
        (self.events, self.period) = (0, wall.div_euclid(self.segment_time));
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
            // What is in the table came with what is to be recorded: the journal begins before
            // that.
            self.has_begun = true;
            let full = self.full.iter().map(|batch| batch.since);
            let first = full.chain([self.batch.since, anchor.monotonic]).min();
            self.begin(&ConnectionTable::default(), anchor, first.unwrap_or(0));
            // What was there may be more than may wait otherwise, and comes at once.
            self.send(usize::MAX);
        }
        if !self.full.is_empty() || self.sent.elapsed() >= HANDED_OVER_EVERY {
            self.send(QUEUED);
        }
        let is_due = self.events >= SEGMENT
            || anchor.wall_time(self.now).div_euclid(self.segment_time) > self.period
            || self.shared.segment_wanted.load(Ordering::Relaxed);
        if is_due && self.shared.queued.load(Ordering::Relaxed) < QUEUED / 2 {
            self.shared.segment_wanted.store(false, Ordering::Relaxed);
            self.send(QUEUED);
            self.begin(table, anchor, self.now);
        }
        Ok(())
    }

    async fn refresh_due(&mut self) -> io::Result<()> {
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
fn write(mut writer: SegmentWriter, messages: Receiver<WriterMessage>) {
    writer.run(&messages);
}

/// A row of the recording before, as a recording of this boot takes it: moments of another boot's
/// monotonic clock mean nothing here.
fn of_earlier_boot(mut row: Connection, boot: &Arc<str>) -> Connection {
    let is_same = row.labels.as_ref().and_then(|labels| labels.boot_id.as_ref()) == Some(boot);
    if is_same {
        row.labels = None;
    } else {
        row.since = None;
    }
    row
}
