//! The state of a recorder, shared by its threads, and the handle with which other threads read it.

use crate::core::time::{Mono, Wall};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

/// The state that the threads of a recorder share.
#[derive(Debug, Default)]
pub(super) struct RecorderStatus {
    /// Set while a new segment with a checkpoint is wanted.
    pub(super) segment_wanted: AtomicBool,
    /// The number of changes in the queue.
    pub(super) queued: AtomicUsize,
    /// The start of the segment that is being written.
    open: AtomicI64,
    /// The moment up to which the segment is written.
    reached: AtomicI64,
    /// The number of events that were written.
    pub(super) written: AtomicU64,
    /// The number of events that were not written.
    pub(super) unwritten: AtomicU64,
    /// Set when something could not be written, also when no event was lost.
    pub(super) has_failed: AtomicBool,
    /// The number of segments that are done.
    pub(super) closed: AtomicU64,
    /// The moment at which the recorder was asked to end.
    pub(super) ending: OnceLock<Instant>,
}

impl RecorderStatus {
    /// Notes the start of the segment that is being written.
    pub(super) fn set_open(&self, start: Wall) {
        self.open.store(start.as_nanos(), Ordering::Relaxed);
    }

    /// Returns the start of the segment that is being written.
    pub(super) fn open(&self) -> Wall {
        Wall::from_nanos(self.open.load(Ordering::Relaxed))
    }

    /// Notes the moment up to which the segment is written.
    pub(super) fn set_reached(&self, moment: Mono) {
        self.reached.store(moment.as_nanos(), Ordering::Relaxed);
    }

    /// Returns the moment up to which the segment is written.
    pub(super) fn reached(&self) -> Mono {
        Mono::from_nanos(self.reached.load(Ordering::Relaxed))
    }
}

/// The counts of a recorder so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The number of events that were written.
    pub written: u64,
    /// The number of events that the disk did not take, or did not take in time.
    pub unwritten: u64,
    /// Set when something could not be written.
    pub has_failed: bool,
    /// The number of segments that are done.
    pub segments: u64,
}

/// Asks a recorder for a new segment, or for its health, from any thread.
#[derive(Clone, Debug)]
pub struct RecorderHandle(pub(super) Arc<RecorderStatus>);

impl RecorderHandle {
    /// Asks for a new segment, which the recorder begins at its next flush.
    pub fn rotate(&self) {
        self.0.segment_wanted.store(true, Ordering::Relaxed);
    }

    /// Returns the counts so far.
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
