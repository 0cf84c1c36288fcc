//! `inet_sock_set_state`: every TCP state transition of the host, in every namespace.
//!
//! The kernel skips a tracing program on a CPU that is running it already (`__bpf_trace_run`,
//! kernel/trace/bpf_trace.c): a softirq in its midst would go unseen. So there are two on the
//! tracepoint, one after the other. The first does the work and leaves a sign; the second, on standby,
//! finds the sign and returns, or else does the work itself. They are never both in the midst of it.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, map},
    maps::{LruHashMap, PerCpuArray},
    programs::BtfTracePointContext,
};
use aya_log_ebpf::{debug, warn};
use netmon_common::{Child, End, IPPROTO_TCP, Open, Transition, counter, flag, kind, state};

use crate::{
    filter, minisocket, netns,
    offsets::offset,
    reset,
    ring::{count, reserve},
    sock::{Listener, Sock, SockAccess, TransitionWords},
};

/// How a connection began that a listener took, until there is something to tell.
#[repr(C)]
#[derive(Clone, Copy)]
struct Birth {
    /// Address of the child; 0 for none.
    child: u64,
    /// When it went from LISTEN to SYN_RECV, ns.
    time: u64,
    /// What user space knows the listener by; 0 where that is unknown.
    listener: u64,
}

/// The latest on this CPU: a child's next transition follows in the same softirq (`tcp_child_process`).
#[map]
static LATEST: PerCpuArray<Birth> = PerCpuArray::with_max_entries(1, 0);

/// But for those of TCP Fast Open, which wait for their handshake: by the address of the child.
#[map]
static BIRTHS: LruHashMap<u64, Birth> = LruHashMap::with_max_entries(8192, 0);

/// What tells a transition from any other on this CPU.
#[repr(C)]
#[derive(Clone, Copy)]
struct InFlight {
    sock: u64,
    states: u64,
    /// When it was left, ns.
    time: u64,
}

/// The program on standby comes this soon after the first, ns; else its part was skipped, and the sign is
/// a stale one. Should something have kept it for longer, it does the work again, and user space sees
/// the same transition twice.
const SOON: u64 = 10_000_000;

impl InFlight {
    #[inline(always)]
    fn new(sk: Sock, old: u8, new: u8, time: u64) -> Self {
        Self { sock: sk.address(), states: (old as u64) << 8 | new as u64, time }
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        self.sock == other.sock && self.states == other.states
    }

    /// Makes it one of no transition. Its states stay: to write all of it would be a loop.
    #[inline(always)]
    fn clear(&mut self) {
        self.sock = 0;
        self.time = 0;
    }
}

/// Transitions that the first program took on this CPU, and the one on standby has not passed yet.
#[repr(C)]
struct InFlightPair {
    latest: InFlight,
    /// The one that `latest` came in the midst of, with those before it.
    outer: InFlight,
}

#[map]
static IN_FLIGHT: PerCpuArray<InFlightPair> = PerCpuArray::with_max_entries(1, 0);

/// `tp_btf/inet_sock_set_state(const struct sock *sk, int oldstate, int newstate)`.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let Some((sk, old, new)) = arguments(&ctx) else { return 0 };
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    if let Some(taken) = IN_FLIGHT.get_ptr_mut(0) {
        // SAFETY: the lookup returned this CPU's slot.
        unsafe {
            if (*taken).outer.time + SOON < time {
                (*taken).outer = (*taken).latest;
            }
            (*taken).latest = InFlight::new(sk, old, new, time);
        }
    }
    handle(&ctx, sk, old, new, time);
    0
}

/// The same on standby: attached after the first, so that it runs after it.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn standby(ctx: BtfTracePointContext) -> i32 {
    let Some((sk, old, new)) = arguments(&ctx) else { return 0 };
    let Some(taken) = IN_FLIGHT.get_ptr_mut(0) else { return 0 };
    let sign = InFlight::new(sk, old, new, 0);
    // SAFETY: as above.
    unsafe {
        if (*taken).latest.is(sign) {
            (*taken).latest = (*taken).outer;
            (*taken).outer.clear();
            return 0;
        }
        // Those that came while this one was about to look, and for which it was skipped, left theirs on top.
        if (*taken).outer.is(sign) {
            (*taken).latest.clear();
            (*taken).outer.clear();
            return 0;
        }
    }
    count(counter::STANDBY_TOOK);
    // SAFETY: a helper without arguments.
    handle(&ctx, sk, old, new, unsafe { bpf_ktime_get_ns() });
    0
}

