//! Events: what every source yields and the table takes.

use std::{sync::Arc, time::Duration};

use super::{
    id::{Binding, SocketId, Tuple},
    loss::Gap,
    process::{Owner, ProcessKey},
    tcp::TcpState,
    time::{Anchor, Mono},
};

/// The opening of a connection, as its first transition shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// It opens nothing: the connection exists already.
    #[default]
    None,
    /// connect or listen, by this process; none where a kernel thread did it.
    ByProcess(Option<Arc<Owner>>),
    /// A listener took it; its id where that is known.
    FromListener(Option<SocketId>),
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

/// Counters of a connection's socket when it ended (`struct tcp_sock`, include/linux/tcp.h). A
/// counter is none if it is not known where this kernel keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Data bytes sent, retransmitted ones included.
    pub bytes_sent: Option<u64>,
    /// Data bytes received in order.
    pub bytes_received: Option<u64>,
    /// Segments retransmitted.
    pub retransmits: Option<u32>,
    /// The last smoothed round trip time, µs; none before the first.
    pub rtt_us: Option<u32>,
}

/// One state transition, complete: with its local port, and TIME_WAIT where the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When the kernel reported it.
    pub time: Mono,
    /// The socket.
    pub cookie: SocketId,
    /// Its place.
    pub tuple: Tuple,
    /// The rest of what is known of its place, for the row that the transition makes or moves. The
    /// entries of a journal have it in the row alone.
    pub binding: Binding,
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
    /// It closed without a FIN and without a RST (TCP_REPAIR).
    pub silent: bool,
    /// No hook saw this happen; a later look found it done, and `time` is that of the look.
    pub inferred: bool,
    /// The opening, if the transition opens a connection.
    pub opening: Opening,
}

impl Transition {
    /// Makes a transition of which only the socket, its place and the states are known.
    #[must_use]
    pub const fn bare(cookie: SocketId, tuple: Tuple, old: TcpState, new: TcpState) -> Self {
        Self {
            time: Mono::BOOT,
            cookie,
            tuple,
            binding: Binding { device: None, v6only: None },
            old,
            new,
            errno: None,
            reset: None,
            totals: None,
            orphan: false,
            silent: false,
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

/// A socket as a dump had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// A moment just before the dump came to it.
    pub time: Mono,
    /// The socket.
    pub cookie: SocketId,
    /// Its place.
    pub tuple: Tuple,
    /// The rest of what is known of its place.
    pub binding: Binding,
    /// Its state then; SYN_RECV for a half-open connection.
    pub state: TcpState,
    /// The kernel has let go of the full socket: in TIME_WAIT, or waiting for the peer's FIN.
    pub minisocket: bool,
    /// The processes that held it, that with the least number first.
    pub holders: Box<[Arc<Owner>]>,
    /// The holders that had begun, or had begun another program, less than a second before the
    /// look. A process that has just forked has all descriptors of its parent until it calls exec,
    /// and many commands live for a moment.
    pub young: Box<[ProcessKey]>,
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
        /// A moment just before.
        time: Mono,
        /// The socket.
        cookie: SocketId,
        /// `sk_err`.
        errno: u8,
    },
    /// A process accepted a connection.
    Accepted {
        /// When that was.
        time: Mono,
        /// The socket of the connection.
        cookie: SocketId,
        /// Who.
        owner: Arc<Owner>,
    },
    /// The minisocket of a connection is gone: its TIME_WAIT, if that is where it was.
    TimeWaitEnded {
        /// When that was.
        time: Mono,
        /// The socket.
        cookie: SocketId,
    },
    /// A dump has had every socket of `scope`.
    Dumped {
        /// The namespaces.
        scope: DumpScope,
        /// The time before the first of these sockets was read.
        began: Mono,
    },
    /// The dump is over. A socket of its scopes that the dump did not have does not exist. The
    /// first dump has the sockets that existed before netmon.
    DumpEnded {
        /// When that was.
        time: Mono,
    },
    /// Dumps are more than ten seconds apart: their cost or a failure puts the next one off.
    DumpsRare {
        /// When that was decided.
        time: Mono,
        /// The time from the last complete dump to the next.
        distance: Duration,
    },
    /// Ties the two clocks together from here on: wall time can step, the monotonic clock cannot.
    Anchor(Anchor),
    /// Records were lost.
    Lost(Gap),
}

/// The namespaces that a dump has had whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpScope {
    /// The namespace with this inode number.
    Namespace(u32),
    /// Every namespace of the kernel, also those that have ended, except those with these inode
    /// numbers, in order.
    AllBut(Vec<u32>),
}

impl DumpScope {
    /// Returns whether the namespace with inode number `netns` is one of them.
    #[must_use]
    pub fn contains(&self, netns: u32) -> bool {
        match self {
            Self::Namespace(inum) => *inum == netns,
            Self::AllBut(others) => others.binary_search(&netns).is_err(),
        }
    }
}
