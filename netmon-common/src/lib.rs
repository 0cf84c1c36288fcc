//! The wire ABI between netmon's kernel program and its user side.
//!
//! Owns the layout of every ring buffer record, of the offsets table that user space writes before
//! load, and of the loss counters. Plain integers and byte arrays with explicit padding, in the
//! byte order of the machine: both sides run on it. Nothing here knows what a record means.
//!
//! Every record starts with its kind; the kind decides its size. Through the ring buffer come
//! [`Transition`], [`Open`], [`Child`], [`End`], [`Note`] and [`Accept`]; iterators write [`Socket`],
//! [`Info`], [`Held`] and [`Failed`].
#![no_std]

mod filter;
mod offsets;

use core::mem::{offset_of, size_of};

pub use filter::{Clause, KernelFilter, MAX_CLAUSES};
pub use offsets::{Format, Offsets, UNKNOWN};

/// Kinds of ring buffer record: the first byte of each.
pub mod kind {
    /// A [`Transition`](crate::Transition) alone.
    pub const TRANSITION: u8 = 1;
    /// An [`Open`](crate::Open): a transition to SYN_SENT or LISTEN, with the process that made it.
    pub const OPEN: u8 = 2;
    /// A [`Child`](crate::Child): the first transition out of SYN_RECV of an accepted connection.
    pub const CHILD: u8 = 3;
    /// A [`Note`](crate::Note): a RST sent. Its state is the socket's at that moment; TIME_WAIT for every
    /// minisocket.
    pub const RESET: u8 = 4;
    /// A [`Socket`](crate::Socket) of a dump.
    pub const SOCKET: u8 = 5;
    /// An [`Info`](crate::Info) about the socket before it.
    pub const INFO: u8 = 6;
    /// A [`Held`](crate::Held): a process and a socket that it holds.
    pub const HELD: u8 = 7;
    /// An [`End`](crate::End): a transition to CLOSE, with what the connection had done.
    pub const END: u8 = 8;
    /// A [`Failed`](crate::Failed): a closed socket that a process holds, and why it closed.
    pub const FAILED: u8 = 9;
    /// A [`Note`](crate::Note): a minisocket has come to its state: TIME_WAIT, or CLOSE, which is its end.
    pub const MINISOCKET: u8 = 10;
    /// A [`Note`](crate::Note): a connect has its local port.
    pub const PORT: u8 = 11;
    /// An [`Accept`](crate::Accept): a process took a connection from its listener.
    pub const ACCEPT: u8 = 12;
}

/// The kernel's TCP states that the kernel program itself looks at (`include/net/tcp_states.h`).
pub mod state {
    /// TCP_ESTABLISHED
    pub const ESTABLISHED: u8 = 1;
    /// TCP_SYN_SENT
    pub const SYN_SENT: u8 = 2;
    /// TCP_SYN_RECV
    pub const SYN_RECV: u8 = 3;
    /// TCP_FIN_WAIT2
    pub const FIN_WAIT2: u8 = 5;
    /// TCP_TIME_WAIT
    pub const TIME_WAIT: u8 = 6;
    /// TCP_CLOSE
    pub const CLOSE: u8 = 7;
    /// TCP_LISTEN
    pub const LISTEN: u8 = 10;
    /// TCP_CLOSING
    pub const CLOSING: u8 = 11;
    /// TCP_NEW_SYN_RECV, the state of a request socket: half open
    pub const NEW_SYN_RECV: u8 = 12;
}

