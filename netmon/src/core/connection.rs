//! Rows of the table, and changes of them.

use std::sync::Arc;

use super::{
    event::{Anchor, ConnectionId, Evidence, Gap, Owner, Transition, Tuple},
    tcp::TcpState,
    verdict::{FirstFin, Verdict},
};

/// The side that began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// This host connected.
    Outbound,
    /// The peer connected to a listener here.
    Inbound,
    /// A listening socket.
    Listen,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Self; 3] = [Self::Outbound, Self::Inbound, Self::Listen];

    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Listen => "listen",
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Which connection this is.
    pub id: ConnectionId,
    /// Its place.
    pub tuple: Tuple,
    /// Its state now.
    pub state: TcpState,
    /// Wall time of `id.epoch` as it was known then, ns since 1970, UTC: with the cookie and the
    /// boot, the key of the connection in a journal. It stays as it is when the clock is set.
    pub opened: i64,
    /// It was open before netmon looked: `id.epoch` and `opened` are of the moment when netmon
    /// first saw it.
    pub first_sight: bool,
    /// When it entered that state, `CLOCK_MONOTONIC`, ns; unknown until the first transition of one
    /// that was open before netmon looked.
    pub since: Option<u64>,
    /// The side that began it; unknown when it was open before netmon started.
    pub direction: Option<Direction>,
    /// The process behind it.
    pub owner: Option<Arc<Owner>>,
    /// How that is known; none without an owner.
    pub evidence: Option<Evidence>,
    /// Which side sent its FIN first, once one did.
    pub first_fin: Option<FirstFin>,
    /// Why it ended, when all that is left of it is a TIME_WAIT.
    pub verdict: Option<Verdict>,
    /// Names of then: on a row that comes from a journal.
    pub labels: Option<Arc<Labels>>,
    /// When a dump last had it, `CLOCK_MONOTONIC`, ns; 0 for never.
    pub(super) last_dumped_at: u64,
    /// Which reconciliation that was.
    pub(super) last_dump_pass: u32,
    /// The one after it did not have it.
    pub(super) absent_once: bool,
}

/// Names that the numbers of a row stood for when a journal recorded it. A name that was not known
/// is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// The kernel's boot id (`/proc/sys/kernel/random/boot_id`): cookies are unique within a boot.
    pub boot_id: Option<Arc<str>>,
    /// Name of the network namespace, as `ip netns` has it.
    pub netns: Option<Arc<str>>,
    /// Name of the user.
    pub user: Option<Arc<str>>,
    /// Path of the cgroup.
    pub cgroup: Option<Arc<str>>,
}

/// No reconciliation has this number.
pub(super) const NEVER: u32 = u32::MAX;

impl Connection {
    /// A row of which no more is known than this.
    #[must_use]
    pub const fn new(id: ConnectionId, tuple: Tuple, state: TcpState) -> Self {
        Self {
            id,
            tuple,
            state,
            opened: 0,
            first_sight: true,
            since: None,
            direction: None,
            owner: None,
            evidence: None,
            first_fin: None,
            verdict: None,
            labels: None,
            last_dumped_at: 0,
            last_dump_pass: NEVER,
            absent_once: false,
        }
    }

    /// The row without what a dump or a journal left in it.
    #[cfg(test)]
    pub(crate) fn bare(mut self) -> Self {
        (self.last_dumped_at, self.last_dump_pass, self.absent_once, self.labels) =
            (0, NEVER, false, None);
        self
    }

    /// How long the connection has existed at `time`, ns; unknown when netmon did not see it open.
    #[must_use]
    pub fn lifetime(&self, time: u64) -> Option<u64> {
        // A connection of an earlier boot opened before this boot's clock began: its epoch has
        // wrapped.
        let lived = time.wrapping_sub(self.id.epoch).cast_signed();
        (!self.first_sight).then(|| u64::try_from(lived).unwrap_or(0))
    }

    /// The moment up to which the row tells all there is: what happened before it is history.
    pub(super) fn as_of(&self) -> u64 {
        self.since.unwrap_or(0).max(self.last_dumped_at)
    }
}

/// A transition as it changed the table.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The transition itself.
    pub transition: &'a Transition,
    /// The row after it.
    pub connection: &'a Connection,
    /// How long the connection was in the old state, ns; unknown on the first event of one that was
    /// open before netmon looked.
    pub in_state: Option<u64>,
    /// Why it ended: on the last one of a connection.
    pub verdict: Option<Verdict>,
    /// No event reported the transition: a dump corrected the table.
    pub corrected: bool,
}

impl Step<'_> {
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
        /// When, `CLOCK_MONOTONIC`, ns.
        time: u64,
        /// The row of it.
        connection: &'a Connection,
        /// It was there when netmon began to look; else its beginning was lost.
        initial: bool,
    },
    /// A dump found who holds it.
    Owned {
        /// When, `CLOCK_MONOTONIC`, ns.
        time: u64,
        /// The row, with its owner.
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
        /// When that was done, `CLOCK_MONOTONIC`, ns.
        time: u64,
    },
    /// Corrections of the last comparison.
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

/// Corrections by a comparison with the kernel's own tables, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resync {
    /// When it was done, `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The beginning was lost.
    pub found: u64,
    /// In another state than the table had.
    pub moved: u64,
    /// The end was lost.
    pub ended: u64,
}

impl Resync {
    /// Rows that were corrected.
    #[must_use]
    pub const fn corrected(&self) -> u64 {
        self.found + self.moved + self.ended
    }
}
