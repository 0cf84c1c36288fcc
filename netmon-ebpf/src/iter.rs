//! Dumps: every TCP and UDP socket of a namespace, and the processes that hold sockets.
//!
//! The programs are BPF iterators: the kernel runs them while user space reads a file, which user
//! space opened in the namespace of the dump. A dump is no snapshot, because the tables change
//! while they are walked. A record that does not fit the reader's buffer is written again at the
//! next read, so no record is lost.

use core::{ffi::c_void, mem::size_of, ptr::addr_of};

use aya_ebpf::{
    Global,
    helpers::{bpf_jiffies64, bpf_probe_read_kernel, bpf_seq_write, bpf_sock_from_file},
};
use netmon_common::{
    AF_INET6, DumpOptions, FailedSocket, HeldSocket, IPPROTO_TCP, IPPROTO_UDP, Info, Socket, has,
    kind, state, timer,
};

use crate::{
    filter, netns,
    offsets::{load, offset},
    pid_namespace::ProcessNumbers,
    sock::{Sock, SockAccess, v6only},
};

/// The optional contents of dumps, written by user space before load.
#[unsafe(no_mangle)]
static DUMP_OPTIONS: Global<DumpOptions> = Global::new(DumpOptions { info: 0, cgroup: 0, seed: 0 });

/// One entry of [`DUMP_OPTIONS`], a constant to the verifier.
macro_rules! dump_option {
    ($field:ident) => {
        has_option(::core::mem::offset_of!(DumpOptions, $field))
    };
}

#[inline(always)]
fn has_option(at: usize) -> bool {
    // SAFETY: `at` is an `offset_of!` the table; volatile, as for `offset!`.
    unsafe { load::<u32>(addr_of!(DUMP_OPTIONS).cast(), at) != 0 }
}

/// The context that the kernel hands to an iterator: `struct bpf_iter__tcp` and its like.
#[derive(Clone, Copy)]
struct Context(*const u8);

impl Context {
    /// Returns the member at `offset`; pointers take eight bytes each.
    #[inline(always)]
    fn member<T>(self, offset: usize) -> T {
        // SAFETY: the verifier knows the context's members and checks the offset.
        unsafe { load(self.0, offset) }
    }

    /// Returns the object of this step; `None` at the last step, which has no object.
    #[inline(always)]
    fn object(self, offset: usize) -> Option<Sock> {
        Sock::new(self.member(offset))
    }

    /// Hands `record` to the reader.
    #[inline(always)]
    fn write<T>(self, record: &T) {
        // SAFETY: `meta` and its `seq` are the first members, and `record` is initialised memory
        // without padding. After a failure the kernel itself repeats this step.
        unsafe {
            let meta: *const u8 = self.member(0);
            let seq: *mut c_void = load(meta, 0);
            let from = core::ptr::from_ref(record).cast_mut().cast();
            bpf_seq_write(seq.cast(), from, size_of::<T>() as u32);
        }
    }
}

/// TCP sockets of every kind: full sockets, TIME_WAIT buckets, request sockets.
// Each arm handles its kind to the end: the verifier does not remember which states were excluded.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub fn dump_tcp(ctx: *mut c_void) -> i32 {
    let ctx = Context(ctx.cast());
    let Some(sock) = ctx.object(8) else { return 0 };
    match sock.state() {
        state::TIME_WAIT => timewait(ctx, sock),
        state::NEW_SYN_RECV => request(ctx, sock),
        state => full(ctx, sock, state),
    }
    0
}

/// UDP sockets.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/udp")]
pub fn dump_udp(ctx: *mut c_void) -> i32 {
    let ctx = Context(ctx.cast());
    let Some(sock) = ctx.object(8) else { return 0 };
    let Some(mut out) = describe(sock, IPPROTO_UDP as u8, sock.state()) else { return 0 };
    out.has |= has::UID;
    out.uid = ctx.member(16);
    held_by(sock, &mut out);
    // `udp_rqueue_get` (include/net/udp.h) and `sk_wmem_alloc_get` (include/net/sock.h).
    let taken: u32 = sock.load(offset!(sk_rmem_alloc));
    out.recv_q = taken.wrapping_sub(sock.load(offset!(udp_forward_deficit)));
    let sent: u32 = sock.load(offset!(sk_wmem_alloc));
    out.send_q = sent.wrapping_sub(1);
    ctx.write(&out);
    0
}

