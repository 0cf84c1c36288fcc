//! Entries of a journal: changes of the table, each with all that it takes to make it again.
//!
//! An entry says what the table did, not what the kernel reported: nothing is judged anew when a
//! journal is read, so the past is shown as it was judged then.

use std::sync::Arc;

use super::{
    change::{Resync, Step},
    connection::Connection,
    event::Transition,
    id::{SocketId, Tuple},
    loss::Gap,
    process::{Evidence, Owner, Process},
    time::{Anchor, Mono},
    verdict::Verdict,
};

/// A change as a journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The whole table at a moment: what follows changes this.
    Checkpoint {
        /// When that was.
        time: Mono,
        /// Every row.
        rows: Vec<Connection>,
        /// Rows that the table has and the checkpoint lacks have ended unseen: entries are missing
        /// before it.
        after_gap: bool,
    },
    /// A transition, and the row after it.
    Step(Box<StepEntry>),
    /// A dump had a socket that the table did not have.
    Found {
        /// When that was.
        time: Mono,
        /// The new row.
        connection: Box<Connection>,
        /// The socket was there when netmon began to look.
        initial: bool,
    },
    /// An accept named the process that opened a connection, or a dump the one that holds it.
    Owner {
        /// When that was.
        time: Mono,
        /// The socket.
        cookie: SocketId,
        /// The place of the connection.
        tuple: Tuple,
        /// The process.
        owner: Arc<Owner>,
        /// How the process is known.
        evidence: Evidence,
        /// The process that holds the connection, if that is another, as in
        /// [`Connection::holder`].
        holder: Option<Arc<Process>>,
    },
    /// The clocks were compared.
    Anchor(Anchor),
    /// Events are missing.
    Gap(Gap),
    /// A comparison with the kernel's tables corrected rows.
    Resync(Resync),
}

/// A transition as the table took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEntry {
    /// The transition.
    pub transition: Transition,
    /// The row after it; `since`, `first_fin` and `verdict` follow from the entries before.
    pub row: Connection,
    /// Why the connection ended: on its last transition.
    pub verdict: Option<Verdict>,
    /// No event reported the transition: a dump corrected the table.
    pub corrected: bool,
    /// It was read late: a dump had found the connection in a later state.
    pub late: bool,
}

/// A connection that ended, with its last transition; the state before it is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedConnection {
    /// When it ended, on both clocks.
    pub moment: Anchor,
    /// Its last row.
    pub connection: Connection,
    /// The transition that ended it.
    pub transition: Transition,
}

impl EndedConnection {
    /// Returns the last step.
    #[must_use]
    pub fn step(&self) -> Step<'_> {
        Step {
            transition: &self.transition,
            connection: &self.connection,
            in_state: None,
            verdict: self.connection.verdict,
            corrected: false,
        }
    }
}

impl Entry {
    /// The socket that the entry is about, if it is about one.
    #[must_use]
    pub fn cookie(&self) -> Option<SocketId> {
        match self {
            Self::Step(step) => Some(step.transition.cookie),
            Self::Found { connection, .. } => Some(connection.id.cookie),
            Self::Owner { cookie, .. } => Some(*cookie),
            Self::Checkpoint { .. } | Self::Anchor(_) | Self::Gap(_) | Self::Resync(_) => None,
        }
    }
}
