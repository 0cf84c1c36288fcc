//! The facts that filters test, and those of everything that can be filtered.

use std::{net::SocketAddr, time::Duration};

use super::Quantity;
use crate::core::{
    cgroup::Cgroup,
    change::Step,
    connection::{Connection, Direction, Labels},
    event::Totals,
    id::SocketId,
    process::{Owner, Process, SocketHolders},
    program::KnownProcess,
    socket::{Socket, UnixSocket},
    tcp::TcpState,
    time::Mono,
    verdict::Verdict,
};

/// The facts of a connection that a filter can test.
pub trait FilterFacts {
    /// Returns the connection's state.
    fn state(&self) -> TcpState;
    /// Returns this host's end, if there is such an end.
    fn local(&self) -> Option<SocketAddr>;
    /// Returns the other end.
    fn remote(&self) -> Option<SocketAddr>;
    /// Returns the inode number of the connection's network namespace.
    fn netns(&self) -> u32;
    /// Returns the number of the network device that the connection is bound to; 0 for none.
    fn interface(&self) -> u32;
    /// Returns the name of that device, if known.
    fn device(&self) -> Option<&str>;
    /// Returns the connection's user, if known.
    fn uid(&self) -> Option<u32>;
    /// Returns the id of the connection's cgroup, if known.
    fn cgroup(&self) -> Option<u64>;
    /// Returns the reason of the connection's end, if it has ended.
    fn verdict(&self) -> Option<Verdict> {
        None
    }
    /// Returns the error with which the connection ended.
    fn errno(&self) -> Option<u8> {
        None
    }
    /// Returns the side that began the connection, if known.
    fn direction(&self) -> Option<Direction> {
        None
    }
    /// Returns the socket, if known.
    fn cookie(&self) -> Option<SocketId>;
    /// Returns a quantity, if known.
    fn quantity(&self, _quantity: Quantity) -> Option<u64> {
        None
    }
    /// Returns the names that a journal recorded with the connection.
    fn labels(&self) -> Option<&Labels> {
        None
    }
    /// Returns whether `test` holds for any process that is known to hold the connection.
    fn any_owner(&self, test: &mut dyn FnMut(OwnerFacts<'_>) -> bool) -> bool;
}

/// The facts of a process that a filter can test.
#[derive(Clone, Copy, Debug)]
pub struct OwnerFacts<'a> {
    /// As in [`Owner::pid`](crate::core::process::Owner::pid).
    pub pid: u32,
    /// The name of the process.
    pub comm: &'a [u8],
    /// The process with its program, if known.
    pub process: Option<&'a KnownProcess>,
    /// The cgroup, if known.
    pub cgroup: Option<&'a Cgroup>,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn of(process: &Process) -> OwnerFacts<'_> {
    let Process { pid, ref comm, ref known, ref cgroup, .. } = *process;
    OwnerFacts { pid, comm, process: known.as_deref(), cgroup: cgroup.as_deref() }
}

/// A row of the table at a moment. Its processes are the one that opened the connection, and the
/// one that holds it.
impl FilterFacts for (&Connection, Mono) {
    fn state(&self) -> TcpState {
        self.0.state
    }

    fn local(&self) -> Option<SocketAddr> {
        Some(self.0.tuple.local)
    }

    fn remote(&self) -> Option<SocketAddr> {
        Some(self.0.tuple.remote)
    }

    fn netns(&self) -> u32 {
        self.0.tuple.netns
    }

    fn interface(&self) -> u32 {
        self.0.tuple.interface
    }

    fn device(&self) -> Option<&str> {
        self.0.binding.device.as_deref()
    }

    fn uid(&self) -> Option<u32> {
        self.0.owner.as_ref().map(|owner| owner.uid)
    }

    fn cgroup(&self) -> Option<u64> {
        Some(self.0.owner.as_ref()?.cgroup.as_ref()?.id).filter(|id| *id != 0)
    }

    fn verdict(&self) -> Option<Verdict> {
        self.0.verdict
    }

    fn direction(&self) -> Option<Direction> {
        self.0.direction
    }

    fn cookie(&self) -> Option<SocketId> {
        Some(self.0.id.cookie)
    }

    /// A connection ends at the moment from which on it is in TIME_WAIT.
    fn quantity(&self, quantity: Quantity) -> Option<u64> {
        let (row, now) = *self;
        let until = if row.state == TcpState::TimeWait { row.since? } else { now };
        let lifetime = || row.lifetime(until).map(micros);
        (quantity == Quantity::Lifetime).then(lifetime).flatten()
    }

    fn labels(&self) -> Option<&Labels> {
        self.0.labels.as_deref()
    }

    fn any_owner(&self, test: &mut dyn FnMut(OwnerFacts<'_>) -> bool) -> bool {
        self.0.owner.as_ref().is_some_and(|owner| {
            let Owner { pid, ref comm, ref process, ref cgroup, .. } = **owner;
            let (process, cgroup) = (process.as_deref(), cgroup.as_deref());
            test(OwnerFacts { pid, comm, process, cgroup })
        }) || self.0.holder.as_ref().is_some_and(|holder| test(of(holder)))
    }
}

/// A transition. Its state is the new one.
impl FilterFacts for Step<'_> {
    fn state(&self) -> TcpState {
        self.transition.new
    }

    fn local(&self) -> Option<SocketAddr> {
        Some(self.transition.tuple.local)
    }

    fn remote(&self) -> Option<SocketAddr> {
        Some(self.transition.tuple.remote)
    }

    fn netns(&self) -> u32 {
        self.transition.tuple.netns
    }

    fn interface(&self) -> u32 {
        self.transition.tuple.interface
    }

    fn device(&self) -> Option<&str> {
        self.connection.binding.device.as_deref()
    }

    fn uid(&self) -> Option<u32> {
        (self.connection, self.transition.time).uid()
    }

    fn cgroup(&self) -> Option<u64> {
        (self.connection, self.transition.time).cgroup()
    }

    fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    fn errno(&self) -> Option<u8> {
        self.transition.errno
    }

    fn direction(&self) -> Option<Direction> {
        self.connection.direction
    }

    fn cookie(&self) -> Option<SocketId> {
        Some(self.transition.cookie)
    }

    fn quantity(&self, quantity: Quantity) -> Option<u64> {
        match quantity {
            Quantity::Lifetime => self.lifetime().map(micros),
            _ => quantity.of(self.transition.totals.as_ref()?),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        self.connection.labels.as_deref()
    }

    fn any_owner(&self, test: &mut dyn FnMut(OwnerFacts<'_>) -> bool) -> bool {
        (self.connection, self.transition.time).any_owner(test)
    }
}

/// A socket of a listing, with all processes that hold the socket.
impl FilterFacts for (&Socket, &SocketHolders) {
    fn state(&self) -> TcpState {
        self.0.state
    }

    fn local(&self) -> Option<SocketAddr> {
        Some(self.0.tuple.local)
    }

    fn remote(&self) -> Option<SocketAddr> {
        Some(self.0.tuple.remote)
    }

    fn netns(&self) -> u32 {
        self.0.tuple.netns
    }

    fn interface(&self) -> u32 {
        self.0.tuple.interface
    }

    fn device(&self) -> Option<&str> {
        self.0.binding.device.as_deref()
    }

    fn uid(&self) -> Option<u32> {
        self.0.uid
    }

    fn cgroup(&self) -> Option<u64> {
        self.0.cgroup.map(Into::into)
    }

    fn cookie(&self) -> Option<SocketId> {
        self.0.cookie
    }

    fn quantity(&self, quantity: Quantity) -> Option<u64> {
        let info = self.0.info.as_ref()?;
        quantity.of(&Totals {
            bytes_sent: Some(info.bytes_sent),
            bytes_received: Some(info.bytes_received),
            retransmits: Some(info.retransmits),
            rtt_us: info.rtt_us,
        })
    }

    fn any_owner(&self, test: &mut dyn FnMut(OwnerFacts<'_>) -> bool) -> bool {
        self.1.any(self.0.holder_key(), &mut |process| test(of(process)))
    }
}

/// A unix socket, which has neither addresses nor a device nor a user. One that is not connected
/// counts as closed.
impl FilterFacts for (&UnixSocket, &SocketHolders) {
    fn state(&self) -> TcpState {
        match self.0.state_name() {
            "LISTENING" => TcpState::Listen,
            "CONNECTED" => TcpState::Established,
            _ => TcpState::Close,
        }
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }

    fn remote(&self) -> Option<SocketAddr> {
        None
    }

    fn netns(&self) -> u32 {
        self.0.netns
    }

    fn interface(&self) -> u32 {
        0
    }

    fn device(&self) -> Option<&str> {
        None
    }

    fn uid(&self) -> Option<u32> {
        None
    }

    fn cgroup(&self) -> Option<u64> {
        None
    }

    fn cookie(&self) -> Option<SocketId> {
        self.0.cookie
    }

    fn any_owner(&self, test: &mut dyn FnMut(OwnerFacts<'_>) -> bool) -> bool {
        self.1.any(self.0.holder_key(), &mut |process| test(of(process)))
    }
}
