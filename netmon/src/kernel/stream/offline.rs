//! Records without the kernel that made them: completed as the live source does, and nothing asked.

use std::collections::VecDeque;

use super::assembler::{Assembler, KernelQueries};
use crate::{
    core::event::Event,
    kernel::{
        ring::record::{MalformedRecord, decode},
        sockets::sock_diag::{BucketState, SockQuery},
    },
};

/// Turns the bytes of ring buffer records into events: what the live source does after it has read them, for whoever has
/// records and no kernel to ask.
pub struct OfflineAssembler(Assembler);

impl Default for OfflineAssembler {
    fn default() -> Self {
        Self(Assembler::new(false, true))
    }
}

impl OfflineAssembler {
    /// Takes one record; what is complete by it is appended to `events`.
    ///
    /// # Errors
    /// [`MalformedRecord`], as [`decode`] says.
    pub fn record(
        &mut self,
        bytes: &[u8],
        events: &mut VecDeque<Event>,
    ) -> Result<(), MalformedRecord> {
        self.0.record(&decode(bytes)?, events);
        Ok(())
    }

    /// Settles what was due by `now`, `CLOCK_MONOTONIC`, ns.
    pub fn advance(&mut self, now: u64, events: &mut VecDeque<Event>) {
        self.0.advance(now, &mut NoAnswers, events);
    }
}

/// Knows nothing.
struct NoAnswers;

impl KernelQueries for NoAnswers {
    fn local_port(&mut self, _: u64, _: u64) -> Option<u16> {
        None
    }

    fn minisockets(&mut self, asked: &[SockQuery]) -> (Vec<BucketState>, u64) {
        (vec![BucketState::Unknown; asked.len()], 0)
    }
}
