//! Events: what every source yields and the table takes.

use std::{net::SocketAddr, sync::Arc};

use super::tcp::TcpState;

/// A connection's place: namespace and both ends.
///
/// v4-mapped IPv6 addresses are kept as the IPv4 addresses that they are. Port 0 means unknown for
/// the local end, none for the remote end of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Inode number of the network namespace, as in `/proc/PID/ns/net`.
    pub netns: u32,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

impl Tuple {
    /// The same connection as its other end sees it, were that in the same namespace.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { netns: self.netns, local: self.remote, remote: self.local }
    }
}

/// One connection of one socket.
///
/// The cookie is the kernel's own id of a socket, never given twice while a kernel runs. A socket
/// can connect again, so the moment at which the connection opened tells its connections apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The socket's cookie, as `ss -e` shows it after `sk:`.
    pub cookie: u64,
    /// `CLOCK_MONOTONIC`, ns, of the opening transition; of a connection that was open before
    /// netmon looked, the moment at which netmon first saw it (`Connection::first_sight`).
    pub epoch: u64,
}

/// How netmon knows the owner of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// It called connect.
    Connect,
    /// It called listen, on this socket or on the listener that took this connection.
    Listen,
    /// It called accept, and got this connection.
    Accept,
    /// It held the socket when a dump looked.
    FdScan,
}

impl Evidence {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Listen, Self::Accept, Self::FdScan];

    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Accept => "accept",
            Self::FdScan => "fd-scan",
        }
    }
}

/// A process behind a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// User id in the initial user namespace.
    pub uid: u32,
    /// cgroup v2 id: the inode number of its directory; 0 where it is unknown.
    pub cgroup: u64,
    /// Name of the process, up to 15 bytes of anything: escape it before showing.
    pub comm: Box<[u8]>,
}

/// The opening of a connection, as its first transition shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// It opens nothing: the connection exists already.
    #[default]
    None,
    /// connect or listen, by this process; none where a kernel thread did it.
    ByProcess(Option<Arc<Owner>>),
    /// A listener took it; its cookie where that is known.
    FromListener(Option<u64>),
}

/// On which side a RST was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetSide {
    /// This host sent it.
    Sent,
    /// The peer did.
    Received,
}

impl ResetSide {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sent, Self::Received];

    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// Counters of a connection's socket when it ended (`struct tcp_sock`, include/linux/tcp.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Data bytes sent, retransmitted ones included.
    pub bytes_sent: u64,
    /// Data bytes received in order.
    pub bytes_received: u64,
    /// Segments retransmitted.
    pub retransmits: u32,
    /// The last smoothed round trip time, µs; none before the first.
    pub rtt_us: Option<u32>,
}

/// One state transition, complete: with its local port, and TIME_WAIT where the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// Its place.
    pub tuple: Tuple,
    /// State before.
    pub old: TcpState,
    /// State after; never the same as `old`.
    pub new: TcpState,
    /// Why it failed, on a transition to CLOSE.
    pub errno: Option<u8>,
    /// The side that sent a RST, on a transition to CLOSE.
    pub reset: Option<ResetSide>,
    /// Counters of the socket, on a transition to CLOSE or TIME_WAIT.
    pub totals: Option<Totals>,
    /// Its process has closed it: the kernel finishes alone.
    pub orphan: bool,
    /// No hook saw this happen; a later look found it done, and `time` is that of the look.
    pub inferred: bool,
    /// The opening, if the transition opens a connection.
    pub opening: Opening,
}

impl Transition {
    /// Makes a transition of which only the place and the states are known: the time and the cookie
    /// are 0.
    #[must_use]
    pub const fn bare(tuple: Tuple, old: TcpState, new: TcpState) -> Self {
        Self {
            time: 0,
            cookie: 0,
            tuple,
            old,
            new,
            errno: None,
            reset: None,
            totals: None,
            orphan: false,
            inferred: false,
            opening: Opening::None,
        }
    }

    /// Returns whether the connection is over: closed, or left to a TIME_WAIT.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self.new, TcpState::Close | TcpState::TimeWait)
    }
}

