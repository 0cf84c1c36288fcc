//! The thread that writes the current segment.

use std::{
    mem,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use super::{
    change_batch::ChangeBatch,
    discovery::Discovery,
    ipc_writer::IpcWriter,
    names::RecorderNames,
    place::JournalPlace,
    syncer::{OpenFiles, Unsynced},
};
use crate::{
    core::{
        change::Change,
        connection::Connection,
        loss::{Gap, Loss},
        time::{Anchor, Mono, Wall},
    },
    enclosure::enclosed,
    journal::{
        error::Malformed,
        layout::{FileKind, HostDir, START_STEP},
        schema::{CLOCK_OFFSET_KEY, CheckpointBuilder, Dataset, FOLLOWS_KEY, Follows, NETNS_KEY},
        status::RecorderStatus,
    },
};

/// The time after which writing is tried again when the disk could not be written to.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The number of rows of a checkpoint that are encoded at once.
const CHECKPOINT_BATCH: usize = 64 << 10;

/// A message to the writing thread.
pub(super) enum WriterMessage {
    Batch(Box<ChangeBatch>),
    Checkpoint(Checkpoint),
}

/// The table at a moment, with which a new segment begins.
pub(super) struct Checkpoint {
    pub(super) anchor: Anchor,
    pub(super) rows: Vec<Connection>,
    /// Changes before were dropped: the table does not follow from what was written.
    pub(super) is_after_gap: bool,
}

/// The origin of a segment: the kernel's boot id, and the network namespace of the recorder.
pub(super) struct RecorderIdentity {
    pub(super) boot: Arc<str>,
    pub(super) netns: u32,
}

/// Writes the batches that the recorder hands over.
pub(super) struct SegmentWriter {
    place: JournalPlace,
    shared: Arc<RecorderStatus>,
    identity: RecorderIdentity,
    names: RecorderNames,
    /// The channel to the archiver, for the starts of segments that are done.
    closed: Sender<Wall>,
    /// The channels to the syncing thread: the files to sync, and the errors of syncing.
    syncer: (Sender<OpenFiles>, Receiver<Unsynced>),
    segment: Option<OpenSegment>,
    /// The start of the last segment that was begun.
    last: Option<Wall>,
    /// The moment since which events are missing, and the least number of missing events. Both are
    /// reported when a segment begins.
    missing: Option<(Mono, u64)>,
    retry: Instant,
    /// The latest moment of the changes that were taken, and the moment up to which all changes
    /// were written.
    now: Mono,
    written: Mono,
}

/// The segment that is being written.
struct OpenSegment {
    start: Wall,
    /// The moment at which the segment began, and the number of events in the segment.
    began: Mono,
    rows: u64,
    events: IpcWriter,
    connections: IpcWriter,
    processes: IpcWriter,
    namespaces: IpcWriter,
    discovery: Discovery,
}

impl OpenSegment {
    /// Writes a batch. Returns the number of its events.
    fn write(
        &mut self,
        batch: &mut ChangeBatch,
        boot: &Arc<str>,
        names: &mut RecorderNames,
    ) -> Result<u64, Malformed> {
        let (events, connections) = (batch.events.finish(names)?, batch.connections.finish(names)?);
        // Events come first, since only the events cannot be derived from other files.
        self.events.write(&events)?;
        if connections.num_rows() > 0 {
            self.connections.write(&connections)?;
        }
        let (processes, namespaces) = self.discovery.rows_of(&events, boot, names)?;
        if processes.num_rows() > 0 {
            self.processes.write(&processes)?;
        }
        if namespaces.num_rows() > 0 {
            self.namespaces.write(&namespaces)?;
        }
        let rows = events.num_rows() as u64;
        self.rows += rows;
        Ok(rows)
    }

    fn finish(self) -> Result<(), Malformed> {
        for stream in [self.connections, self.processes, self.namespaces, self.events] {
            stream.finish()?;
        }
        Ok(())
    }
}

impl SegmentWriter {
    pub(super) fn new(
        place: JournalPlace,
        shared: Arc<RecorderStatus>,
        identity: RecorderIdentity,
        names: RecorderNames,
        closed: Sender<Wall>,
        syncer: (Sender<OpenFiles>, Receiver<Unsynced>),
    ) -> Self {
        Self {
            place,
            shared,
            identity,
            names,
            closed,
            syncer,
            segment: None,
            last: None,
            missing: None,
            retry: Instant::now(),
            now: Mono::BOOT,
            written: Mono::BOOT,
        }
    }

    /// Writes until the recorder has closed the queue, on a thread that is enclosed in the journal.
    /// Meanwhile this thread waits, and makes the journal anew if it was removed or replaced.
    pub(super) fn run(&mut self, messages: &mut Receiver<WriterMessage>) {
        let mut next = None;
        loop {
            let host = self.place.now();
            let write = || self.run_enclosed(next.take(), messages);
            next = enclosed(host.dir.to_write(), write);
            if next.is_none() {
                break;
            }
            if let Err(error) = self.place.renew() {
                self.fail(&error.into(), self.written);
                next = None;
            }
        }
        if self.missing.is_some() {
            self.shared.has_failed.store(true, Ordering::Relaxed);
        }
    }

    /// Begins the `first` segment, and writes. Returns the next checkpoint if the journal is not in
    /// its place, and nothing if the recorder has closed the queue.
    fn run_enclosed(
        &mut self,
        first: Option<Checkpoint>,
        messages: &mut Receiver<WriterMessage>,
    ) -> Option<Checkpoint> {
        if let Some(checkpoint) = first {
            self.begin(&checkpoint);
        }
        loop {
            match messages.recv_timeout(TRY_AGAIN) {
                Ok(WriterMessage::Batch(batch)) => {
                    self.shared.queued.fetch_sub(batch.len(), Ordering::Relaxed);
                    self.write(*batch);
                }
                Ok(WriterMessage::Checkpoint(checkpoint)) => {
                    self.end_before(checkpoint.anchor);
                    if !self.place.is_whole() {
                        return Some(checkpoint);
                    }
                    self.begin(&checkpoint);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Ok((error, since)) = self.syncer.1.try_recv() {
                self.fail(&error.into(), since);
            }
            if self.missing.is_some() && self.retry <= Instant::now() {
                self.retry = Instant::now() + TRY_AGAIN;
                self.shared.segment_wanted.store(true, Ordering::Relaxed);
            }
        }
        self.end();
        None
    }

    fn write(&mut self, mut batch: ChangeBatch) {
        self.now = self.now.max(batch.until);
        let lost = batch.lost();
        let gaps: Vec<_> = batch.gaps.iter().map(|gap| (gap.from, gap.count)).collect();
        let (boot, names) = (&self.identity.boot, &mut self.names);
        let written = self.segment.as_mut().map(|segment| segment.write(&mut batch, boot, names));
        match written {
            Some(Ok(rows)) => {
                self.reach();
                self.shared.written.fetch_add(rows, Ordering::Relaxed);
                return;
            }
            Some(Err(error)) => self.fail(&error, self.written),
            None => {}
        }
        // The gaps that were known before must still be reported.
        gaps.into_iter().for_each(|(from, count)| self.miss(from, count));
        self.lose(self.written, lost);
    }

    /// Notes that all changes that were taken so far are written.
    fn reach(&mut self) {
        self.written = self.now;
        self.shared.set_reached(self.now);
    }

    /// Ends the segment before another begins.
    fn end_before(&mut self, anchor: Anchor) {
        self.end();
        self.now = self.now.max(anchor.monotonic);
        if self.written == Mono::BOOT {
            self.reach();
        }
    }

    /// Begins a segment with the whole table.
    fn begin(&mut self, checkpoint: &Checkpoint) {
        let anchor = checkpoint.anchor;
        let host = self.place.now();
        let start = free_start(&host, anchor.wall);
        match self.create(&host, start, checkpoint) {
            Ok(segment) => {
                self.shared.set_open(start);
                self.last = Some(start);
                self.segment = Some(segment);
            }
            Err(error) => {
                // The disk may be full: the space of the unfinished segment may be the only space
                // that can be freed.
                let _ = host.remove_streams(start);
                return self.fail(&error, self.written);
            }
        }
        if let Some((from, count)) = self.missing.take() {
            log::warn!("the journal is whole again from here: {count} events are missing");
            let gap = Gap { from, time: anchor.monotonic, count, loss: Loss::Unwritten };
            let mut batch = ChangeBatch::new(&self.identity.boot);
            batch.push(anchor, &Change::Gap(gap));
            self.write(batch);
        }
    }

    fn create(
        &mut self,
        host: &Arc<HostDir>,
        start: Wall,
        &Checkpoint { anchor, ref rows, is_after_gap }: &Checkpoint,
    ) -> Result<OpenSegment, Malformed> {
        let follows = match self.last {
            _ if self.missing.is_some() || is_after_gap => Follows::Gap,
            Some(last) => Follows::Segment(last),
            None => Follows::Nothing,
        };
        let keys = [
            (FOLLOWS_KEY, follows.text()),
            (CLOCK_OFFSET_KEY, anchor.offset().to_string()),
            (NETNS_KEY, self.identity.netns.to_string()),
        ];
        let stream = |dataset| IpcWriter::create(host, dataset, start, FileKind::Stream, &keys);
        let mut checkpoints = CheckpointBuilder::new(&self.identity.boot);
        let partial = FileKind::Partial;
        let mut checkpoint = IpcWriter::create(host, Dataset::Checkpoints, start, partial, &keys)?;
        for rows in rows.chunks(CHECKPOINT_BATCH) {
            for row in rows {
                checkpoints.push(anchor, row);
            }
            checkpoint.write(&checkpoints.finish(&mut self.names)?)?;
        }
        let mut files: Vec<_> = checkpoint.files()?.into();
        checkpoint.finish()?;
        let path = |kind| host.path(Dataset::Checkpoints, start, kind);
        host.dir.rename(&path(partial), &path(FileKind::Stream))?;
        let segment = OpenSegment {
            start,
            began: anchor.monotonic,
            rows: 0,
            connections: stream(Dataset::Connections)?,
            processes: stream(Dataset::Processes)?,
            namespaces: stream(Dataset::Namespaces)?,
            // The segment exists as soon as its events file exists: therefore that file comes last.
            events: stream(Dataset::Events)?,
            discovery: Discovery::default(),
        };
        let streams =
            [&segment.connections, &segment.processes, &segment.namespaces, &segment.events];
        for stream in streams {
            files.extend(stream.files()?);
        }
        // The syncing thread ends only after this channel is closed.
        let _ = self.syncer.0.send(OpenFiles { host: Some(Arc::clone(host)), files });
        Ok(segment)
    }

    fn end(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        let start = segment.start;
        if let Err(error) = segment.finish() {
            self.fail(&error, self.written);
        }
        let _ = self.closed.send(start);
    }

    /// Notes that the disk could not be written to. The written part of the segment stays, and a
    /// new segment is tried later.
    fn fail(&mut self, error: &Malformed, since: Mono) {
        if self.missing.is_none() {
            log::error!("the journal cannot be written, events are lost until it can: {error}");
        }
        self.miss(since, 0);
        if let Some(segment) = mem::take(&mut self.segment) {
            let host = self.place.now();
            let events = host.path(Dataset::Events, segment.start, FileKind::Stream);
            if host.dir.is_in_place() && host.dir.has(&events) {
                let _ = self.closed.send(segment.start);
            } else {
                // The segment was removed together with the directory.
                self.shared.written.fetch_sub(segment.rows, Ordering::Relaxed);
                self.lose(segment.began, segment.rows);
            }
        }
        self.retry = Instant::now() + TRY_AGAIN;
    }

    /// Notes that at least `count` events are missing since a moment.
    fn miss(&mut self, since: Mono, count: u64) {
        let (from, missing) = self.missing.get_or_insert((since, 0));
        *from = since.min(*from);
        *missing += count;
    }

    fn lose(&mut self, since: Mono, count: u64) {
        self.miss(since, count);
        self.shared.unwritten.fetch_add(count, Ordering::Relaxed);
    }
}

/// Returns the start of a segment that begins at `now`. The clock may have been set back, so the
/// start may be taken: the next free start is used.
fn free_start(host: &HostDir, now: Wall) -> Wall {
    let mut start = Wall::from_micros(now.as_micros());
    let is_taken = |start| {
        [FileKind::Stream, FileKind::Parquet]
            .iter()
            .any(|kind| host.dir.has(&host.path(Dataset::Events, start, *kind)))
    };
    while is_taken(start) {
        start = start + START_STEP;
    }
    start
}
