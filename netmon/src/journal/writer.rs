//! The thread that writes the live segment.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use super::{
    events::Events,
    files::{Dataset, Home},
    item::Item,
    recorder::{Message, Shared},
    rows::{Checkpoints, Connections},
    stream::Stream,
};
use crate::core::{
    connection::Connection,
    event::{Anchor, Gap, Loss},
    tcp::TcpState,
};

/// What was recorded is written after this time, and is on the disk soon after.
const WRITTEN_EVERY: Duration = Duration::from_millis(300);
/// Rows of a batch at most.
const BATCH: usize = 64 << 10;
/// How long it waits before it tries again after the disk could not be written to.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Rows of a checkpoint that are encoded at once.
const CHECKPOINT_BATCH: usize = 64 << 10;

/// Encodes and writes what the recorder hands over.
pub(super) struct Writer {
    home: Home,
    shared: Arc<Shared>,
    /// Where segments go that are done.
    closed: Sender<i64>,
    /// Where vectors go to be filled again.
    emptied: Sender<Vec<Item>>,
    /// Where files go that are to be on the disk, and what became of that.
    synced: (Sender<Vec<File>>, Receiver<io::Error>),
    anchor: Anchor,
    events: Events,
    connections: Connections,
    segment: Option<Open>,
    /// The last that was taken while the disk could be written to, and how many were not since.
    failed: Option<(u64, u64)>,
    retry: Instant,
    now: u64,
}

/// The segment that is being written.
struct Open {
    start: i64,
    events: Stream,
    connections: Stream,
}

impl Writer {
    pub(super) fn new(
        home: Home,
        shared: Arc<Shared>,
        closed: Sender<i64>,
        emptied: Sender<Vec<Item>>,
        synced: (Sender<Vec<File>>, Receiver<io::Error>),
    ) -> Self {
        Self {
            home,
            shared,
            closed,
            emptied,
            synced,
            anchor: Anchor::default(),
            events: Events::new(),
            connections: Connections::new(),
            segment: None,
            failed: None,
            retry: Instant::now(),
            now: 0,
        }
    }

    /// Writes until there is nobody left to hand anything over.
    pub(super) fn run(&mut self, messages: &Receiver<Message>) {
        let mut due = Instant::now() + WRITTEN_EVERY;
        loop {
            let message = messages.recv_timeout(due.saturating_duration_since(Instant::now()));
            match message {
                Ok(Message::Items(mut items)) => {
                    self.shared.queued.fetch_sub(items.len(), Ordering::Relaxed);
                    for item in items.drain(..) {
                        self.take(&item);
                    }
                    let _ = self.emptied.send(items);
                }
                Ok(Message::Checkpoint(anchor, rows)) => self.begin(anchor, &rows),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if due <= Instant::now() {
                self.write();
                if let Ok(error) = self.synced.1.try_recv() {
                    self.fail(&error.into());
                }
                if self.failed.is_some() && self.retry <= Instant::now() {
                    self.retry = Instant::now() + TRY_AGAIN;
                    self.shared.begin.store(true, Ordering::Relaxed);
                }
                due = Instant::now() + WRITTEN_EVERY;
            }
        }
        self.write();
        self.end();
    }

    fn take(&mut self, item: &Item) {
        self.now = self.now.max(item.time());
        if let Item::Anchor(anchor) = item {
            self.anchor = *anchor;
        }
        if self.segment.is_none() {
            self.lose(1);
            return;
        }
        self.events.push(self.anchor, item);
        if let Item::Closed(recorded, epoch) = item
            && recorded.transition.old != TcpState::Listen
        {
            self.connections.push(self.anchor, recorded, *epoch);
        }
        if self.events.len() >= BATCH {
            self.write();
        }
    }

    /// Writes what was taken.
    fn write(&mut self) {
        let count = self.events.len() as u64;
        if count == 0 {
            return;
        }
        let result = self.try_write();
        match result {
            Ok(()) => {
                self.shared.written.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                self.fail(&error);
                self.lose(count);
            }
        }
    }

    fn try_write(&mut self) -> Result<(), ArrowError> {
        let events = self.events.finish()?;
        let connections =
            if self.connections.len() > 0 { Some(self.connections.finish()?) } else { None };
        let Some(segment) = &mut self.segment else { return Ok(()) };
        // First what is only there once: connections can be told from events.
        segment.events.write(&events)?;
        if let Some(connections) = connections {
            segment.connections.write(&connections)?;
        }
        Ok(())
    }

    /// Begins a segment with the whole table.
    fn begin(&mut self, anchor: Anchor, rows: &[Connection]) {
        self.write();
        self.end();
        self.anchor = anchor;
        match self.create(anchor, rows) {
            Ok(segment) => self.segment = Some(segment),
            Err(error) => return self.fail(&error),
        }
        if let Some((from, count)) = self.failed.take() {
            log::warn!("the journal is written again: {count} events are missing");
            let gap = Gap { from, time: anchor.monotonic, count, loss: Loss::Unwritten };
            self.take(&Item::Lost(gap));
        }
    }

    fn create(&mut self, anchor: Anchor, rows: &[Connection]) -> Result<Open, ArrowError> {
        let mut start = anchor.wall;
        // The clock may have been set back.
        let is_taken = |start| {
            [self.home.live(start), self.home.closed(start)]
                .iter()
                .any(|segment| segment.path(Dataset::Events).exists())
        };
        while is_taken(start) {
            start += 1;
        }
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
        let connections = self.connections.finish()?;
        let connections = Stream::create(&segment.path(Dataset::Connections), &connections)?;
        // As soon as there are events, the segment is there.
        let events: RecordBatch = self.events.finish()?;
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
            self.fail(&error);
        }
        let _ = self.closed.send(segment.start);
    }

    /// The disk cannot be written to: what was written stays, and a new segment is tried.
    fn fail(&mut self, error: &ArrowError) {
        if self.failed.is_none() {
            log::error!("the journal cannot be written, events are lost until it can: {error}");
            self.failed = Some((self.now, 0));
        }
        if let Some(segment) = self.segment.take() {
            let _ = self.closed.send(segment.start);
        }
        self.retry = Instant::now() + TRY_AGAIN;
    }

    fn lose(&mut self, count: u64) {
        let (_, lost) = self.failed.get_or_insert((self.now, 0));
        *lost += count;
        self.shared.unwritten.fetch_add(count, Ordering::Relaxed);
    }
}
