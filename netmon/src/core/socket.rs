//! A socket in a listing: the facts that `/proc/net`, sock_diag and the iterators share.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use super::{
    connection::Connection,
    id::{Binding, HolderKey, SocketId, Tuple},
    tcp::TcpState,
};

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, MPTCP's subflows included.
    Tcp,
    /// UDP.
    Udp,
    /// Raw IP: the local port is the number of the IP protocol.
    Raw,
}

impl Protocol {
    /// Returns the protocol's name, as in the services database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Raw => "raw",
        }
    }
}

/// The purpose of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerKind {
    /// Sends again, or probes for a lost tail.
    On,
    /// Asks a silent peer whether it is there.
    Keepalive,
    /// Ends a TIME_WAIT bucket: TIME_WAIT, or FIN_WAIT2 without a process.
    TimeWait,
    /// Asks whether a closed window has opened.
    Probe,
}

impl TimerKind {
    /// Returns netstat's word for the timer.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Keepalive => "keepalive",
            Self::TimeWait => "timewait",
            Self::Probe => "probe",
        }
    }
}

/// A running timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The purpose.
    pub kind: TimerKind,
    /// The remaining time; zero when the timer is due.
    pub left: Duration,
}

/// TCP's measurements of a connection. Bytes count data, not headers.
///
/// Source: `tcp_get_info`, net/ipv4/tcp.c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Smoothed round trip time, µs; none before the first sample.
    pub rtt_us: Option<u32>,
    /// The variation of the round trip time, µs.
    pub rttvar_us: u32,
    /// Retransmission timeout, µs.
    pub rto_us: u32,
    /// Maximum segment size to send, bytes.
    pub mss: u32,
    /// Congestion window, segments.
    pub cwnd: u32,
    /// Slow start threshold, segments; none while it is infinite.
    pub ssthresh: Option<u32>,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Segments retransmitted and not acknowledged.
    pub retrans_out: u32,
    /// Segments retransmitted since the beginning.
    pub retransmits: u32,
    /// Data bytes sent, retransmitted ones included.
    pub bytes_sent: u64,
    /// Data bytes retransmitted.
    pub bytes_retrans: u64,
    /// Data bytes acknowledged by the peer.
    pub bytes_acked: u64,
    /// Data bytes received in order.
    pub bytes_received: u64,
    /// Bytes a second, of the latest sample; none before the first.
    pub delivery_rate: Option<u64>,
}

/// One IP socket. A fact that its source does not have is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The protocol.
    pub protocol: Protocol,
    /// `true` for a socket of AF_INET6, which may carry IPv4 too.
    pub ipv6: bool,
    /// The namespace, both ends and the device; port 0 for none.
    pub tuple: Tuple,
    /// The rest of what is known of the place.
    pub binding: Binding,
    /// The state. UDP and raw sockets are in ESTABLISHED if connected, otherwise in CLOSE. A
    /// half-open connection is in SYN_RECV.
    pub state: TcpState,
    /// The socket's id, where the source has it.
    pub cookie: Option<SocketId>,
    /// Bytes that the process has not read; of a listener, connections that are not accepted.
    pub recv_q: Option<u32>,
    /// Bytes that the peer has not acknowledged; of a listener, the limit of connections that wait
    /// to be accepted.
    pub send_q: Option<u32>,
    /// The user id in the initial user namespace; TIME_WAIT buckets have none.
    pub uid: Option<u32>,
    /// The inode number, as in `/proc/PID/fd`; none if no process can hold the socket.
    pub inode: Option<NonZeroU64>,
    /// The cgroup v2 id.
    pub cgroup: Option<NonZeroU64>,
    /// The running timer.
    pub timer: Option<Timer>,
    /// The number of times that the segment in flight was sent again by timeout.
    pub retransmits: u32,
    /// The number of probes without an answer.
    pub probes: u32,
    /// TCP's measurements, if requested.
    pub info: Option<Box<TcpInfo>>,
    /// The row of a table from which the socket was made.
    pub row: Option<Arc<Connection>>,
}

