//! Records the changes that a session shows.
//!
//! The session's loop must not wait for a disk. Therefore changes become columns here. The columns
//! go through a bounded queue to a thread that compresses and writes them. Changes that do not fit
//! into the queue are dropped and recorded as lost.

use std::{
    future::pending,
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc::Sender},
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::{
    archiver::Retention,
    change_batch::ChangeBatch,
    former::of_earlier_boot,
    names::{HostNames, RecorderNames},
    place::{JournalPlace, OpenError, io_error, open_host},
    segment_writer::{Checkpoint, RecorderIdentity, WriterMessage},
    threads::RecorderThreads,
};
use crate::{
    core::{
        change::Change,
        connection::Connection,
        loss::{Gap, Loss},
        table::ConnectionTable,
        time::{Anchor, Mono, Wall},
    },
    enclosure::enclosed,
    journal::{
        intervals::ALIVE,
        read,
        status::{Health, RecorderHandle, RecorderStatus},
    },
    session::{SEEDING, View},
};

/// The maximum number of changes that may wait for the disk: about two seconds of full load on this
/// machine's network.
const QUEUED: usize = 512 << 10;
/// The maximum number of events of a segment, so that a moment in a segment is found within a
/// second.
const SEGMENT: u64 = 1 << 19;
/// The deviation of the clocks from which the clocks are tied anew. A smaller deviation is
/// inaccuracy.
const RETIE: Duration = Duration::from_micros(100);
/// The step of a clock from which a new segment begins.
const STEP: Duration = Duration::from_secs(1);

/// The time after which changes are handed over. The changes are on the disk soon after.
const HANDED_OVER_EVERY: Duration = Duration::from_millis(300);
/// Options of a recorder.
pub struct RecorderOptions {
    /// The limits of the segments that are kept.
    pub retention: Retention,
    /// The length of a segment: a segment ends at each multiple of this time since 1970.
    pub segment_time: Duration,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The network namespace of the recorder itself, which listings leave out.
    pub netns: u32,
    /// Names the users and namespaces of this host.
    pub names: Box<dyn HostNames>,
}

/// The view that records.
pub struct Recorder {
    shared: Arc<RecorderStatus>,
    queue: Option<Sender<WriterMessage>>,
    threads: Option<RecorderThreads>,
    boot: Arc<str>,
    path: PathBuf,
    /// The full batches that are to be handed over, and the batch that is being filled.
    full: Vec<ChangeBatch>,
    batch: ChangeBatch,
    /// The time of the last handover.
    last_sent_at: Instant,
    /// The moment up to which changes were handed over.
    sent_until: Mono,
    /// The changes that the queue could not take since the last handover.
    dropped: Option<Gap>,
    /// A batch was dropped since the last segment began.
    has_dropped: bool,
    anchor: Option<Anchor>,
    /// The moment of the last change.
    now: Mono,
    /// The moment of the last anchor that was written.
    last_anchor_at: Mono,
    /// The number of events since the segment began.
    events: u64,
    /// The length of a segment, ns, and the multiple of that length at which the segment began.
    segment_time: i64,
    period: i64,
    /// The table at the end of the last recording.
    former: Vec<Connection>,
    has_begun: bool,
    /// The time until which the rest of the first table is awaited, once a part of it has come.
    first_table_until: Option<Instant>,
    /// The end of the last recording. The gap after that end is reported by the first segment that
    /// begins later.
    before: Option<Wall>,
    /// The wall time up to which changes were recorded before the clock was last set.
    reached: Wall,
}

impl Recorder {
    /// Begins to record into the directory `journal`, as `host`.
    ///
    /// # Errors
    /// Returns an error when the directory cannot be written to, belongs to another user, or has
    /// another recorder.
    pub fn open(journal: &Path, host: &str, options: RecorderOptions) -> Result<Self, OpenError> {
        let host = open_host(journal, host)?;
        let failed = |error| io_error(journal, error);
        host.tidy().map_err(failed)?;
        // The files may have been changed since they were written.
        let read_earlier = || {
            let last_table = read::last_table(&host)?;
            let segments = host.segments()?;
            let leftover = segments.iter().filter(|segment| !segment.closed);
            let leftover: Vec<Wall> = leftover.map(|segment| segment.start).collect();
            let is_ended = leftover.iter().all(|start| read::is_ended(&host, *start));
            io::Result::Ok((last_table, leftover, is_ended))
        };
        let ((before, former), leftover, is_ended) =
            enclosed(host.dir.to_read(), read_earlier).map_err(failed)?;
        let boot: Arc<str> = options.boot_id.into();
        let former = former.into_iter().map(|row| of_earlier_boot(row, &boot)).collect();
        if !is_ended {
            log::warn!("the last recording was not ended in order: its last segment is taken over");
        }
        let shared = Arc::new(RecorderStatus::default());
        let (threads, queue) = RecorderThreads::start(
            JournalPlace::new(host),
            &shared,
            RecorderIdentity { boot: Arc::clone(&boot), netns: options.netns },
            RecorderNames::start(options.names).map_err(failed)?,
            (leftover, options.retention),
        )
        .map_err(failed)?;
        let segment_time = i64::try_from(options.segment_time.as_nanos()).unwrap_or(i64::MAX);
        Ok(Self {
            shared,
            queue: Some(queue),
            threads: Some(threads),
            full: Vec::new(),
            batch: ChangeBatch::new(&boot),
            boot,
            path: journal.to_owned(),
            last_sent_at: Instant::now(),
            sent_until: Mono::BOOT,
            dropped: None,
            has_dropped: false,
            anchor: None,
            now: Mono::BOOT,
            last_anchor_at: Mono::BOOT,
            events: 0,
            segment_time: segment_time.max(1),
            period: 0,
            former,
            has_begun: false,
            first_table_until: None,
            before,
            reached: Wall::MIN,
        })
    }