/// Sockets among the open files of every process.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub fn dump_held(ctx: *mut c_void) -> i32 {
    held(Context(ctx.cast()), Sock::cookie)
}

/// The same, for kernels that refuse to make a cookie here: builds of Linux 6.18 do not trust the
/// `sk` of a `struct socket`. Such a dump has the sockets without a cookie by the iterator of TCP.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub fn dump_held_as_is(ctx: *mut c_void) -> i32 {
    held(Context(ctx.cast()), |sock| sock.load(offset!(skc_cookie)))
}

#[inline(always)]
fn held(ctx: Context, cookie_of: impl FnOnce(Sock) -> u64) -> i32 {
    let task: *const u8 = ctx.member(8);
    let file: *const u8 = ctx.member(24);
    if task.is_null() || file.is_null() {
        return 0;
    }
    // SAFETY: the helper takes the iterator's file.
    let socket: *const u8 = unsafe { bpf_sock_from_file(file.cast_mut().cast()) }.cast();
    if socket.is_null() {
        return 0;
    }
    // A walk cannot make the cookie, and knows a socket by nothing else.
    let cookie = if dump_option!(seed) { cookie(socket, cookie_of) } else { 0 };
    // SAFETY: loads through BTF pointers.
    let out = unsafe {
        let inode: *const u8 = load(file, offset!(file_inode));
        let leader: *const u8 = load(task, offset!(task_group_leader));
        let mut comm = [0; netmon_common::COMM_LEN];
        let words = comm.as_mut_ptr().cast::<u64>();
        words.write_unaligned(load(leader, offset!(task_comm)));
        words.add(1).write_unaligned(load(leader, offset!(task_comm) + 8));
        let numbers = ProcessNumbers::of(leader as u64, load(task, offset!(task_tgid)));
        HeldSocket {
            kind: kind::HELD,
            reserved: [0; 3],
            pid: numbers.pid,
            inode: load(inode, offset!(inode_ino)),
            cookie,
            comm,
            host_pid: numbers.host_pid,
            reserved_end: 0,
        }
    };
    ctx.write(&out);
    if dump_option!(seed) {
        failed(ctx, socket);
    }
    0
}

/// Returns the cookie of a TCP socket; 0 for other sockets.
#[inline(always)]
fn cookie(socket: *const u8, cookie_of: impl FnOnce(Sock) -> u64) -> u64 {
    // SAFETY: a load through a BTF pointer.
    let Some(sock) = Sock::new(unsafe { load(socket, offset!(socket_sk)) }) else { return 0 };
    if sock.protocol() == IPPROTO_TCP { cookie_of(sock) } else { 0 }
}

/// Writes the error of a closed TCP socket, for sockets whose end no hook saw.
#[inline(always)]
fn failed(ctx: Context, socket: *const u8) {
    // SAFETY: a load through a BTF pointer.
    let Some(sock) = Sock::new(unsafe { load(socket, offset!(socket_sk)) }) else { return };
    let errno: u32 = sock.load(offset!(sk_err));
    if errno != 0 && sock.state() == state::CLOSE && sock.protocol() == IPPROTO_TCP {
        let cookie = sock.load(offset!(skc_cookie));
        let errno = errno as u8;
        ctx.write(&FailedSocket { kind: kind::FAILED, errno, reserved: [0; 6], cookie });
    }
}