/// The row that a listing has for a connection of the table: a table knows neither queues nor
/// timers, and no inode number.
impl From<&Connection> for Socket {
    fn from(row: &Connection) -> Self {
        let owner = row.owner.as_ref();
        Self {
            protocol: Protocol::Tcp,
            ipv6: row.tuple.local.is_ipv6(),
            tuple: row.tuple,
            binding: row.binding.clone(),
            state: row.state,
            cookie: Some(row.id.cookie),
            recv_q: None,
            send_q: None,
            uid: owner.map(|owner| owner.uid),
            inode: None,
            cgroup: owner.and_then(|owner| NonZeroU64::new(owner.cgroup.as_ref()?.id)),
            timer: None,
            retransmits: 0,
            probes: 0,
            info: None,
            row: Some(Arc::new(row.clone())),
        }
    }
}

impl Socket {
    /// Returns the key by which the processes that hold the socket are found.
    #[must_use]
    pub fn holder_key(&self) -> Option<HolderKey> {
        let by_inode = self.inode.map(HolderKey::of_inode);
        by_inode.or_else(|| self.cookie.map(HolderKey::of_socket))
    }

    /// Returns whether the socket waits for others: in LISTEN or, for protocols without that state,
    /// without a connection.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        match self.protocol {
            Protocol::Tcp => self.state == TcpState::Listen,
            Protocol::Udp | Protocol::Raw => self.state != TcpState::Established,
        }
    }
}

/// A unix domain socket. A fact that its source does not have is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// The inode number of the network namespace.
    pub netns: u32,
    /// The socket's id, where the source has it.
    pub cookie: Option<SocketId>,
    /// The number of references to the socket.
    pub references: Option<u32>,
    /// `true` if the socket listens.
    pub listening: bool,
    /// `SOCK_STREAM`, `SOCK_DGRAM`, `SOCK_SEQPACKET`: the number of socket(2).
    pub kind: u16,
    /// The number of `socket_state` (include/uapi/linux/net.h).
    pub state: u8,
    /// The inode number, as in `/proc/PID/fd`.
    pub inode: Option<NonZeroU64>,
    /// The inode number of the other end.
    pub peer: Option<NonZeroU64>,
    /// The address: a path, or `@` and an abstract name; any bytes, escape them before showing.
    pub path: Option<Box<[u8]>>,
    /// `true` if the address is an abstract name: a path may begin with `@` too. `/proc` does not
    /// tell them apart, so that there `@` decides.
    pub is_abstract: bool,
}

impl UnixSocket {
    /// `SS_UNCONNECTED`, `SS_CONNECTING`, `SS_CONNECTED` (include/uapi/linux/net.h).
    pub(crate) const UNCONNECTED: u8 = 1;
    const CONNECTING: u8 = 2;
    pub(crate) const CONNECTED: u8 = 3;

    /// Returns the socket of a connection that waits until a process accepts it from `listener`: it
    /// has the listener's address, and no process can hold it yet.
    #[must_use]
    pub(crate) fn waiting_for_accept(listener: &Self) -> Self {
        Self {
            cookie: None,
            references: None,
            listening: false,
            state: Self::CONNECTING,
            inode: None,
            peer: None,
            ..listener.clone()
        }
    }

    /// Returns the key by which the processes that hold the socket are found.
    #[must_use]
    pub fn holder_key(&self) -> Option<HolderKey> {
        self.inode.map(HolderKey::of_inode)
    }

    /// Returns netstat's word for the kind.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            1 => "STREAM",
            2 => "DGRAM",
            3 => "RAW",
            4 => "RDM",
            5 => "SEQPACKET",
            _ => "UNKNOWN",
        }
    }

    /// Returns netstat's word for the state; none for a socket to which no process can connect.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            0 => "FREE",
            Self::UNCONNECTED if self.listening => "LISTENING",
            Self::CONNECTING => "CONNECTING",
            Self::CONNECTED => "CONNECTED",
            4 => "DISCONNECTING",
            _ => "",
        }
    }
}
