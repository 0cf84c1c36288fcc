//! Changes of the table, as views take them.

use std::{sync::Arc, time::Duration};

use super::{
    connection::Connection,
    event::Transition,
    loss::Gap,
    tcp::TcpState,
    time::{Anchor, Mono},
    verdict::Verdict,
};

/// A transition as it changed the table.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The transition itself.
    pub transition: &'a Transition,
    /// The row after it.
    pub connection: &'a Connection,
    /// How long the connection was in the old state; unknown on the first event of one that was
    /// open before netmon looked.
    pub in_state: Option<Duration>,
    /// Why it ended: on the last one of a connection.
    pub verdict: Option<Verdict>,
    /// No event reported the transition: a dump corrected the table.
    pub corrected: bool,
}

impl Step<'_> {
    /// Returns the time for which the connection existed, on its last transition; none where netmon
    /// did not see the connection open.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        let ends = self.transition.is_last() && self.transition.old != TcpState::TimeWait;
        ends.then(|| self.connection.lifetime(self.transition.time)).flatten()
    }

    /// Returns whether a later state was known already, from a dump: the transition did not move
    /// the row.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.connection.state != self.transition.new
    }
}

/// A change of the table, as views consume it.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A dump had it, and the table did not.
    Found {
        /// When that was.
        time: Mono,
        /// The row of it.
        connection: &'a Connection,
        /// It was there when netmon began to look; else its beginning was lost.
        initial: bool,
    },
    /// An accept named its owner, or a dump the process that holds it.
    Owned {
        /// When that was.
        time: Mono,
        /// The row, with its owner and its holder.
        connection: &'a Connection,
    },
    /// A connection, or a listener, began.
    Opened(Step<'a>),
    /// It changed its state.
    StateChanged(Step<'a>),
    /// It ended, or only its TIME_WAIT is left.
    Closed(Step<'a>),
    /// The rest of a connection that had ended, or had never begun, is gone: its TIME_WAIT, or a
    /// half-open connection.
    Expired(Step<'a>),
    /// The clocks were compared.
    Anchor(Anchor),
    /// The host of the changes that follow: from a journal of several.
    Host(&'a Arc<str>),
    /// Events were lost.
    Gap(Gap),
    /// The table was compared with a dump of everything.
    Reconciled {
        /// When that was done.
        time: Mono,
    },
    /// Corrections of the last comparison, or the distance of comparisons.
    Resync(Resync),
}

impl<'a> Change<'a> {
    /// The transition that it is, if it is one.
    #[must_use]
    pub const fn step(&self) -> Option<&Step<'a>> {
        match self {
            Self::Opened(step)
            | Self::StateChanged(step)
            | Self::Closed(step)
            | Self::Expired(step) => Some(step),
            _ => None,
        }
    }
}

/// A comparison with the kernel's own tables: the corrections, in rows, or the distance of
/// comparisons that have become rare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resync {
    /// When it was done.
    pub time: Mono,
    /// The beginning was lost.
    pub found: u64,
    /// In another state than the table had.
    pub moved: u64,
    /// The end was lost.
    pub ended: u64,
    /// The time between two comparisons, if it is above ten seconds.
    pub distance: Option<Duration>,
}

impl Resync {
    /// Rows that were corrected.
    #[must_use]
    pub const fn corrected(&self) -> u64 {
        self.found + self.moved + self.ended
    }
}