    /// Takes the table with which the last recording ended, which names the processes that opened
    /// connections. Such connections may still exist. `anchor` converts the moments of the table to
    /// this boot's monotonic clock.
    #[must_use]
    pub fn former_rows(&mut self, anchor: Anchor) -> Vec<Connection> {
        let mut former = mem::take(&mut self.former);
        for row in &mut former {
            row.id.epoch = anchor.monotonic_time(row.opened);
        }
        former
    }

    /// Returns the directory of the journal.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a handle for questions from other threads.
    #[must_use]
    pub fn handle(&self) -> RecorderHandle {
        RecorderHandle(Arc::clone(&self.shared))
    }

    /// Writes the remaining changes, and converts the last segment to Parquet. Returns the final
    /// counts.
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
            self.keep(&Change::Anchor(anchor.at(self.now)));
        }
        // No more changes come, so the limit of the queue does not matter. The last gap has to be
        // reported.
        self.send(usize::MAX);
        self.queue = None;
        self.shared.ending.get_or_init(Instant::now);
        if let Some(threads) = self.threads.take() {
            threads.end();
        }
    }

    /// Adds the rows for a change. The clocks must have been compared before. Returns whether a row
    /// was added.
    fn keep(&mut self, change: &Change<'_>) -> bool {
        let anchor = self.anchor.unwrap_or_default();
        let Some(time) = self.batch.push(anchor, change) else { return false };
        self.now = self.now.max(time);
        if self.batch.is_full() {
            self.full.push(self.batch.next(&self.boot));
        }
        true
    }

    /// Ties the clocks together, if that adds anything new. Returns whether an anchor was recorded.
    fn tie(&mut self, anchor: Anchor) -> bool {
        self.now = self.now.max(anchor.monotonic);
        let is_same =
            |known: Anchor| known.wall_time(anchor.monotonic).abs_diff(anchor.wall) < RETIE;
        let is_recent = self.last_anchor_at + ALIVE > anchor.monotonic;
        if self.anchor.is_some_and(is_same) && is_recent {
            return false;
        }
        self.last_anchor_at = anchor.monotonic;
        let known = *self.anchor.get_or_insert(anchor);
        // While the clocks agree with the old anchor, their relation is kept, so that times stay
        // comparable.
        let wall = known.wall_time(anchor.monotonic);
        let tied = if is_same(known) { Anchor { wall, ..anchor } } else { anchor };
        // After the clock was set, or the host was suspended, a new segment begins: times in a
        // segment must not run backwards.
        if wall.abs_diff(anchor.wall) >= STEP {
            self.shared.segment_wanted.store(true, Ordering::Relaxed);
        } else if self.has_begun {
            self.reached = wall;
        }
        self.anchor = Some(tied);
        self.keep(&Change::Anchor(tied))
    }

    /// Hands over all batches. At most `most` changes may wait in the queue.
    fn send(&mut self, most: usize) {
        self.last_sent_at = Instant::now();
        for batch in mem::take(&mut self.full) {
            self.hand_over(batch, most);
        }
        if self.batch.len() > 0 {
            let batch = self.batch.next(&self.boot);
            self.hand_over(batch, most);
        }
    }

    /// Hands a batch over, or drops the batch if too many changes wait.
    fn hand_over(&mut self, mut batch: ChangeBatch, most: usize) {
        let queued = self.shared.queued.load(Ordering::Relaxed);
        if queued.saturating_add(batch.len()) > most {
            if !self.shared.segment_wanted.swap(true, Ordering::Relaxed) {
                log::error!("events are lost until the disk keeps up: it is too slow for them");
            }
            self.shared.unwritten.fetch_add(batch.lost(), Ordering::Relaxed);
            self.has_dropped = true;
            let (from, loss) = (self.sent_until, Loss::Unwritten);
            let gap = self.dropped.get_or_insert(Gap { from, time: from, count: 0, loss });
            gap.time = gap.time.max(batch.until);
            gap.count += batch.lost() + batch.gaps.iter().map(|gap| gap.count).sum::<u64>();
            return;
        }
        self.sent_until = self.sent_until.max(batch.until);
        if let Some(gap) = self.dropped.take() {
            batch.push(self.anchor.unwrap_or_default(), &Change::Gap(gap));
        }
        self.shared.queued.fetch_add(batch.len(), Ordering::Relaxed);
        if let Some(queue) = &self.queue {
            // The receiving thread ends only after the queue is closed.
            let _ = queue.send(WriterMessage::Batch(Box::new(batch)));
        }
    }

    /// Returns the number of a moment's period. A segment ends with the period in which it began.
    fn period_of(&self, moment: Wall) -> i64 {
        moment.as_nanos().div_euclid(self.segment_time)
    }

    /// Begins a segment with the table as it was at `moment`.
    fn begin(&mut self, table: &ConnectionTable, moment: Anchor) {
        let rows: Vec<Connection> = table.rows().cloned().collect();
        if let Some(queue) = &self.queue {
            let is_after_gap = mem::take(&mut self.has_dropped);
            let checkpoint = Checkpoint { anchor: moment, rows, is_after_gap };
            let _ = queue.send(WriterMessage::Checkpoint(checkpoint));
        }
        self.keep(&Change::Anchor(moment));
        // With a clock that was behind, it may take a while until the wall time has passed the end
        // of the last recording.
        if let Some(before) = self.before.take_if(|before| *before < moment.wall)
            && self.reached < before
        {
            let (time, loss) = (moment.monotonic, Loss::NotRecorded);
            let from = moment.monotonic_time(before);
            self.keep(&Change::Gap(Gap { from, time, count: 0, loss }));
        }
        (self.events, self.period) = (0, self.period_of(moment.wall));
    }
}