/// Socket and states of a transition of TCP.
#[inline(always)]
fn arguments(ctx: &BtfTracePointContext) -> Option<(Sock, u8, u8)> {
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    let sk = Sock::new(ctx.arg(0))?;
    // 5 -> 5 is a close() after shutdown(): the descriptor's end, no transition.
    (old != new && sk.protocol() == IPPROTO_TCP).then_some((sk, old as u8, new as u8))
}

/// Tells user space of a transition, if it wants to know.
#[inline(always)]
pub fn handle(ctx: &impl EbpfContext, sk: impl SockAccess, old: u8, new: u8, time: u64) {
    if !filter::admits_transition(sk, old, new) {
        if old == state::SYN_RECV {
            forget(sk);
        }
        return;
    }
    if (old, new) == (state::LISTEN, state::SYN_RECV) {
        return remember_child(ctx, sk, time);
    }
    if (old, new) == (state::SYN_SENT, state::SYN_RECV) {
        // A simultaneous open.
        forget(sk);
    }
    // Once, for all kinds of records: a copy in each would be a program six times as large, and the verifier would
    // go through all of them.
    let words = record_words(sk, old, new, time);
    match (old, new) {
        (_, state::SYN_SENT | state::LISTEN) => emit_open(ctx, sk, words, new),
        (state::SYN_RECV, _) => emit_child(sk, words),
        (state::LISTEN, _) => emit_transition(words),
        (_, state::CLOSE) => emit_close(sk, words),
        _ => emit_transition(words),
    }
}

/// [`flag::BUCKETS_FULL`] when `inet_twsk_alloc` may have refused a minisocket, else 0.
///
/// It refuses while `tw_refcount - 1 >= sysctl_max_tw_buckets`; one that was just made counts.
#[inline(always)]
fn buckets_full<S: SockAccess>(net: *const u8) -> u8 {
    if offset!(net_tw_refcount) == 0 {
        return 0;
    }
    let count: i32 = S::net_field(net, offset!(net_tw_refcount));
    let most: i32 = S::net_field(net, offset!(net_max_tw_buckets));
    if count - 1 >= most { flag::BUCKETS_FULL } else { 0 }
}

/// A [`Transition`] without its kind, in the words that it is made of.
#[inline(always)]
fn record_words<S: SockAccess>(sk: S, old: u8, new: u8, time: u64) -> TransitionWords {
    let family = sk.family();
    let flags: u64 = sk.field(offset!(skc_flags));
    let errno: u32 = sk.field(offset!(sk_err));
    let mut flags = flags as u8 & flag::MASK;
    let id = sk.id();
    let net = sk.net();
    if new == state::CLOSE {
        if old == state::FIN_WAIT2 || old == state::CLOSING {
            flags |= buckets_full::<S>(net) | minisocket::was_made(id);
        }
        if reset::was_received(id) {
            flags |= flag::RESET_RECEIVED;
        }
    }
    let interface: u32 = sk.field(offset!(skc_bound_dev_if));
    let interface = if interface < 0xffff { interface as u64 } else { 0xffff };
    let netns = netns::inum::<S>(net);
    let [local, local_rest, remote, remote_rest] = sk.addresses(family);
    [
        (old as u64) << 8
            | (new as u64) << 16
            | (family as u64 & 0xff) << 24
            | (flags as u64) << 32
            | (errno as u64 & 0xff) << 40
            | interface << 48,
        time,
        id,
        local,
        local_rest,
        remote,
        remote_rest,
        netns as u64 | (sk.local_port(new) as u64) << 32 | (sk.remote_port() as u64) << 48,
    ]
}