/// Bits of [`Transition::flags`], taken from the socket's flags (`enum sock_flags`).
pub mod flag {
    /// SOCK_DEAD: its process has closed it.
    pub const DEAD: u8 = 1 << 0;
    /// SOCK_DONE: the peer's FIN was taken.
    pub const DONE: u8 = 1 << 1;
    /// Not a socket flag: a minisocket has just been made of it. Only where that can be seen
    /// (`inet_twsk_hashdance`), and only on a transition to CLOSE.
    pub const MINISOCKET: u8 = 1 << 2;
    /// Not a socket flag: with [`MINISOCKET`], one that waits for the peer's FIN, in FIN_WAIT2.
    pub const WAITS: u8 = 1 << 3;
    /// SOCK_LINGER: SO_LINGER is set.
    pub const LINGER: u8 = 1 << 4;
    /// The bits of `sk_flags` that are sent.
    pub const MASK: u8 = DEAD | DONE | LINGER;
    /// Not a socket flag: the namespace had no TIME_WAIT bucket to spare, so there may be no
    /// minisocket. Only on a transition to CLOSE from FIN_WAIT2 or CLOSING.
    pub const BUCKETS_FULL: u8 = 1 << 5;
    /// Not a socket flag: a RST was taken just before (tracepoint `tcp:tcp_receive_reset`). Also when
    /// the kernel resets its own socket, which then sends one (`tcp_reset` in net/ipv4/tcp_input.c).
    pub const RESET_RECEIVED: u8 = 1 << 6;
}

/// `AF_INET`, as in [`Transition::family`].
pub const AF_INET: u8 = 2;
/// `AF_INET6`, as in [`Transition::family`].
pub const AF_INET6: u8 = 10;
/// `IPPROTO_TCP`: the tracepoint also reports SCTP and MPTCP sockets, which are passed over.
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
    /// One of [`kind`]: also when this is the head of an [`Open`] or a [`Child`].
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
    /// Index of the interface that the socket is bound to, 0 for none; 65535 for any above.
    pub interface: u16,
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The socket's cookie: unique for the life of the kernel. Of the program on the classic tracepoint, here
    /// and in every record: the address of the socket, which is unique until its transition to CLOSE.
    pub cookie: u64,
    /// Network order; IPv4 in the first four bytes.
    pub local_addr: [u8; 16],
    /// Network order; IPv4 in the first four bytes.
    pub remote_addr: [u8; 16],
    /// Inode number of the network namespace; 0 where that is unknown.
    pub netns: u32,
    /// Host order; 0 where the socket has none yet (SYN_SENT; LISTEN without a bind).
    pub local_port: u16,
    /// Host order; 0 for a listener.
    pub remote_port: u16,
}

/// A transition to SYN_SENT or LISTEN, which happens in the process that called connect or listen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Open {
    /// The transition, its kind [`kind::OPEN`].
    pub transition: Transition,
    /// Address of the `struct sock`: a handle to ask for the local port later, never an identity.
    pub sock: u64,
    /// Who called.
    pub process: Process,
}

/// A process, 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Process {
    /// cgroup v2 id.
    pub cgroup: u64,
    /// Process (thread group) id in the initial pid namespace; 0 for a kernel thread.
    pub pid: u32,
    /// User id in the initial user namespace.
    pub uid: u32,
    /// Name of the thread group's leader, NUL padded; empty where it is unknown.
    pub comm: [u8; COMM_LEN],
}

/// A process that took a connection from its listener, 56 bytes.
///
/// Source: the return of `inet_csk_accept` (net/ipv4/inet_connection_sock.c), or of the system call.
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
    /// Who called.
    pub process: Process,
}

/// The first transition out of SYN_RECV of a connection that a listener took.
///
/// LISTEN -> SYN_RECV happens microseconds earlier on a half-made socket, so it is sent with this.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Child {
    /// The transition, its kind [`kind::CHILD`].
    pub transition: Transition,
    /// Cookie of the listener; 0 when it listened before the program was attached.
    pub listener: u64,
    /// When LISTEN -> SYN_RECV happened, `CLOCK_MONOTONIC`, ns.
    pub syn_recv_time: u64,
}

/// A transition to CLOSE of a connection, with what its socket had counted until then.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct End {
    /// The transition, its kind [`kind::END`].
    pub transition: Transition,
    /// `bytes_sent`: data bytes, retransmitted ones included.
    pub bytes_sent: u64,
    /// `bytes_received`: data bytes in order.
    pub bytes_received: u64,
    /// `total_retrans`: segments.
    pub retransmits: u32,
    /// `srtt_us`: smoothed round trip time, µs times 8; 0 before the first.
    pub srtt_us: u32,
}