/// Why events were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The ring buffer was full.
    RingFull,
    /// The kernel skipped the program because it was running on that CPU already.
    Recursion,
    /// The record could not be understood: the object does not match this program.
    Malformed,
    /// The kernel could not keep how an accepted connection began: its LISTEN -> SYN_RECV is not
    /// shown, and its owner not known.
    Storage,
    /// The journal could not be written, or not as fast as events came.
    Unwritten,
    /// The hooks were silent, as if somebody had taken them out: how many there were is unknown.
    Unhooked,
    /// No recorder was running: the number of events is unknown.
    NotRecorded,
    /// A segment of the journal is missing or cannot be read: how many events it had is unknown.
    Missing,
}

impl Loss {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::RingFull,
        Self::Recursion,
        Self::Malformed,
        Self::Storage,
        Self::Unwritten,
        Self::Unhooked,
        Self::NotRecorded,
        Self::Missing,
    ];

    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::Recursion => "recursion",
            Self::Malformed => "malformed",
            Self::Storage => "storage",
            Self::Unwritten => "unwritten",
            Self::Unhooked => "unhooked",
            Self::NotRecorded => "not_recorded",
            Self::Missing => "missing",
        }
    }
}

/// Events that are missing from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// None were missing up to here, `CLOCK_MONOTONIC`, ns.
    pub from: u64,
    /// When it was noticed, `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// How many.
    pub count: u64,
    /// Why.
    pub loss: Loss,
}

/// The same moment on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic: u64,
    /// Nanoseconds since 1970-01-01 UTC.
    pub wall: i64,
}

impl Anchor {
    /// The wall time of a moment on the monotonic clock, ns since 1970-01-01 UTC.
    #[must_use]
    pub const fn wall_time(self, monotonic: u64) -> i64 {
        self.wall.saturating_add(monotonic.wrapping_sub(self.monotonic).cast_signed())
    }

    /// Wall time less the monotonic clock, ns.
    #[must_use]
    pub const fn offset(self) -> i64 {
        self.wall.wrapping_sub(self.monotonic.cast_signed())
    }
}

/// A socket as a dump had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// A moment just before the dump came to it, `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// Its place.
    pub tuple: Tuple,
    /// Its state then; SYN_RECV for a half-open connection.
    pub state: TcpState,
    /// The kernel has let go of the full socket: in TIME_WAIT, or waiting for the peer's FIN.
    pub minisocket: bool,
    /// A process that held it.
    pub owner: Option<Arc<Owner>>,
}

/// Something that the kernel reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A state transition.
    Transition(Transition),
    /// A dump of all namespaces begins. Its sockets follow as `Seed` events, until `DumpEnded`.
    DumpBegan,
    /// A socket that a dump had.
    Seed(Seed),
    /// A dump had a closed socket that its process still holds, with the error that closed it.
    SocketFailed {
        /// A moment just before, `CLOCK_MONOTONIC`, ns.
        time: u64,
        /// The socket's cookie.
        cookie: u64,
        /// `sk_err`.
        errno: u8,
    },
    /// A process accepted a connection.
    Accepted {
        /// `CLOCK_MONOTONIC`, ns.
        time: u64,
        /// The connection's cookie.
        cookie: u64,
        /// Who.
        owner: Arc<Owner>,
    },
    /// The minisocket of a connection is gone: its TIME_WAIT, if that is where it was.
    TimeWaitEnded {
        /// `CLOCK_MONOTONIC`, ns.
        time: u64,
        /// The socket's cookie.
        cookie: u64,
    },
    /// A dump has had every socket of a namespace.
    NamespaceDumped {
        /// Inode number of the namespace.
        netns: u32,
        /// When it began with it, `CLOCK_MONOTONIC`, ns.
        began: u64,
    },
    /// The dump of all namespaces is done: what it did not have, in those that it had, is not
    /// there. The first one is what was there when netmon began to look.
    DumpEnded {
        /// `CLOCK_MONOTONIC`, ns.
        time: u64,
    },
    /// Ties the two clocks together from here on: wall time can step, the monotonic clock cannot.
    Anchor(Anchor),
    /// Records were lost.
    Lost(Gap),
}
