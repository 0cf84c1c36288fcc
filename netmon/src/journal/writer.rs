//! The thread that writes the live segment.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use arrow_schema::ArrowError;

use super::{
    batch::Batch,
    events::Events,
    files::{Dataset, Home},
    recorder::Message,
    rows::{Checkpoints, Connections},
    shared::Shared,
    stream::Stream,
    sync::Unsynced,
};
use crate::core::{
    connection::{Change, Connection},
    event::{Anchor, Gap, Loss},
};

/// How long it waits before it tries again after the disk could not be written to.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Rows of a checkpoint that are encoded at once.
const CHECKPOINT_BATCH: usize = 64 << 10;

/// Writes what the recorder hands over.
pub(super) struct Writer {
    home: Home,
    shared: Arc<Shared>,
    /// Where segments go that are done.
    closed: Sender<i64>,
    /// Where files go that are to be on the disk, and what became of that.
    synced: (Sender<Vec<File>>, Receiver<Unsynced>),
    segment: Option<Open>,
    /// What is missing since when, and how much of it is known; told when a segment begins.
    missing: Option<(u64, u64)>,
    retry: Instant,
    /// The moment of the last that was taken, and the moment up to which all was written.
    now: u64,
    written: u64,
}

/// The segment that is being written.
struct Open {
    start: i64,
    events: Stream,
    connections: Stream,
}

impl Open {
    /// Writes what there is; how many events.
    fn write(&mut self, batch: &mut Batch) -> Result<u64, ArrowError> {
        let (events, connections) = (batch.events.finish()?, batch.connections.finish()?);
        // First what is only there once: connections can be told from events.
        self.events.write(&events)?;
        if connections.num_rows() > 0 {
            self.connections.write(&connections)?;
        }
        Ok(events.num_rows() as u64)
    }
}

impl Writer {
    pub(super) fn new(
        home: Home,
        shared: Arc<Shared>,
        closed: Sender<i64>,
        synced: (Sender<Vec<File>>, Receiver<Unsynced>),
    ) -> Self {
        Self {
            home,
            shared,
            closed,
            synced,
            segment: None,
            missing: None,
            retry: Instant::now(),
            now: 0,
            written: 0,
        }
    }

    /// Writes until there is nobody left to hand anything over.
    pub(super) fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(TRY_AGAIN) {
                Ok(Message::Batch(batch)) => {
                    self.shared.queued.fetch_sub(batch.len(), Ordering::Relaxed);
                    self.write(*batch);
                }
                Ok(Message::Checkpoint(anchor, rows)) => self.begin(anchor, &rows),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Ok((error, since)) = self.synced.1.try_recv() {
                self.fail(&error.into(), since);
            }
            if self.missing.is_some() && self.retry <= Instant::now() {
                self.retry = Instant::now() + TRY_AGAIN;
                self.shared.begin.store(true, Ordering::Relaxed);
            }
        }
        self.end();
    }

    fn write(&mut self, mut batch: Batch) {
        self.now = self.now.max(batch.until);
        let lost = batch.lost();
        let Some(segment) = &mut self.segment else {
            // What was missing already is missing still.
            for gap in &batch.gaps {
                self.miss(gap.from, gap.count);
            }
            return self.lose(self.written, lost);
        };
        match segment.write(&mut batch) {
            Ok(rows) => {
                self.reach();
                self.shared.written.fetch_add(rows, Ordering::Relaxed);
            }
            Err(error) => {
                self.fail(&error, self.written);
                self.lose(self.written, lost);
            }
        }
    }

    /// All that was taken so far is written.
    fn reach(&mut self) {
        self.written = self.now;
        self.shared.reached.store(self.now, Ordering::Relaxed);
    }

    /// Begins a segment with the whole table.
    fn begin(&mut self, anchor: Anchor, rows: &[Connection]) {
        self.end();
        self.now = self.now.max(anchor.monotonic);
        if self.written == 0 {
            self.reach();
        }
        let start = self.free_start(anchor.wall);
        match self.create(start, anchor, rows) {
            Ok(segment) => {
                self.shared.open.store(start, Ordering::Relaxed);
                self.segment = Some(segment);
            }
            Err(error) => {
                // The disk is full, or worse: what is left over of it may be all that can be had.
                let _ = self.home.live(start).remove();
                return self.fail(&error, self.written);
            }
        }
        if let Some((from, count)) = self.missing.take() {
            log::warn!("the journal is whole again from here: {count} events are missing");
            let gap = Gap { from, time: anchor.monotonic, count, loss: Loss::Unwritten };
            let mut batch = Batch::new();
            batch.push(anchor, &Change::Gap(gap));
            self.write(batch);
        }
    }

    /// When a segment begins that begins now: the clock may have been set back.
    fn free_start(&self, now: i64) -> i64 {
        let mut start = now;
        let is_taken = |start| {
            [self.home.live(start), self.home.closed(start)]
                .iter()
                .any(|segment| segment.path(Dataset::Events).exists())
        };
        while is_taken(start) {
            start += 1;
        }
        start
    }

    fn create(&self, start: i64, anchor: Anchor, rows: &[Connection]) -> Result<Open, ArrowError> {
        let segment = self.home.live(start);
        let mut checkpoints = Checkpoints::new();
        let partial = segment.partial(Dataset::Checkpoints);
        let mut stream = Stream::create(&partial, &checkpoints.finish()?)?;
        for rows in rows.chunks(CHECKPOINT_BATCH) {
            for row in rows {
                checkpoints.push(anchor, row);
            }
            stream.write(&checkpoints.finish()?)?;
        }
        let mut files = vec![stream.file()?];
        stream.finish()?;
        std::fs::rename(&partial, segment.path(Dataset::Checkpoints))?;
        let connections = Connections::new().finish()?;
        let connections = Stream::create(&segment.path(Dataset::Connections), &connections)?;
        // As soon as there are events, the segment is there.
        let events = Events::new().finish()?;
        let events = Stream::create(&segment.path(Dataset::Events), &events)?;
        files.extend([connections.file()?, events.file()?]);
        // Its thread outlives this one.
        let _ = self.synced.0.send(files);
        Ok(Open { start, events, connections })
    }

    fn end(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        let ended = segment.events.finish().and_then(|()| segment.connections.finish());
        if let Err(error) = ended {
            self.fail(&error, self.written);
        }
        let _ = self.closed.send(segment.start);
    }

    /// The disk cannot be written to: what was written stays, and a new segment is tried.
    fn fail(&mut self, error: &ArrowError, since: u64) {
        if self.missing.is_none() {
            log::error!("the journal cannot be written, events are lost until it can: {error}");
        }
        self.miss(since, 0);
        if let Some(segment) = self.segment.take() {
            let _ = self.closed.send(segment.start);
        }
        self.retry = Instant::now() + TRY_AGAIN;
    }

    /// So many, or more, are missing since then.
    fn miss(&mut self, since: u64, count: u64) {
        let (from, missing) = self.missing.get_or_insert((since, 0));
        // Before the clock began, perhaps: then it has wrapped.
        if since.wrapping_sub(*from).cast_signed() < 0 {
            *from = since;
        }
        *missing += count;
    }

    fn lose(&mut self, since: u64, count: u64) {
        self.miss(since, count);
        self.shared.unwritten.fetch_add(count, Ordering::Relaxed);
    }
}
