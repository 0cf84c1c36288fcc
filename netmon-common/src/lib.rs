//! The wire ABI between netmon's kernel program and user space.
//!
//! Owns the layout of every record, of the tables that user space writes before load, and of the
//! loss counters. All types are plain integers and byte arrays with explicit padding, in the byte
//! order of the machine: both sides run on the same machine. Nothing here interprets a record.
//!
//! Every record starts with its kind, and the kind decides the size. Ring buffers carry
//! [`Transition`], [`Open`], [`Child`], [`End`], [`Note`] and [`Accept`], one more ring [`Exec`],
//! [`Fork`], [`Exit`], [`CgroupMade`] and [`CgroupRemoved`]. Iterators write [`Socket`], [`Info`],
//! [`HeldSocket`] and [`FailedSocket`]; walks write those of `walk.rs` too.
#![no_std]

mod cgroup;
mod dump;
mod filter;
pub mod flag;
pub mod kind;
mod offsets;
mod program;
pub mod state;
mod walk;

#[cfg(target_endian = "big")]
compile_error!("records and addresses are laid out for little-endian machines");

use core::mem::{offset_of, size_of};

pub use cgroup::{CGROUP_PATH, CgroupMade, CgroupRemoved};
pub use dump::{DumpOptions, FailedSocket, HeldSocket, Info, Socket, has, timer};
pub use filter::{Clause, KernelFilter, MAX_CLAUSES};
pub use offsets::{Offsets, TracepointFormat, UNKNOWN};
pub use program::{
    ARGUMENTS, Exec, Exit, Fork, NO_LOGIN, Namespaces, PATH_ROOM, TICK, exec_flag, run,
};
pub use walk::{Namespace, WALK_ENTRIES, WALK_RING, WalkStep};

