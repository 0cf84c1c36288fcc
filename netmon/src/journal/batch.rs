//! What the recorder hands to the thread that writes: changes, as columns already.

use super::{events::Events, rows::Connections};
use crate::core::{
    connection::Change,
    event::{Anchor, Gap},
    tcp::TcpState,
};

/// Rows of a batch at most, or few more.
const FULL: usize = 32 << 10;

/// Rows of the datasets `events` and `connections`.
pub(super) struct Batch {
    pub(super) events: Events,
    pub(super) connections: Connections,
    /// The moment of the last, `CLOCK_MONOTONIC`, ns.
    pub(super) until: u64,
    /// The losses among them: should it not be written, they have to be told all the same.
    pub(super) gaps: Vec<Gap>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { events: Events::new(), connections: Connections::new(), until: 0, gaps: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= FULL
    }

    /// Adds what is kept of a change; its moment, if anything is.
    pub(super) fn push(&mut self, anchor: Anchor, change: &Change<'_>) -> Option<u64> {
        let time = self.events.push(anchor, change)?;
        self.until = self.until.max(time);
        match change {
            Change::Closed(step) if step.transition.old != TcpState::Listen => {
                self.connections.push(anchor, step);
            }
            Change::Gap(gap) => self.gaps.push(*gap),
            _ => {}
        }
        Some(time)
    }

    /// Events that are lost when it is not written; of its gaps, those that made them lost them already.
    pub(super) fn lost(&self) -> u64 {
        (self.len() - self.gaps.len()) as u64
    }
}
