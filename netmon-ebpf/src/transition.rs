//! `inet_sock_set_state`: every TCP state transition of the host, in every namespace.
//!
//! The kernel skips a tracing program on a CPU that is running that program already
//! (`__bpf_trace_run`, kernel/trace/bpf_trace.c): a transition in a softirq that interrupts the
//! program would go unseen. So two programs are on the tracepoint, one after the other. The first
//! program leaves a sign and does the work. The second, on standby, returns if it finds the sign,
//! or else does the work itself. A softirq never interrupts both, so one of the two is free for it.

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
    ending, filter, netns,
    offsets::offset,
    ring::{count, reserve},
    sock::{Listener, Sock, SockAccess, TransitionWords, v6only},
};

/// The first transition of a connection that a listener took, kept until the next one.
#[repr(C)]
#[derive(Clone, Copy)]
struct Birth {
    /// Address of the child; 0 for none.
    child: u64,
    /// Time of LISTEN -> SYN_RECV, ns; 0 for a socket that no listener took (a simultaneous open).
    time: u64,
    /// Id of the listener, as in records; 0 where unknown.
    listener: u64,
}

/// The latest birth on this CPU: the child's next transition follows in the same softirq
/// (`tcp_child_process`).
#[map]
static LATEST: PerCpuArray<Birth> = PerCpuArray::with_max_entries(1, 0);

/// Births by the address of the child, where the child may be one of TCP Fast Open, which waits for
/// its handshake. The kernel forgets the oldest where more wait; `emit_child` counts it then.
#[map]
static BIRTHS: LruHashMap<u64, Birth> = LruHashMap::with_max_entries(8192, 0);

/// A transition that the first program took; socket and states identify it on this CPU.
#[repr(C)]
#[derive(Clone, Copy)]
struct InFlight {
    sock: u64,
    states: u64,
    /// Time of the first program, ns.
    time: u64,
}

/// The longest time from the first program to the standby program, ns. An older sign is stale: the
/// kernel skipped its standby program. A standby program that is kept for longer does the work
/// again, and user space sees the same transition twice.
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

    /// Clears the sign. The states stay: to write the whole sign would take a loop.
    #[inline(always)]
    fn clear(&mut self) {
        self.sock = 0;
        self.time = 0;
    }
}

