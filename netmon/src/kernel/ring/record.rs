//! Decodes the bytes of a ring buffer record into a checked [`Record`], and a record into a
//! transition.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytemuck::AnyBitPattern;
use netmon_common::{self as wire, AF_INET, AF_INET6, flag, kind};

use super::merge::HEAVIEST;
use crate::core::{
    event::{Opening, ResetSide, Totals, Transition},
    id::{Binding, SocketId, Tuple},
    tcp::TcpState,
    time::Mono,
};

/// The error that connect returns when there is no free local port. The socket does not get it.
#[expect(clippy::cast_possible_truncation, reason = "99; no errno is above 133")]
const EADDRNOTAVAIL: u8 = libc::EADDRNOTAVAIL as u8;

/// A record of the kernel program. Its numbers have been checked to be states and families, and its
/// lengths to be within the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A transition alone.
    Transition(wire::Transition),
    /// A connect or a listen.
    Open(wire::Open),
    /// An accepted connection's first transition.
    Child(wire::Child),
    /// A transition to CLOSE.
    End(wire::End),
    /// A sent RST, a change of a TIME_WAIT bucket, or a local port.
    Note(wire::Note),
    /// A process that took a connection.
    Accept(wire::Accept),
    /// A process runs another program.
    Exec(Box<wire::Exec>),
    /// A process began.
    Fork(wire::Fork),
    /// A process ended.
    Exit(wire::Exit),
    /// A cgroup was made.
    CgroupMade(Box<wire::CgroupMade>),
    /// A cgroup was removed.
    CgroupRemoved(wire::CgroupRemoved),
}

/// Returns the time of a decoded record. A malformed record has no time: it comes first.
pub(super) fn time_of(record: &Result<Record, MalformedRecord>) -> Mono {
    record.as_ref().map_or(Mono::MIN, Record::time)
}

impl Record {
    /// Returns the time at which the record was made.
    #[must_use]
    pub(crate) fn time(&self) -> Mono {
        let time = match self {
            Self::Transition(transition) => transition.time,
            Self::Open(open) => open.transition.time,
            Self::Child(child) => child.transition.time,
            Self::End(end) => end.transition.time,
            Self::Note(note) => note.time,
            Self::Accept(accept) => accept.time,
            Self::Exec(exec) => exec.time,
            Self::Fork(fork) => fork.time,
            Self::Exit(exit) => exit.time,
            Self::CgroupMade(made) => made.time,
            Self::CgroupRemoved(removed) => removed.time,
        };
        Mono::from_kernel(time)
    }

    /// Returns the memory of the record, in units of 120 bytes.
    pub(super) const fn weight(&self) -> usize {
        if matches!(self, Self::Exec(_) | Self::CgroupMade(_)) { HEAVIEST } else { 1 }
    }

    /// Returns the ids of the record's sockets, so that the caller can change them: the record's
    /// own socket, and its listener. None for a record of no socket.
    pub(in crate::kernel) fn ids(&mut self) -> Option<(&mut u64, Option<&mut u64>)> {
        Some(match self {
            Self::Transition(transition) => (&mut transition.cookie, None),
            Self::Open(open) => (&mut open.transition.cookie, None),
            Self::Child(child) => (&mut child.transition.cookie, Some(&mut child.listener)),
            Self::End(end) => (&mut end.transition.cookie, None),
            Self::Note(note) => (&mut note.cookie, None),
            Self::Accept(accept) => (&mut accept.cookie, None),
            Self::Exec(_)
            | Self::Fork(_)
            | Self::Exit(_)
            | Self::CgroupMade(_)
            | Self::CgroupRemoved(_) => return None,
        })
    }

    /// Returns whether the record is of a process or a cgroup, not of a socket.
    pub(in crate::kernel) const fn is_of_owners(&self) -> bool {
        matches!(
            self,
            Self::Exec(_)
                | Self::Fork(_)
                | Self::Exit(_)
                | Self::CgroupMade(_)
                | Self::CgroupRemoved(_)
        )
    }

    /// Returns the transition that the record contains.
    pub(in crate::kernel) const fn transition(&self) -> Option<&wire::Transition> {
        match self {
            Self::Transition(transition)
            | Self::Open(wire::Open { transition, .. })
            | Self::Child(wire::Child { transition, .. })
            | Self::End(wire::End { transition, .. }) => Some(transition),
            _ => None,
        }
    }
}

/// A record that the kernel program does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {length} bytes and kind {kind:?} that this netmon does not know")]
pub struct MalformedRecord {
    /// The size in bytes.
    pub length: usize,
    /// The first byte.
    pub kind: Option<u8>,
}