impl View for Recorder {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        if let Change::Anchor(anchor) = change {
            return Ok(self.tie(*anchor));
        }
        if self.anchor.is_none() {
            // Every source begins with an anchor.
            return Err(io::Error::other(
                "an event cannot be dated: it came before the clocks were compared",
            ));
        }
        if matches!(change, Change::Found { initial: true, .. }) {
            self.first_table_until.get_or_insert_with(|| Instant::now() + SEEDING);
        }
        let is_kept = self.keep(change);
        self.events += u64::from(is_kept);
        Ok(is_kept)
    }

    fn flush(&mut self, table: &ConnectionTable) -> io::Result<()> {
        if self.threads.as_ref().is_some_and(RecorderThreads::is_broken) {
            return Err(io::Error::other(
                "recording has stopped: a thread that writes the journal has died, see above",
            ));
        }
        // Without an anchor no change has a wall time.
        let Some(anchor) = self.anchor else { return Ok(()) };
        if !self.has_begun {
            // The rows of the first table came together with the first changes: the journal begins
            // before all of them.
            self.has_begun = true;
            let full = self.full.iter().map(|batch| batch.since);
            let first = full.fold(self.batch.since.min(anchor.monotonic), Mono::min);
            self.begin(&ConnectionTable::default(), anchor.at(first));
            self.send(usize::MAX);
        }
        let is_incomplete = !table.is_reconciled()
            && self.first_table_until.is_some_and(|until| Instant::now() < until);
        if !self.full.is_empty() || self.last_sent_at.elapsed() >= HANDED_OVER_EVERY {
            // The first table may be larger than the limit of the queue, and comes within seconds.
            self.send(if is_incomplete { usize::MAX } else { QUEUED });
        }
        if is_incomplete {
            // A segment begins with a whole table.
            return Ok(());
        }
        let is_due = self.events >= SEGMENT
            || self.period_of(anchor.wall_time(self.now)) > self.period
            || self.shared.segment_wanted.load(Ordering::Relaxed);
        if is_due && self.shared.queued.load(Ordering::Relaxed) < QUEUED / 2 {
            self.shared.segment_wanted.store(false, Ordering::Relaxed);
            self.send(QUEUED);
            self.begin(table, anchor.at(self.now));
        }
        Ok(())
    }

    async fn refresh_due(&mut self) -> io::Result<()> {
        if self.batch.len() == 0 {
            return pending().await;
        }
        sleep_until((self.last_sent_at + HANDED_OVER_EVERY).into()).await;
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}