/// `AF_INET`, as in [`Transition::family`].
pub const AF_INET: u8 = 2;
/// `AF_INET6`, as in [`Transition::family`].
pub const AF_INET6: u8 = 10;
/// `IPPROTO_TCP`: the tracepoint also reports SCTP and MPTCP sockets, which netmon skips.
pub const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_UDP`.
pub const IPPROTO_UDP: u16 = 17;
/// `TASK_COMM_LEN`, the size of a process name with its NUL.
pub const COMM_LEN: usize = 16;

/// One TCP state transition: the hot record, 64 bytes.
///
/// Source: tracepoint `sock:inet_sock_set_state` (net/ipv4/af_inet.c, `inet_sk_set_state`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Transition {
    /// One of [`kind`]: that of the whole record, also as the head of an [`Open`], a [`Child`] or
    /// an [`End`].
    pub kind: u8,
    /// State before, the kernel's number.
    pub old_state: u8,
    /// State after, the kernel's number.
    pub new_state: u8,
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// `sk_err`: meaningful on a transition to CLOSE only. Linux has no errno above 133.
    pub errno: u8,
    /// Index of the interface that the socket is bound to, 0 for none; 65535 for any larger index.
    pub interface: u16,
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The socket's cookie, unique for the life of the kernel. In the basic tier (classic
    /// tracepoints), this field of every ring buffer record has the address of the socket instead,
    /// which is unique until the transition to CLOSE.
    pub cookie: u64,
    /// Local address, network order; IPv4 in the first four bytes.
    pub local_addr: [u8; 16],
    /// Remote address, network order; IPv4 in the first four bytes.
    pub remote_addr: [u8; 16],
    /// Inode number of the network namespace; 0 where unknown.
    pub netns: u32,
    /// Local port, host order; 0 where the socket has no port yet (SYN_SENT; LISTEN without a
    /// bind).
    pub local_port: u16,
    /// Remote port, host order; 0 for a listener.
    pub remote_port: u16,
}

/// A transition to SYN_SENT or LISTEN, which happens in the process that called connect or listen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Open {
    /// The transition, its kind [`kind::OPEN`].
    pub transition: Transition,
    /// Address of the `struct sock`: a handle to ask for the local port later. Never an identity,
    /// except in the basic tier, where [`Transition::cookie`] has the same address.
    pub sock: u64,
    /// The process that called connect or listen.
    pub process: Process,
}

/// A process, 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Process {
    /// cgroup v2 id.
    pub cgroup: u64,
    /// Process (thread group) id in the pid namespace of netmon's `/proc`; 0 for a kernel thread,
    /// and for a process outside of that namespace.
    pub pid: u32,
    /// Effective user id in the initial user namespace; the real one where the kernel's types are
    /// unknown.
    pub uid: u32,
    /// Name of the thread group's leader, NUL padded; empty where unknown.
    pub comm: [u8; COMM_LEN],
    /// Process id in the initial pid namespace, where that is another number than `pid`; else 0.
    pub host_pid: u32,
    /// The mark of the present program of the process ([`run`]); 0 where unknown.
    pub run: u32,
    /// Real user id in the initial user namespace.
    pub real_uid: u32,
    /// Zero.
    pub unused: u32,
}

/// The pid namespace of netmon's `/proc`. User space writes it before load; it is frozen like
/// [`Offsets`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct PidNamespace {
    /// Inode number; 0 for the initial namespace.
    pub inum: u32,
    /// The device of that inode, the kernel's number.
    pub device: u32,
}

/// A process that took a connection from its listener, 72 bytes.
///
/// Source: the return of `inet_csk_accept` (net/ipv4/inet_connection_sock.c), or of the system
/// call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Accept {
    /// [`kind::ACCEPT`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 7],
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The connection's cookie.
    pub cookie: u64,
    /// The process that called accept.
    pub process: Process,
}

/// The first transition out of SYN_RECV of a connection that a listener took.
///
/// LISTEN -> SYN_RECV happens microseconds earlier on a half-made socket, so this record has both
/// transitions.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Child {
    /// The transition, its kind [`kind::CHILD`].
    pub transition: Transition,
    /// Cookie of the listener, in the basic tier its address; 0 where the listener is not known or
    /// has no cookie. A listener from before the program was attached gets its cookie from a dump.
    pub listener: u64,
    /// Time of LISTEN -> SYN_RECV, `CLOCK_MONOTONIC`, ns.
    pub syn_recv_time: u64,
}

/// A transition to CLOSE of a connection, with the counters of its socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct End {
    /// The transition, its kind [`kind::END`].
    pub transition: Transition,
    /// `bytes_sent`, retransmitted ones included; as the next two, all bits set where unknown.
    pub bytes_sent: u64,
    /// `bytes_received`: data bytes in order.
    pub bytes_received: u64,
    /// `total_retrans`: segments.
    pub retransmits: u32,
    /// `srtt_us`: smoothed round trip time, µs times 8; 0 before the first, or where unknown.
    pub srtt_us: u32,
}

/// An event of a socket beside its transitions, 24 bytes; the kind names the event.
///
/// Source: tracepoint `tcp:tcp_send_reset`; `__inet_twsk_schedule`, `inet_twsk_deschedule_put` and
/// `tw_timer_handler` (net/ipv4/inet_timewait_sock.c); `tcp_connect` (net/ipv4/tcp_output.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Note {
    /// [`kind::RESET`], [`kind::MINISOCKET`] or [`kind::PORT`].
    pub kind: u8,
    /// The state that the kind describes; 0 for a [`kind::PORT`].
    pub state: u8,
    /// Local port of a [`kind::PORT`], host order.
    pub port: u16,
    /// Zero.
    pub reserved: [u8; 4],
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The socket's cookie.
    pub cookie: u64,
}

/// Indices into the per-CPU counters, which only grow and which only the kernel program writes.
pub mod counter {
    /// Transitions that found the ring buffer full.
    pub const LOST_TRANSITIONS: u32 = 0;
    /// Notes (RSTs, ports, TIME_WAIT buckets) and accepts that found the ring buffer full.
    pub const LOST_NOTES: u32 = 1;
    /// Accepted connections whose first transition was not kept until the next one.
    pub const LOST_BIRTHS: u32 = 2;
    /// Transitions that the standby program took, because the kernel skipped the first program.
    pub const STANDBY_TOOK: u32 = 3;
    /// Programs, copies and ends of processes that found their ring buffer full.
    pub const LOST_PROCESSES: u32 = 4;
    /// The number of counters.
    pub const COUNT: u32 = 5;
}

const _: () = {
    assert!(size_of::<Transition>() == 64);
    assert!(offset_of!(Transition, time) == 8);
    assert!(offset_of!(Transition, local_addr) == 24);
    assert!(offset_of!(Transition, netns) == 56);
    assert!(size_of::<Open>() == 120);
    assert!(offset_of!(Open, process) == 72);
    assert!(size_of::<Process>() == 48);
    assert!(offset_of!(Process, comm) == 16);
    assert!(offset_of!(Process, host_pid) == 32);
    assert!(size_of::<Child>() == 80);
    assert!(offset_of!(Child, listener) == 64);
    assert!(size_of::<End>() == 88);
    assert!(offset_of!(End, bytes_sent) == 64);
    assert!(size_of::<Note>() == 24);
    assert!(offset_of!(Note, time) == 8);
    assert!(size_of::<Accept>() == 72);
    assert!(offset_of!(Accept, process) == 24);
    assert!(size_of::<Socket>() == 88);
    assert!(offset_of!(Socket, cookie) == 8);
    assert!(offset_of!(Socket, netns) == 48);
    assert!(offset_of!(Socket, inode) == 56);
    assert!(offset_of!(Socket, recv_q) == 72);
    assert!(size_of::<Info>() == 80);
    assert!(offset_of!(Info, bytes_sent) == 48);
    assert!(size_of::<HeldSocket>() == 48);
    assert!(offset_of!(HeldSocket, inode) == 8);
    assert!(size_of::<Namespace>() == 40);
    assert!(offset_of!(Namespace, ehash) == 16);
    assert!(size_of::<WalkStep>() == 16);
    assert!(size_of::<FailedSocket>() == 16);
};