/// Describes the fields that every kind of socket has, TIME_WAIT buckets included. Returns `None`
/// for a socket that the filter does not admit.
#[inline(always)]
fn describe(sock: Sock, protocol: u8, state: u8) -> Option<Socket> {
    let family: u16 = sock.load(offset!(skc_family));
    let remote_port: u16 = sock.load(offset!(skc_dport));
    // SAFETY: plain integers.
    let mut out: Socket = unsafe { core::mem::zeroed() };
    (out.kind, out.protocol, out.state, out.family) = (kind::SOCKET, protocol, state, family as u8);
    out.netns = netns::inum::<Sock>(sock.net());
    out.local_port = sock.load(offset!(skc_num));
    out.remote_port = u16::from_be(remote_port);
    let is_seed = dump_option!(seed) && state == state::LISTEN;
    if !is_seed && !filter::admits(state, out.family, out.netns, out.local_port, out.remote_port) {
        return None;
    }
    out.cookie = sock.cookie();
    out.interface = sock.load(offset!(skc_bound_dev_if));
    if state == state::LISTEN || state == state::CLOSE {
        out.has = match v6only(sock, family) {
            Some(true) => has::V6ONLY,
            Some(false) => has::DUAL_STACK,
            None => 0,
        };
    }
    if family == AF_INET6 as u16 {
        out.local_addr = sock.load(offset!(skc_v6_rcv_saddr));
        out.remote_addr = sock.load(offset!(skc_v6_daddr));
    } else {
        let local: [u8; 4] = sock.load(offset!(skc_rcv_saddr));
        let remote: [u8; 4] = sock.load(offset!(skc_daddr));
        out.local_addr[..4].copy_from_slice(&local);
        out.remote_addr[..4].copy_from_slice(&remote);
    }
    Some(out)
}

/// Reads a field of a TIME_WAIT bucket or a request socket, beyond the fields that all sockets
/// share.
///
/// Helpers such as `bpf_skc_to_tcp_timewait_sock` would give the verifier the type. But they know
/// plain TCP only, not the sockets that MPTCP and sockmaps make of it. The state shows the type as
/// well.
#[inline(always)]
fn beyond<T>(sock: Sock, offset: usize) -> Option<T> {
    // SAFETY: a probe read takes any address.
    unsafe { bpf_probe_read_kernel((sock.address() as usize + offset) as *const T).ok() }
}

/// Writes a TIME_WAIT bucket, which is in TIME_WAIT or in FIN_WAIT2.
#[inline(always)]
fn timewait(ctx: Context, sock: Sock) {
    let substate = beyond(sock, offset!(tw_substate)).unwrap_or(state::TIME_WAIT);
    let Some(mut out) = describe(sock, IPPROTO_TCP as u8, substate) else { return };
    out.timer = timer::TIME_WAIT;
    out.ticks = beyond(sock, offset!(tw_timer_expires)).map_or(0, until);
    ctx.write(&out);
}

/// Writes a request socket: a half-open connection, whose SYN-ACK is not acknowledged yet.
#[inline(always)]
fn request(ctx: Context, sock: Sock) {
    let Some(mut out) = describe(sock, IPPROTO_TCP as u8, state::SYN_RECV) else { return };
    out.has = has::UID;
    out.uid = ctx.member(16);
    out.timer = timer::ON;
    out.ticks = beyond(sock, offset!(rsk_timer_expires)).map_or(0, until);
    let bits: u8 = beyond(sock, offset!(rsk_num_retrans) + 1).unwrap_or(0);
    out.retransmits = bits >> 1;
    ctx.write(&out);
}

/// Writes a full socket.
#[inline(always)]
fn full(ctx: Context, sock: Sock, state: u8) {
    let Some(tcp) = sock.tcp() else { return };
    let Some(mut out) = describe(sock, IPPROTO_TCP as u8, state) else { return };
    out.has |= has::UID;
    out.uid = ctx.member(16);
    queues(tcp, state, &mut out);
    if dump_option!(info) && state != state::LISTEN {
        out.has |= has::INFO;
        ctx.write(&out);
        ctx.write(&info(tcp));
    } else {
        ctx.write(&out);
    }
}

