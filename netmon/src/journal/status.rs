//! The state of a recorder: what its threads share, and what others may ask.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

/// State that the threads of a recorder share.
#[derive(Debug, Default)]
pub(super) struct RecorderStatus {
    /// A new segment is wanted, with a checkpoint.
    pub(super) segment_wanted: AtomicBool,
    /// Changes in the queue.
    pub(super) queued: AtomicUsize,
    /// The segment that is being written, by its start.
    pub(super) open: AtomicI64,
    /// The moment up to which the segment is written, `CLOCK_MONOTONIC`, ns.
    pub(super) reached: AtomicU64,
    /// Events that were written.
    pub(super) written: AtomicU64,
    /// Events that were not written.
    pub(super) unwritten: AtomicU64,
    /// Something could not be written, be it that no event was lost by it.
    pub(super) has_failed: AtomicBool,
    /// Segments that are done.
    pub(super) closed: AtomicU64,
    /// When the recorder was asked to end.
    pub(super) ending: OnceLock<Instant>,
}

/// Counts of a recorder so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Events that were written.
    pub written: u64,
    /// Events that the disk could not take, or not in time.
    pub unwritten: u64,
    /// Something could not be written.
    pub has_failed: bool,
    /// Segments that are done.
    pub segments: u64,
}

/// Asks a recorder for a new segment, or for its health, from anywhere.
#[derive(Clone, Debug)]
pub struct RecorderHandle(pub(super) Arc<RecorderStatus>);

impl RecorderHandle {
    /// Begins a new segment at the next event.
    pub fn rotate(&self) {
        self.0.segment_wanted.store(true, Ordering::Relaxed);
    }

    /// The counts so far.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            written: self.0.written.load(Ordering::Relaxed),
            unwritten: self.0.unwritten.load(Ordering::Relaxed),
            has_failed: self.0.has_failed.load(Ordering::Relaxed),
            segments: self.0.closed.load(Ordering::Relaxed),
        }
    }
}