/// Transitions of this CPU that the first program took and the standby program has not passed yet.
#[repr(C)]
struct InFlightPair {
    latest: InFlight,
    /// The transition that `latest` and any before it interrupted.
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

/// The standby program: attached after the first program, so that it runs after the first.
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
        // Transitions that interrupted this program before it looked left their signs on top: the
        // kernel skipped this program for them.
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

/// Returns socket and states of a TCP transition; `None` for anything else.
#[inline(always)]
fn arguments(ctx: &BtfTracePointContext) -> Option<(Sock, u8, u8)> {
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    let sk = Sock::new(ctx.arg(0))?;
    // 5 -> 5 is a close() after shutdown(): the descriptor's end, no transition.
    (old != new && sk.protocol() == IPPROTO_TCP).then_some((sk, old as u8, new as u8))
}

/// Reports a transition to user space, if the filter admits it.
#[inline(always)]
pub fn handle(ctx: &impl EbpfContext, sk: impl SockAccess, old: u8, new: u8, time: u64) {
    if (old, new) == (state::SYN_SENT, state::SYN_RECV) {
        // A simultaneous open: no birth is missing.
        forget(sk);
        let birth = Birth { child: sk.address(), time: 0, listener: 0 };
        let _ = BIRTHS.insert(&sk.address(), &birth, 0);
    }
    if !filter::admits_transition(sk, old, new) {
        if old == state::SYN_RECV {
            forget(sk);
        }
        return;
    }
    if (old, new) == (state::LISTEN, state::SYN_RECV) {
        return remember_child(ctx, sk, time);
    }
    // Once, for all kinds of records: a copy for each kind would make the program six times as
    // large, and the verifier would go through every copy.
    let words = record_words(sk, old, new, time);
    match (old, new) {
        (_, state::SYN_SENT | state::LISTEN) => emit_open(ctx, sk, words, new),
        (state::SYN_RECV, _) => emit_child(sk, words),
        (state::LISTEN, _) => emit_transition(words),
        (_, state::CLOSE) => emit_close(sk, words),
        _ => emit_transition(words),
    }
}

/// Returns a [`Transition`] without its kind, as words.
#[inline(always)]
fn record_words<S: SockAccess>(sk: S, old: u8, new: u8, time: u64) -> TransitionWords {
    let family = sk.family();
    let flags: u64 = sk.field(offset!(skc_flags));
    // Only the last transition has an error.
    let mut errno = 0;
    let mut flags = flags as u8 & flag::MASK;
    let id = sk.id();
    let net = sk.net();
    if new == state::CLOSE {
        let end = ending::describe(sk, old, net, id);
        flags |= end.flags;
        errno = end.errno;
    }
    if new == state::LISTEN {
        flags |= match v6only(sk, family) {
            Some(true) => flag::V6ONLY,
            Some(false) => flag::DUAL_STACK,
            None => 0,
        };
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
    // SAFETY: the caller's promise; both types have the same size.
    unsafe { out.cast::<TransitionWords>().write(words) }
}

/// Keeps the birth of a child, a clone of the listener: on older kernels the child has no identity
/// of its own yet, so the next transition reports the birth.
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
        // An entry of another socket, which was at the same address.
        forget(sk);
        count(counter::LOST_BIRTHS);
        warn!(ctx, "no room for an accepted connection: its beginning is not shown");
    }
}

/// Takes out the birth of `child`, if a listener took the connection.
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
    // SAFETY: the entry of a socket that the code which makes this transition has locked.
    let birth = unsafe { *birth };
    // The entry is there, so this does not fail.
    let _ = BIRTHS.remove(&child.address());
    Some(birth)
}

/// Forgets a birth at the address of `sk`, so that no record reports it.
#[inline(always)]
fn forget(sk: impl SockAccess) {
    let _ = birth(sk);
}

/// Reports the first transition out of SYN_RECV, together with the birth of the child.
#[inline(always)]
fn emit_child(sk: impl SockAccess, words: TransitionWords) {
    let Some(birth) = birth(sk) else {
        // More children waited for their handshakes than `BIRTHS` keeps. A child from before the
        // programs were attached counts too.
        count(counter::LOST_BIRTHS);
        return emit_transition(words);
    };
    if birth.time == 0 {
        return emit_transition(words);
    }
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

/// Reports a connect or a listen, with the process that called it.
#[inline(always)]
fn emit_open<S: SockAccess>(ctx: &impl EbpfContext, sk: S, words: TransitionWords, new: u8) {
    if new == state::LISTEN {
        debug!(ctx, "listener {} begins to listen", sk.id());
    }
    let Some(mut entry) = reserve::<Open>(counter::LOST_TRANSITIONS) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for an `Open`; every byte is written. The system call itself makes both
    // transitions (tcp_v4_connect, tcp_v6_connect, inet_csk_listen_start).
    unsafe {
        write(addr_of_mut!((*out).transition), kind::OPEN, words);
        addr_of_mut!((*out).sock).write(sk.address());
        S::caller(addr_of_mut!((*out).process));
    }
    entry.submit(0);
}

/// Reports the end of a connection, with its counters: the socket is still whole.
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

/// Reports any other transition.
#[inline(always)]
fn emit_transition(words: TransitionWords) {
    let Some(mut entry) = reserve::<Transition>(counter::LOST_TRANSITIONS) else { return };
    // SAFETY: reserved for a `Transition`; every byte is written.
    unsafe { write(entry.as_mut_ptr(), kind::TRANSITION, words) };
    entry.submit(0);
}
