//! What the recorder hands to the thread that writes.

use std::sync::Arc;

use crate::core::{
    connection::{Change, Connection, Resync, Step},
    event::{Anchor, Evidence, Gap, Owner, Recorded, Tuple},
};

/// A row of the dataset `events`.
#[derive(Debug)]
pub(super) enum Item {
    /// A step of a connection that goes on.
    Step(Recorded),
    /// The last of a connection, with its epoch.
    Closed(Recorded, u64),
    Found {
        time: u64,
        connection: Box<Connection>,
        initial: bool,
    },
    Owned {
        time: u64,
        cookie: u64,
        tuple: Tuple,
        owner: Arc<Owner>,
        evidence: Evidence,
    },
    Anchor(Anchor),
    Lost(Gap),
    Resync(Resync),
}

impl Item {
    /// When it was, `CLOCK_MONOTONIC`, ns.
    pub(super) const fn time(&self) -> u64 {
        match self {
            Self::Step(recorded) | Self::Closed(recorded, _) => recorded.transition.time,
            Self::Found { time, .. } | Self::Owned { time, .. } => *time,
            Self::Anchor(anchor) => anchor.monotonic,
            Self::Lost(gap) => gap.time,
            Self::Resync(resync) => resync.time,
        }
    }

    /// What is kept of a change; nothing of a comparison that corrected nothing.
    pub(super) fn of(change: &Change<'_>) -> Option<Self> {
        Some(match change {
            Change::Opened(step) | Change::Moved(step) | Change::Expired(step) => {
                Self::Step(recorded(step))
            }
            Change::Closed(step) => Self::Closed(recorded(step), step.connection.id.epoch),
            Change::Found { time, connection, initial } => Self::Found {
                time: *time,
                connection: Box::new((*connection).clone()),
                initial: *initial,
            },
            Change::Owned { time, connection } => Self::Owned {
                time: *time,
                cookie: connection.id.cookie,
                tuple: connection.tuple,
                owner: connection.owner.clone()?,
                evidence: connection.evidence?,
            },
            Change::Anchor(anchor) => Self::Anchor(*anchor),
            Change::Gap(gap) => Self::Lost(*gap),
            Change::Resync(resync) => Self::Resync(*resync),
            Change::Reconciled { .. } => return None,
        })
    }
}

fn recorded(step: &Step<'_>) -> Recorded {
    let row = step.connection;
    Recorded {
        transition: step.transition.clone(),
        direction: row.direction,
        owner: row.owner.clone(),
        evidence: row.evidence,
        verdict: step.verdict,
        corrected: step.corrected,
        late: row.state != step.transition.new,
    }
}