/// Writes the record's first part, a `Transition` of this kind.
///
/// # Safety
/// `out` must point to room for a whole `Transition`.
#[inline(always)]
unsafe fn write(out: *mut Transition, kind: u8, mut words: TransitionWords) {
    words[0] |= kind as u64;
    // SAFETY: the caller's promise; of the same size.
    unsafe { out.cast::<TransitionWords>().write(words) }
}

/// A clone of the listener, with no identity of its own on older kernels: it is told about later.
#[inline(always)]
fn remember_child(ctx: &impl EbpfContext, sk: impl SockAccess, time: u64) {
    let Listener { id, opens_fast } = sk.listener();
    let birth = Birth { child: sk.address(), time, listener: id };
    if !opens_fast && let Some(latest) = LATEST.get_ptr_mut(0) {
        // SAFETY: the lookup returned this CPU's slot.
        unsafe { *latest = birth };
        return;
    }
    if BIRTHS.insert(&sk.address(), &birth, 0).is_err() {
        // Another socket's, which was at the same address.
        forget(sk);
        count(counter::LOST_BIRTHS);
        warn!(ctx, "no room for an accepted connection: its beginning is not shown");
    }
}

/// How the connection began that `child` is, if a listener took it; asked once.
#[inline(always)]
fn birth(child: impl SockAccess) -> Option<Birth> {
    if let Some(latest) = LATEST.get_ptr_mut(0) {
        // SAFETY: the lookup returned this CPU's slot.
        unsafe {
            if (*latest).child == child.address() {
                let birth = *latest;
                (*latest).child = 0;
                return Some(birth);
            }
        }
    }
    let birth = BIRTHS.get_ptr(&child.address())?;
    // SAFETY: the entry of a socket that is locked, by whoever makes this transition.
    let birth = unsafe { *birth };
    // It is there.
    let _ = BIRTHS.remove(&child.address());
    Some(birth)
}

/// Whatever was born at that address was another socket.
#[inline(always)]
fn forget(sk: impl SockAccess) {
    let _ = birth(sk);
}

/// The first transition out of SYN_RECV: now the child can be told about.
#[inline(always)]
fn emit_child(sk: impl SockAccess, words: TransitionWords) {
    // A socket that came to SYN_RECV by a simultaneous open was not born.
    let Some(birth) = birth(sk) else { return emit_transition(words) };
    let Some(mut entry) = reserve::<Child>(counter::LOST_TRANSITIONS) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for a `Child`; every byte is written.
    unsafe {
        write(addr_of_mut!((*out).transition), kind::CHILD, words);
        addr_of_mut!((*out).listener).write(birth.listener);
        addr_of_mut!((*out).syn_recv_time).write(birth.time);
    }
    entry.submit(0);
}

/// connect or listen, in the process that called it.
#[inline(always)]
fn emit_open<S: SockAccess>(ctx: &impl EbpfContext, sk: S, words: TransitionWords, new: u8) {
    if new == state::LISTEN {
        debug!(ctx, "listener {} begins to listen", sk.id());
    }
    let Some(mut entry) = reserve::<Open>(counter::LOST_TRANSITIONS) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for an `Open`; every byte is written. Both transitions are made by the system
    // call itself (tcp_v4_connect, tcp_v6_connect, inet_csk_listen_start).
    unsafe {
        write(addr_of_mut!((*out).transition), kind::OPEN, words);
        addr_of_mut!((*out).sock).write(sk.address());
        S::caller(addr_of_mut!((*out).process));
    }
    entry.submit(0);
}

/// The end of a connection, with what it had done: the socket is still whole.
#[inline(always)]
fn emit_close(sk: impl SockAccess, words: TransitionWords) {
    let Some(mut entry) = reserve::<End>(counter::LOST_TRANSITIONS) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for an `End`; every byte is written.
    unsafe {
        write(addr_of_mut!((*out).transition), kind::END, words);
        sk.totals(out);
    }
    entry.submit(0);
}

/// Any other transition.
#[inline(always)]
fn emit_transition(words: TransitionWords) {
    let Some(mut entry) = reserve::<Transition>(counter::LOST_TRANSITIONS) else { return };
    // SAFETY: reserved for a `Transition`; every byte is written.
    unsafe { write(entry.as_mut_ptr(), kind::TRANSITION, words) };
    entry.submit(0);
}