/// Something that befell a socket beside its transitions, 24 bytes: what, its kind says.
///
/// Source: tracepoint `tcp:tcp_send_reset`; `__inet_twsk_schedule`, `inet_twsk_deschedule_put` and
/// `tw_timer_handler` (net/ipv4/inet_timewait_sock.c); `tcp_connect` (net/ipv4/tcp_output.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Note {
    /// [`kind::RESET`], [`kind::MINISOCKET`] or [`kind::PORT`].
    pub kind: u8,
    /// A state, as the kind says.
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

/// One socket of a dump, 88 bytes.
///
/// Source: the iterators `iter/tcp` and `iter/udp` (net/ipv4/tcp_ipv4.c, net/ipv4/udp.c), and per
/// field what `/proc/net/tcp` and sock_diag take (`get_tcp4_sock`, `inet_diag_msg_common_fill`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Socket {
    /// [`kind::SOCKET`].
    pub kind: u8,
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub protocol: u8,
    /// The kernel's number; that of a minisocket is what it stands in for.
    pub state: u8,
    /// `AF_INET` or `AF_INET6`: the socket's.
    pub family: u8,
    /// Which [`timer`] runs.
    pub timer: u8,
    /// Retransmissions by timeout of what is not acknowledged.
    pub retransmits: u8,
    /// Probes sent, of a closed window or a silent peer.
    pub probes: u8,
    /// Bits of [`has`].
    pub has: u8,
    /// The socket's cookie.
    pub cookie: u64,
    /// Network order; IPv4 in the first four bytes.
    pub local_addr: [u8; 16],
    /// Network order; IPv4 in the first four bytes.
    pub remote_addr: [u8; 16],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Host order.
    pub local_port: u16,
    /// Host order.
    pub remote_port: u16,
    /// Inode number; 0 where no process can hold it.
    pub inode: u64,
    /// cgroup v2 id; 0 where it was not asked for, or is unknown.
    pub cgroup: u64,
    /// Bytes not read by the process; connections not accepted of a listener.
    pub recv_q: u32,
    /// Bytes not acknowledged by the peer; most that may wait to be accepted of a listener.
    pub send_q: u32,
    /// Until the timer expires, in the kernel's ticks; negative when it should have.
    pub ticks: i32,
    /// User id in the initial user namespace.
    pub uid: u32,
}

/// Values of [`Socket::timer`]: those of `/proc/net/tcp` and sock_diag.
pub mod timer {
    /// None.
    pub const OFF: u8 = 0;
    /// Retransmission, early retransmit or tail loss probe.
    pub const ON: u8 = 1;
    /// Keepalive.
    pub const KEEPALIVE: u8 = 2;
    /// The end of a minisocket.
    pub const TIME_WAIT: u8 = 3;
    /// Zero window probe.
    pub const PROBE: u8 = 4;
}

/// Bits of [`Socket::has`].
pub mod has {
    /// An [`Info`](crate::Info) follows.
    pub const INFO: u8 = 1 << 0;
    /// It is a full socket, not a minisocket: it has a user id.
    pub const UID: u8 = 1 << 1;
}

/// What TCP knows about a connection, a part of `struct tcp_info`; 80 bytes.
///
/// Source: `struct tcp_sock`, as `tcp_get_info` (net/ipv4/tcp.c) takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Info {
    /// [`kind::INFO`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Smoothed round trip time, µs times 8.
    pub srtt_us: u32,
    /// Its mean deviation, µs times 4.
    pub mdev_us: u32,
    /// Retransmission timeout, in the kernel's ticks.
    pub rto: u32,
    /// Congestion window, segments.
    pub snd_cwnd: u32,
    /// Slow start threshold, segments.
    pub snd_ssthresh: u32,
    /// Retransmitted segments that are not acknowledged.
    pub retrans_out: u32,
    /// Retransmitted segments in all.
    pub total_retrans: u32,
    /// Maximum segment size to send, bytes.
    pub mss_cache: u32,
    /// Segments delivered in the last sample.
    pub rate_delivered: u32,
    /// The time that took, µs.
    pub rate_interval_us: u32,
    /// Segments sent and not acknowledged.
    pub packets_out: u32,
    /// Data bytes sent, retransmitted ones included.
    pub bytes_sent: u64,
    /// Data bytes that the peer acknowledged.
    pub bytes_acked: u64,
    /// Data bytes received in order.
    pub bytes_received: u64,
    /// Data bytes retransmitted.
    pub bytes_retrans: u64,
}

