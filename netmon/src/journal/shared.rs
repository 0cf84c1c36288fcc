//! What the recorder, its threads, and whoever asks after them have in common.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

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

/// Asks for a new segment, or for news, from anywhere.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) Arc<Shared>);

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
