//! A batch of changes on its way from the recorder to the writing thread, already in columns.

use std::sync::Arc;

use crate::{
    core::{
        change::Change,
        loss::Gap,
        tcp::TcpState,
        time::{Anchor, Mono},
    },
    journal::schema::{ConnectionBuilder, EventBuilder},
};

/// The number of rows at which a batch is full. A batch may have a few rows more.
const FULL: usize = 32 << 10;

/// Rows of the datasets `events` and `connections`.
pub(super) struct ChangeBatch {
    pub(super) events: EventBuilder,
    pub(super) connections: ConnectionBuilder,
    /// The earliest and the latest moment of the rows.
    pub(super) since: Mono,
    pub(super) until: Mono,
    /// The gaps among the rows. Gaps have to be reported even if the batch is not written.
    pub(super) gaps: Vec<Gap>,
}

impl ChangeBatch {
    /// Returns a batch without rows, for the boot with the id `boot`.
    pub(super) fn new(boot: &Arc<str>) -> Self {
        Self {
            events: EventBuilder::new(boot),
            connections: ConnectionBuilder::new(boot),
            since: Mono::MAX,
            until: Mono::MIN,
            gaps: Vec::new(),
        }
    }

    /// Begins the next batch in the place of this batch, and returns this batch.
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

    /// Adds the rows for a change. Returns the moment of the event, if a row was added.
    pub(super) fn push(&mut self, anchor: Anchor, change: &Change<'_>) -> Option<Mono> {
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

    /// Returns the number of events that are lost if the batch is not written. Events in its gaps
    /// were lost before.
    pub(super) fn lost(&self) -> u64 {
        (self.len() - self.gaps.len()) as u64
    }
}