/// Decodes one record, which must be exactly `bytes`.
///
/// # Errors
/// [`MalformedRecord`] for a size, kind, state or family that the kernel program cannot have
/// written.
#[inline]
pub(crate) fn decode(bytes: &[u8]) -> Result<Record, MalformedRecord> {
    let kind = bytes.first().copied();
    let record = match kind {
        Some(kind::TRANSITION) => read(bytes).map(Record::Transition),
        Some(kind::OPEN) => read(bytes).map(Record::Open),
        Some(kind::CHILD) => read(bytes).map(Record::Child),
        Some(kind::END) => read(bytes).map(Record::End),
        Some(kind::RESET | kind::MINISOCKET | kind::PORT) => read(bytes).map(Record::Note),
        Some(kind::ACCEPT) => read(bytes).map(Record::Accept),
        Some(kind::EXEC) => read(bytes).map(|exec| Record::Exec(Box::new(exec))),
        Some(kind::FORK) => read(bytes).map(Record::Fork),
        Some(kind::EXIT) => read(bytes).map(Record::Exit),
        Some(kind::CGROUP_MADE) => read(bytes).map(|made| Record::CgroupMade(Box::new(made))),
        Some(kind::CGROUP_REMOVED) => read(bytes).map(Record::CgroupRemoved),
        _ => None,
    };
    record
        .filter(|record| match record {
            Record::Note(note) => {
                note.kind == kind::PORT || TcpState::from_number(note.state).is_some()
            }
            Record::Accept(accept) => accept.cookie != 0,
            Record::Exec(exec) => {
                usize::from(exec.path_length) <= wire::PATH_ROOM
                    && usize::from(exec.arguments_length) <= wire::ARGUMENTS
            }
            Record::CgroupMade(made) => usize::from(made.path_length) <= wire::CGROUP_PATH,
            record => record.transition().is_none_or(is_valid),
        })
        .ok_or(MalformedRecord { length: bytes.len(), kind })
}

fn read<T: AnyBitPattern>(bytes: &[u8]) -> Option<T> {
    bytemuck::try_pod_read_unaligned(bytes).ok()
}

/// Returns an address of a record. A v4-mapped address becomes the IPv4 address that is on the
/// wire.
pub(in crate::kernel) fn address(family: u8, bytes: [u8; 16]) -> IpAddr {
    if family == AF_INET {
        let [a, b, c, d, ..] = bytes;
        return Ipv4Addr::new(a, b, c, d).into();
    }
    IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
}

fn is_valid(t: &wire::Transition) -> bool {
    // A cookie or, for classic tracepoints, an address: neither is ever 0.
    t.cookie != 0
        && TcpState::from_number(t.old_state).is_some()
        && TcpState::from_number(t.new_state).is_some()
        && t.old_state != t.new_state
        && matches!(t.family, AF_INET | AF_INET6)
}

/// Returns the connection's place.
pub(in crate::kernel) fn tuple(record: &wire::Transition) -> Tuple {
    let local = SocketAddr::new(address(record.family, record.local_addr), record.local_port);
    let remote = SocketAddr::new(address(record.family, record.remote_addr), record.remote_port);
    Tuple { netns: record.netns, interface: record.interface.into(), local, remote }
}

/// Returns the record as an event; `None` for an unknown state and for no socket, which `decode`
/// refuses.
pub(in crate::kernel) fn transition(
    record: &wire::Transition,
    opening: Opening,
) -> Option<Transition> {
    let cookie = SocketId::new(record.cookie)?;
    let old = TcpState::from_number(record.old_state)?;
    let new = TcpState::from_number(record.new_state)?;
    let tuple = tuple(record);
    // In other transitions `sk_err` may be left over from an earlier connection of the socket. A
    // listener does not fail.
    let may_fail = new == TcpState::Close && old != TcpState::Listen;
    let has = |flag: u8| record.flags & flag != 0;
    let had_no_syn = has(flag::NO_SYN) || tuple.local.port() == 0;
    let errno = match record.errno {
        0 if may_fail && old == TcpState::SynSent && had_no_syn => Some(EADDRNOTAVAIL),
        errno => (may_fail && errno != 0).then_some(errno),
    };
    let was_open = match old {
        TcpState::Established | TcpState::CloseWait | TcpState::SynRecv | TcpState::FinWait1 => {
            true
        }
        // With the peer's FIN there is a TIME_WAIT bucket.
        TcpState::FinWait2 => !has(flag::DONE),
        _ => false,
    };
    // `__tcp_close` does so before it makes an orphan of the socket.
    let is_silent = was_open
        && new == TcpState::Close
        && has(flag::REPAIR)
        && errno.is_none()
        && !has(flag::RESET_RECEIVED | flag::DEAD);
    let v6only = match has(flag::V6ONLY) {
        _ if new != TcpState::Listen => None,
        true => Some(true),
        false => has(flag::DUAL_STACK).then_some(false),
    };
    Some(Transition {
        time: Mono::from_kernel(record.time),
        cookie,
        tuple,
        binding: Binding { device: None, v6only },
        old,
        new,
        errno,
        reset: has(flag::RESET_RECEIVED).then_some(ResetSide::Received),
        totals: None,
        orphan: has(flag::DEAD),
        silent: is_silent,
        inferred: false,
        opening,
    })
}

/// Returns the counters of a connection that ended; none if no counter is known.
pub(in crate::kernel) fn totals(end: &wire::End) -> Option<Totals> {
    let bytes = |bytes: u64| Some(bytes).filter(|bytes| *bytes != u64::MAX);
    // The kernel counts the peer's FIN, which is in order like data (`tcp_rcv_nxt_update`).
    let fin = u64::from(end.transition.flags & flag::DONE != 0);
    let totals = Totals {
        bytes_sent: bytes(end.bytes_sent),
        bytes_received: bytes(end.bytes_received).map(|bytes| bytes.saturating_sub(fin)),
        retransmits: Some(end.retransmits).filter(|retransmits| *retransmits != u32::MAX),
        rtt_us: Some(end.srtt_us >> 3).filter(|rtt| *rtt != 0),
    };
    Some(totals).filter(|totals| *totals != Totals::default())
}