/// One process that holds a socket, 32 bytes; one for each descriptor.
///
/// Source: the iterator `iter/task_file` (kernel/bpf/task_iter.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Held {
    /// [`kind::HELD`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Process (thread group) id in the initial pid namespace.
    pub pid: u32,
    /// Inode number of the socket.
    pub inode: u64,
    /// Name of the thread group's leader, NUL padded.
    pub comm: [u8; COMM_LEN],
}

/// A TCP socket that failed and that a process still holds, which has not asked why; 16 bytes.
///
/// In a dump for a stream ([`Wanted::seed`]), after its [`Held`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Failed {
    /// [`kind::FAILED`].
    pub kind: u8,
    /// `sk_err`.
    pub errno: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// The socket's cookie; 0 when nobody has asked for it yet.
    pub cookie: u64,
}

/// What dumps are to contain: user space writes it before load, frozen like [`Offsets`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Wanted {
    /// Not 0: an [`Info`] after each full TCP socket but listeners.
    pub info: u32,
    /// Not 0: [`Socket::cgroup`].
    pub cgroup: u32,
    /// Not 0: the dump is for a stream that follows. Listeners pass the filter, as what they take has
    /// their owner, and from now on leave it their cookie.
    pub seed: u32,
}

/// Indices into the per-CPU counters: monotonic, written by the kernel side only.
pub mod counter {
    /// Transitions that found the ring buffer full.
    pub const LOST_TRANSITIONS: u32 = 0;
    /// Resets that found the ring buffer full.
    pub const LOST_NOTES: u32 = 1;
    /// Accepted connections whose beginning could not be kept until they were to be told about.
    pub const LOST_BIRTHS: u32 = 2;
    /// Transitions that the program on standby took: those that the kernel skipped the first one for.
    pub const STANDBY_TOOK: u32 = 3;
    /// How many there are.
    pub const COUNT: u32 = 4;
}

const _: () = {
    assert!(size_of::<Transition>() == 64);
    assert!(offset_of!(Transition, time) == 8);
    assert!(offset_of!(Transition, local_addr) == 24);
    assert!(offset_of!(Transition, netns) == 56);
    assert!(size_of::<Open>() == 104);
    assert!(offset_of!(Open, process) == 72);
    assert!(size_of::<Process>() == 32);
    assert!(offset_of!(Process, comm) == 16);
    assert!(size_of::<Child>() == 80);
    assert!(offset_of!(Child, listener) == 64);
    assert!(size_of::<End>() == 88);
    assert!(offset_of!(End, bytes_sent) == 64);
    assert!(size_of::<Note>() == 24);
    assert!(offset_of!(Note, time) == 8);
    assert!(size_of::<Accept>() == 56);
    assert!(offset_of!(Accept, process) == 24);
    assert!(size_of::<Socket>() == 88);
    assert!(offset_of!(Socket, cookie) == 8);
    assert!(offset_of!(Socket, netns) == 48);
    assert!(offset_of!(Socket, inode) == 56);
    assert!(offset_of!(Socket, recv_q) == 72);
    assert!(size_of::<Info>() == 80);
    assert!(offset_of!(Info, bytes_sent) == 48);
    assert!(size_of::<Held>() == 32);
    assert!(offset_of!(Held, inode) == 8);
    assert!(size_of::<Failed>() == 16);
};
