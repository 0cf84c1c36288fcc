//! A batch of changes on its way from the recorder to the thread that writes: columns already.

use std::sync::Arc;

use crate::{
    core::{
        connection::Change,
        event::{Anchor, Gap},
        tcp::TcpState,
    },
    journal::schema::{ConnectionBuilder, EventBuilder},
};

/// Rows of a batch at most, or few more.
const FULL: usize = 32 << 10;

/// Rows of the datasets `events` and `connections`.
pub(super) struct ChangeBatch {
    pub(super) events: EventBuilder,
    pub(super) connections: ConnectionBuilder,
    /// The earliest and the latest moment, `CLOCK_MONOTONIC`, ns.
    pub(super) since: u64,
    pub(super) until: u64,
    /// The gaps among them: should the batch not be written, they have to be reported all the same.
    pub(super) gaps: Vec<Gap>,
}

impl ChangeBatch {
    /// Begins with no rows, of the boot with that id.
    pub(super) fn new(boot: &Arc<str>) -> Self {
        Self {
            events: EventBuilder::new(boot),
            connections: ConnectionBuilder::new(boot),
            since: u64::MAX,
            until: 0,
            gaps: Vec::new(),
        }
    }

    /// Begins the batch that comes after this one, and returns this one.
    pub(super) fn next(&mut self, boot: &Arc<str>) -> Self {
        let mut next = Self::new(boot);
        next.events.go_on_after(&mut self.events);
        next.connections.go_on_after(&mut self.connections);
        std::mem::replace(self, next)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= FULL
    }

    /// Adds what is kept of a change. Returns its moment, if anything is kept.
    pub(super) fn push(&mut self, anchor: Anchor, change: &Change<'_>) -> Option<u64> {
        let time = self.events.push(anchor, change)?;
        (self.since, self.until) = (self.since.min(time), self.until.max(time));
        match change {
            Change::Closed(step) if step.transition.old != TcpState::Listen => {
                self.connections.push(anchor, step);
            }
            Change::Gap(gap) => self.gaps.push(*gap),
            _ => {}
        }
        Some(time)
    }

    /// Events that are lost when the batch is not written; events in its gaps were lost before.
    pub(super) fn lost(&self) -> u64 {
        (self.len() - self.gaps.len()) as u64
    }
}