/// Fills in the queues and timers of a full socket, as `get_tcp4_sock` (net/ipv4/tcp_ipv4.c) takes
/// them.
#[inline(always)]
fn queues(tcp: Sock, state: u8, out: &mut Socket) {
    held_by(tcp, out);
    if state == state::LISTEN {
        out.recv_q = tcp.load(offset!(sk_ack_backlog));
        out.send_q = tcp.load(offset!(sk_max_ack_backlog));
    } else {
        let next: u32 = tcp.load(offset!(rcv_nxt));
        let unread = next.wrapping_sub(tcp.load(offset!(copied_seq)));
        // A FIN may count in only one of the two sequence numbers: no queue is negative.
        out.recv_q = if (unread as i32) < 0 { 0 } else { unread };
        let written: u32 = tcp.load(offset!(write_seq));
        out.send_q = written.wrapping_sub(tcp.load(offset!(snd_una)));
    }
    out.retransmits = tcp.load(offset!(icsk_retransmits));
    out.probes = tcp.load(offset!(icsk_probes_out));
    /// `ICSK_TIME_*` (include/net/inet_connection_sock.h).
    const RETRANS: u8 = 1;
    const PROBE0: u8 = 3;
    const LOSS_PROBE: u8 = 5;
    const REO_TIMEOUT: u8 = 6;
    let pending: u8 = tcp.load(offset!(icsk_pending));
    let expires: u64 = if pending == RETRANS || pending == REO_TIMEOUT || pending == LOSS_PROBE {
        out.timer = timer::ON;
        tcp.load(offset!(icsk_timeout))
    } else if pending == PROBE0 {
        out.timer = timer::PROBE;
        tcp.load(offset!(icsk_timeout))
    } else if tcp.load::<u64>(offset!(sk_timer_pprev)) != 0 {
        out.timer = timer::KEEPALIVE;
        tcp.load(offset!(sk_timer_expires))
    } else {
        return;
    };
    out.ticks = until(expires);
}

/// Fills in the inode, which leads to the processes that hold a full socket, and the cgroup.
#[inline(always)]
fn held_by(sock: Sock, out: &mut Socket) {
    // SAFETY: loads through BTF pointers; the kernel answers 0 where one is NULL.
    unsafe {
        if offset!(sk_ino) != 0 {
            out.inode = sock.load::<u64>(offset!(sk_ino)) as u32;
        } else {
            let socket: *const u8 = sock.load(offset!(sk_socket));
            let file: *const u8 = load(socket, offset!(socket_file));
            let inode: *const u8 = load(file, offset!(file_inode));
            out.inode = load::<u64>(inode, offset!(inode_ino)) as u32;
        }
        if dump_option!(cgroup) && offset!(sk_cgroup) != 0 {
            let cgroup: *const u8 = sock.load(offset!(sk_cgroup));
            let node: *const u8 = load(cgroup, offset!(cgroup_kn));
            out.cgroup = load(node, offset!(kn_id));
        }
    }
}

#[inline(always)]
fn info(tcp: Sock) -> Info {
    Info {
        kind: kind::INFO,
        reserved: [0; 3],
        srtt_us: tcp.load(offset!(srtt_us)),
        mdev_us: tcp.load(offset!(mdev_us)),
        rto: tcp.load(offset!(icsk_rto)),
        snd_cwnd: tcp.load(offset!(snd_cwnd)),
        snd_ssthresh: tcp.load(offset!(snd_ssthresh)),
        retrans_out: tcp.load(offset!(retrans_out)),
        total_retrans: tcp.load(offset!(total_retrans)),
        mss_cache: tcp.load(offset!(mss_cache)),
        rate_delivered: tcp.load(offset!(rate_delivered)),
        rate_interval_us: tcp.load(offset!(rate_interval_us)),
        packets_out: tcp.load(offset!(packets_out)),
        bytes_sent: tcp.load(offset!(bytes_sent)),
        bytes_acked: tcp.load(offset!(bytes_acked)),
        bytes_received: tcp.load(offset!(bytes_received)),
        bytes_retrans: tcp.load(offset!(bytes_retrans)),
    }
}

/// Returns the ticks from now to `expires`, which is in jiffies.
#[inline(always)]
fn until(expires: u64) -> i32 {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_jiffies64() };
    expires.wrapping_sub(now).cast_signed().clamp(-1_000_000_000, 1_000_000_000) as i32
}
