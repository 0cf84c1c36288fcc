//! A socket as a listing shows it: what `/proc/net`, sock_diag and the iterators agree on.

use std::{num::NonZeroU64, time::Duration};

use super::{event::Tuple, tcp::TcpState};

/// Which kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP; MPTCP's subflows among them.
    Tcp,
    /// UDP.
    Udp,
    /// Raw IP: the local port is the number of the IP protocol.
    Raw,
}

impl Protocol {
    /// Its name as the services database has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Raw => "raw",
        }
    }
}

/// What a timer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerKind {
    /// To send again, or to probe for a lost tail.
    On,
    /// To ask a silent peer whether it is there.
    Keepalive,
    /// The end of a minisocket: TIME_WAIT, or FIN_WAIT2 without a process.
    TimeWait,
    /// To ask whether a closed window has opened.
    Probe,
}

impl TimerKind {
    /// netstat's word for it.
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
    /// What for.
    pub kind: TimerKind,
    /// How long it has left; zero when it is due.
    pub left: Duration,
}

/// What TCP measures on a connection; bytes count data, not headers.
///
/// Source: `tcp_get_info`, net/ipv4/tcp.c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Smoothed round trip time, µs; none before the first sample.
    pub rtt_us: Option<u32>,
    /// Its variation, µs.
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
    /// Of these, retransmitted ones.
    pub retrans_out: u32,
    /// Segments retransmitted since the beginning.
    pub retransmits: u32,
    /// Sent, retransmitted ones included.
    pub bytes_sent: u64,
    /// Retransmitted.
    pub bytes_retrans: u64,
    /// Acknowledged by the peer.
    pub bytes_acked: u64,
    /// Received in order.
    pub bytes_received: u64,
    /// Bytes a second, of the latest sample; none before the first.
    pub delivery_rate: Option<u64>,
}

/// One IP socket. What its source could not tell is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Which protocol.
    pub protocol: Protocol,
    /// Whether it is of AF_INET6, which may carry IPv4 as well.
    pub ipv6: bool,
    /// Where it is; port 0 for none.
    pub tuple: Tuple,
    /// Its state; UDP and raw know ESTABLISHED, which is connected, and CLOSE. A half-open connection
    /// is in SYN_RECV.
    pub state: TcpState,
    /// The kernel's own id of it.
    pub cookie: Option<NonZeroU64>,
    /// Bytes not read by its process; of a listener, connections not accepted.
    pub recv_q: Option<u32>,
    /// Bytes not acknowledged by the peer; of a listener, the most that may wait to be accepted.
    pub send_q: Option<u32>,
    /// User id in the initial user namespace; minisockets have none.
    pub uid: Option<u32>,
    /// What `/proc/PID/fd` calls it; none where no process can hold it.
    pub inode: Option<NonZeroU64>,
    /// cgroup v2 id.
    pub cgroup: Option<NonZeroU64>,
    /// The timer that runs.
    pub timer: Option<Timer>,
    /// Times that the segment in flight was sent again by timeout.
    pub retransmits: u32,
    /// Probes sent without an answer.
    pub probes: u32,
    /// What TCP measures, where that was asked for.
    pub info: Option<Box<TcpInfo>>,
}

impl Socket {
    /// What its owners are found by: its inode number; of one that a journal has, which knows no inodes, its
    /// cookie, where no inode number is.
    #[must_use]
    pub fn owners_key(&self) -> Option<NonZeroU64> {
        const NO_INODE: u64 = 1 << 63;
        self.inode.or_else(|| self.cookie.map(|cookie| cookie | NO_INODE))
    }

    /// Whether it waits for others to come: in LISTEN, or without a connection where there is no such
    /// state.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        match self.protocol {
            Protocol::Tcp => self.state == TcpState::Listen,
            Protocol::Udp | Protocol::Raw => self.state != TcpState::Established,
        }
    }
}

/// A unix domain socket, as `/proc/net/unix` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// References to it.
    pub references: u32,
    /// Whether it listens.
    pub listening: bool,
    /// `SOCK_STREAM`, `SOCK_DGRAM`, `SOCK_SEQPACKET`: the number of socket(2).
    pub kind: u16,
    /// The number of `socket_state` (include/uapi/linux/net.h).
    pub state: u8,
    /// What `/proc/PID/fd` calls it.
    pub inode: Option<NonZeroU64>,
    /// Where it is bound: a path, or `@` and an abstract name; any bytes.
    pub path: Option<Box<[u8]>>,
}

impl UnixSocket {
    /// netstat's word for its kind.
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

    /// netstat's word for its state; a socket that nobody can connect to has none.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            0 => "FREE",
            1 if self.listening => "LISTENING",
            2 => "CONNECTING",
            3 => "CONNECTED",
            4 => "DISCONNECTING",
            _ => "",
        }
    }
}
