//! Rows of the table.

use std::{sync::Arc, time::Duration};

use super::{
    id::{Binding, ConnectionId, Tuple},
    process::{Evidence, Owner, Process},
    tcp::TcpState,
    time::{Mono, Wall},
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
    /// The rest of what is known of its place.
    pub binding: Binding,
    /// Its state now.
    pub state: TcpState,
    /// Wall time of `id.epoch` as it was known then: with the cookie and the boot, the key of the
    /// connection in a journal. It stays as it is when the clock is set.
    pub opened: Wall,
    /// It was open before netmon looked: `id.epoch` and `opened` are of the moment when netmon
    /// first saw it.
    pub first_sight: bool,
    /// When it entered that state; unknown until the first transition of one that was open before
    /// netmon looked.
    pub since: Option<Mono>,
    /// The side that began it; unknown when it was open before netmon started.
    pub direction: Option<Direction>,
    /// The side that must have begun it, as its state or a listener at its port shows, while
    /// `direction` is unknown. No journal keeps it.
    pub inferred_direction: Option<Direction>,
    /// The process that opened it, by connect, listen or accept; where that is not known, the one
    /// that held it.
    pub owner: Option<Arc<Owner>>,
    /// How that is known; none without an owner.
    pub evidence: Option<Evidence>,
    /// Another process that held it when a dump last found holders, or the owner with another
    /// program.
    pub holder: Option<Arc<Process>>,
    /// Which side sent its FIN first, once one did.
    pub first_fin: Option<FirstFin>,
    /// Why it ended, when all that is left of it is a TIME_WAIT.
    pub verdict: Option<Verdict>,
    /// Names of then: on a row that comes from a journal.
    pub labels: Option<Arc<Labels>>,
    /// When a dump last had it; `Mono::MIN` for never.
    pub(super) last_dumped_at: Mono,
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
    /// Inode number of the recorder's own network namespace.
    pub own_netns: Option<u32>,
    /// Name of the network namespace, as `ip netns` has it.
    pub netns: Option<Arc<str>>,
    /// Name of the user.
    pub user: Option<Arc<str>>,
    /// Name of the real user.
    pub real_user: Option<Arc<str>>,
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
            binding: Binding { device: None, v6only: None },
            state,
            opened: Wall::EPOCH,
            first_sight: true,
            since: None,
            direction: None,
            inferred_direction: None,
            owner: None,
            evidence: None,
            holder: None,
            first_fin: None,
            verdict: None,
            labels: None,
            last_dumped_at: Mono::MIN,
            last_dump_pass: NEVER,
            absent_once: false,
        }
    }

    /// The row without what a dump or a journal left in it.
    #[cfg(test)]
    pub(crate) fn bare(mut self) -> Self {
        (self.last_dumped_at, self.last_dump_pass, self.absent_once, self.labels) =
            (Mono::MIN, NEVER, false, None);
        self.inferred_direction = None;
        self
    }

    /// How long the connection has existed at `time`; unknown when netmon did not see it open.
    #[must_use]
    pub fn lifetime(&self, time: Mono) -> Option<Duration> {
        (!self.first_sight).then(|| time.since(self.id.epoch))
    }

    /// Takes over who opened another row, and who holds it.
    pub(super) fn take_processes(&mut self, of: &Self) {
        self.owner.clone_from(&of.owner);
        self.evidence = of.evidence;
        self.holder.clone_from(&of.holder);
    }

    /// The moment up to which the row tells all there is: what happened before it is history.
    pub(super) fn as_of(&self) -> Mono {
        self.since.unwrap_or(Mono::MIN).max(self.last_dumped_at)
    }
}
