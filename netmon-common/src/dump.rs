//! Records of dumps.

use crate::COMM_LEN;

/// One socket of a dump, 88 bytes.
///
/// Source: the iterators `iter/tcp` and `iter/udp` (net/ipv4/tcp_ipv4.c, net/ipv4/udp.c). Each
/// field is taken as for `/proc/net/tcp` and sock_diag (`get_tcp4_sock`,
/// `inet_diag_msg_common_fill`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Socket {
    /// [`crate::kind::SOCKET`].
    pub kind: u8,
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub protocol: u8,
    /// State, the kernel's number; for a TIME_WAIT bucket the state that the bucket stands for.
    pub state: u8,
    /// Family of the socket, `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// The [`timer`] that runs.
    pub timer: u8,
    /// Retransmissions by timeout of data that is not acknowledged.
    pub retransmits: u8,
    /// Probes of a closed window or a silent peer that were sent.
    pub probes: u8,
    /// Bits of [`has`].
    pub has: u8,
    /// The socket's cookie.
    pub cookie: u64,
    /// Local address, network order; IPv4 in the first four bytes.
    pub local_addr: [u8; 16],
    /// Remote address, network order; IPv4 in the first four bytes.
    pub remote_addr: [u8; 16],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
    /// Inode number of the socket, of 32 bits (`get_next_ino`, fs/inode.c); 0 where no process can
    /// hold the socket.
    pub inode: u32,
    /// Index of the interface that the socket is bound to, 0 for none.
    pub interface: u32,
    /// cgroup v2 id; 0 where not requested or unknown.
    pub cgroup: u64,
    /// Bytes that the process has not read; for a listener, connections not accepted.
    pub recv_q: u32,
    /// Bytes that the peer has not acknowledged; for a listener, the most that may wait.
    pub send_q: u32,
    /// Time until the timer expires, in the kernel's ticks; negative when the timer is overdue.
    pub ticks: i32,
    /// User id in the initial user namespace.
    pub uid: u32,
}

/// Values of [`Socket::timer`], as in `/proc/net/tcp` and sock_diag.
pub mod timer {
    /// No timer.
    pub const OFF: u8 = 0;
    /// Retransmission, early retransmit or tail loss probe.
    pub const ON: u8 = 1;
    /// Keepalive.
    pub const KEEPALIVE: u8 = 2;
    /// The end of a TIME_WAIT bucket.
    pub const TIME_WAIT: u8 = 3;
    /// Zero window probe.
    pub const PROBE: u8 = 4;
}

/// Bits of [`Socket::has`].
pub mod has {
    /// An [`Info`](crate::Info) follows.
    pub const INFO: u8 = 1 << 0;
    /// The socket has a user id: a full socket or a request socket, no TIME_WAIT bucket.
    pub const UID: u8 = 1 << 1;
    /// The socket waits for others and takes IPv6 only (IPV6_V6ONLY).
    pub const V6ONLY: u8 = 1 << 2;
    /// The socket, of AF_INET6, waits for others and takes IPv4 too.
    pub const DUAL_STACK: u8 = 1 << 3;
}

/// Measurements of a TCP connection, a part of `struct tcp_info`; 80 bytes.
///
/// Source: `struct tcp_sock`, as `tcp_get_info` (net/ipv4/tcp.c) takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Info {
    /// [`crate::kind::INFO`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Smoothed round trip time, µs times 8.
    pub srtt_us: u32,
    /// Mean deviation of the round trip time, µs times 4.
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
    /// Duration of the last sample, µs.
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

/// A process that holds a socket, 48 bytes; one record for each descriptor.
///
/// Source: the iterator `iter/task_file` (kernel/bpf/task_iter.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct HeldSocket {
    /// [`crate::kind::HELD`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Process (thread group) id, as in [`crate::Process::pid`].
    pub pid: u32,
    /// Inode number of the socket.
    pub inode: u64,
    /// The cookie of a TCP socket, in a dump for a stream; else 0.
    pub cookie: u64,
    /// Name of the thread group's leader, NUL padded.
    pub comm: [u8; COMM_LEN],
    /// As in [`crate::Process::host_pid`].
    pub host_pid: u32,
    /// Zero.
    pub reserved_end: u32,
}

/// A TCP socket that failed, held by a process that has not read the error yet; 16 bytes.
///
/// Only in a dump for a stream ([`DumpOptions::seed`]), after the [`HeldSocket`] of the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct FailedSocket {
    /// [`crate::kind::FAILED`].
    pub kind: u8,
    /// `sk_err`.
    pub errno: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// The socket's cookie; 0 for a socket without one.
    pub cookie: u64,
}

/// The optional contents of dumps. User space writes this table before load; it is frozen like
/// [`crate::Offsets`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct DumpOptions {
    /// Not 0: an [`Info`] follows each full TCP socket except listeners.
    pub info: u32,
    /// Not 0: dumps fill [`Socket::cgroup`].
    pub cgroup: u32,
    /// Not 0: the dump is for a stream that follows. Listeners pass the filter, because a
    /// connection has the owner of its listener. The dump gives each listener a cookie, which later
    /// connections refer to.
    pub seed: u32,
}
