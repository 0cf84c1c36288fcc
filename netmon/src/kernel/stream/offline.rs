//! Completes records without the kernel that made them, as the live source does, but asks nothing.

use std::collections::VecDeque;

use super::assembler::{Assembler, KernelQueries};
use crate::{
    core::event::Event,
    kernel::{
        ring::record::{MalformedRecord, decode},
        sockets::sock_diag::{BucketState, SockQuery},
    },
};

/// Turns the bytes of ring buffer records into events, as the live source does after reading, for a
/// program that has records but no kernel to ask.
pub struct OfflineAssembler(Assembler);

impl Default for OfflineAssembler {
    fn default() -> Self {
        Self(Assembler::new(false, true))
    }
}

impl OfflineAssembler {
    /// Takes one record, and appends the events that it completes to `events`.
    ///
    /// # Errors
    /// `MalformedRecord`, as for `decode`.
    pub fn record(
        &mut self,
        bytes: &[u8],
        events: &mut VecDeque<Event>,
    ) -> Result<(), MalformedRecord> {
        self.0.record(&decode(bytes)?, events);
        Ok(())
    }

    /// Settles everything that was due by `now`, `CLOCK_MONOTONIC`, ns.
    pub fn advance(&mut self, now: u64, events: &mut VecDeque<Event>) {
        self.0.advance(now, &mut NoAnswers, events);
    }
}

/// A kernel that knows no answer.
struct NoAnswers;

impl KernelQueries for NoAnswers {
    fn local_port(&mut self, _: u64, _: u64) -> Option<u16> {
        None
    }

    fn minisockets(&mut self, queries: &[SockQuery]) -> (Vec<BucketState>, u64) {
        (vec![BucketState::Unknown; queries.len()], 0)
    }
}
