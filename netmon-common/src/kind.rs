//! Kinds of record: the first byte of each record of a ring buffer or an iterator.

/// A [`Transition`](crate::Transition) alone.
pub const TRANSITION: u8 = 1;
/// An [`Open`](crate::Open): a transition to SYN_SENT or LISTEN, with the process that made it.
pub const OPEN: u8 = 2;
/// A [`Child`](crate::Child): the first transition out of SYN_RECV of an accepted connection.
pub const CHILD: u8 = 3;
/// A [`Note`](crate::Note): a RST that the host sent, with the state of the socket at that
/// moment, which is TIME_WAIT for every TIME_WAIT bucket.
pub const RESET: u8 = 4;
/// A [`Socket`](crate::Socket) of a dump.
pub const SOCKET: u8 = 5;
/// An [`Info`](crate::Info) about the socket of the record before.
pub const INFO: u8 = 6;
/// A [`HeldSocket`](crate::HeldSocket): a process and a socket that the process holds.
pub const HELD: u8 = 7;
/// An [`End`](crate::End): a transition to CLOSE, with the counters of the connection.
pub const END: u8 = 8;
/// A [`FailedSocket`](crate::FailedSocket): a closed socket that a process holds, and its error.
pub const FAILED: u8 = 9;
/// A [`Note`](crate::Note): a TIME_WAIT bucket has come to the state of the note: TIME_WAIT, or
/// CLOSE at its end.
pub const MINISOCKET: u8 = 10;
/// A [`Note`](crate::Note): the local port of a connect.
pub const PORT: u8 = 11;
/// An [`Accept`](crate::Accept): a process took a connection from its listener.
pub const ACCEPT: u8 = 12;
/// A [`Namespace`](crate::Namespace) of a walk.
pub const NAMESPACE: u8 = 13;
/// A [`WalkStep`](crate::WalkStep): the end of a step of a walk.
pub const WALK_STEP: u8 = 14;
/// An [`Exec`](crate::Exec): a process runs another program.
pub const EXEC: u8 = 15;
/// A [`Fork`](crate::Fork): a process began.
pub const FORK: u8 = 16;
/// An [`Exit`](crate::Exit): a process ended.
pub const EXIT: u8 = 17;
/// A [`CgroupMade`](crate::CgroupMade): a cgroup was made.
pub const CGROUP_MADE: u8 = 18;
/// A [`CgroupRemoved`](crate::CgroupRemoved): a cgroup was removed.
pub const CGROUP_REMOVED: u8 = 19;
