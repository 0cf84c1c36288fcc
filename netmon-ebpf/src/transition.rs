//! `inet_sock_set_state`: every TCP state transition of the host, in every namespace.
//!
//! The kernel skips a tracing program on a CPU that is running it already (`__bpf_trace_run`,
//! kernel/trace/bpf_trace.c): a softirq in its midst would go unseen. So there are two on the
//! tracepoint, one after the other. The first does the work and leaves a sign; the second, on standby,
//! finds the sign and returns, or else does the work itself. They are never both in the midst of it.

use core::{ffi::c_void, ptr, ptr::addr_of_mut};

use aya_ebpf::{
    bindings::{
        BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE,
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    helpers::{bpf_ktime_get_ns, bpf_sk_storage_get},
    macros::{btf_map, btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::{debug, warn};
use netmon_common::{Child, End, IPPROTO_TCP, Open, Transition, counter, kind, state};

use crate::{
    emit::{count, reserve},
    filter, owner,
    sock::{Sock, offset},
};

/// What a listener leaves to the connections that it takes.
#[repr(C)]
struct Heritage {
    /// Cookie of the listener; 0 in the child of a listener that netmon did not see listen.
    listener: u64,
    /// In a child: when it went from LISTEN to SYN_RECV, ns; 0 once that was told.
    syn_recv_time: u64,
}

/// Socket storage that the kernel copies from a listener to its children (`sk_clone_lock`).
///
/// aya's own `SkStorage` has no `BPF_F_CLONE`, so the definition is written out.
#[repr(C)]
struct ClonedStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: a definition for the loader; its pointers are types, never followed.
unsafe impl<T> Sync for ClonedStorage<T> {}

#[btf_map]
static HERITAGE: ClonedStorage<Heritage> = ClonedStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// The socket's heritage, made from `new` when it has none; `None` without `new`, or when the
/// kernel could not make it.
#[inline(always)]
fn heritage(sk: Sock, new: Option<&mut Heritage>) -> Option<&'static mut Heritage> {
    let flags = if new.is_some() { BPF_SK_STORAGE_GET_F_CREATE as u64 } else { 0 };
    let value = new.map_or(ptr::null_mut(), |new| ptr::from_mut(new).cast::<c_void>());
    // SAFETY: the helper takes the map and a BTF socket pointer, and returns the socket's own value,
    // which lives as long as this program runs, or NULL.
    unsafe {
        bpf_sk_storage_get(ptr::addr_of!(HERITAGE).cast_mut().cast(), sk.as_ptr(), value, flags)
            .cast::<Heritage>()
            .as_mut()
    }
}

/// Lets a listener that is older than the program leave its cookie to what it takes from now on.
#[inline(always)]
pub fn adopt(listener: Sock, cookie: u64) {
    let mut new = Heritage { listener: cookie, syn_recv_time: 0 };
    if heritage(listener, Some(&mut new)).is_none() {
        count(counter::NO_STORAGE);
    }
}

/// What tells a transition from any other on this CPU.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sign {
    sock: u64,
    states: u64,
    /// When it was left, ns.
    time: u64,
}

/// The program on standby comes this soon after the first, ns; else its part was skipped, and the sign is
/// a stale one. Should something have kept it for longer, it does the work again, and user space sees
/// the same transition twice.
const SOON: u64 = 10_000_000;

impl Sign {
    const NONE: Self = Self { sock: 0, states: 0, time: 0 };

    #[inline(always)]
    fn new(sk: Sock, old: u8, new: u8, time: u64) -> Self {
        Self { sock: sk.address(), states: (old as u64) << 8 | new as u64, time }
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        self.sock == other.sock && self.states == other.states
    }
}

/// Transitions that the first program took on this CPU, and the one on standby has not passed yet.
#[repr(C)]
struct Taken {
    latest: Sign,
    /// The one that `latest` came in the midst of, with those before it.
    outer: Sign,
}

#[map]
static TAKEN: PerCpuArray<Taken> = PerCpuArray::with_max_entries(1, 0);

/// `tp_btf/inet_sock_set_state(const struct sock *sk, int oldstate, int newstate)`.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let Some((sk, old, new)) = arguments(&ctx) else { return 0 };
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    if let Some(taken) = TAKEN.get_ptr_mut(0) {
        // SAFETY: the lookup returned this CPU's slot.
        unsafe {
            if (*taken).outer.time + SOON < time {
                (*taken).outer = (*taken).latest;
            }
            (*taken).latest = Sign::new(sk, old, new, time);
        }
    }
    take(&ctx, sk, old, new, time);
    0
}

/// The same on standby: attached after the first, so that it runs after it.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn standby(ctx: BtfTracePointContext) -> i32 {
    let Some((sk, old, new)) = arguments(&ctx) else { return 0 };
    let Some(taken) = TAKEN.get_ptr_mut(0) else { return 0 };
    let sign = Sign::new(sk, old, new, 0);
    // SAFETY: as above.
    unsafe {
        if (*taken).latest.is(sign) {
            (*taken).latest = (*taken).outer;
            (*taken).outer = Sign::NONE;
            return 0;
        }
        // Those that came while this one was about to look, and for which it was skipped, left theirs on top.
        if (*taken).outer.is(sign) {
            (*taken).latest = Sign::NONE;
            (*taken).outer = Sign::NONE;
            return 0;
        }
    }
    count(counter::STOOD_IN);
    // SAFETY: a helper without arguments.
    take(&ctx, sk, old, new, unsafe { bpf_ktime_get_ns() });
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

#[inline(always)]
fn take(ctx: &BtfTracePointContext, sk: Sock, old: u8, new: u8, time: u64) {
    if !filter::admits_transition(sk, old, new) {
        return;
    }
    match (old, new) {
        (state::LISTEN, state::SYN_RECV) => born(ctx, sk, time),
        (_, state::SYN_SENT | state::LISTEN) => opened(ctx, sk, old, new, time),
        (state::SYN_RECV, _) => grown(sk, old, new, time),
        (state::LISTEN, _) => moved(sk, old, new, time),
        (_, state::CLOSE) => ended(sk, old, time),
        _ => moved(sk, old, new, time),
    }
}

/// A clone of the listener, with no identity of its own on older kernels: only its time is kept.
#[inline(always)]
fn born(ctx: &BtfTracePointContext, sk: Sock, time: u64) {
    let mut new = Heritage { listener: 0, syn_recv_time: time };
    match heritage(sk, Some(&mut new)) {
        Some(heritage) => heritage.syn_recv_time = time,
        None => {
            count(counter::NO_STORAGE);
            warn!(ctx, "no storage for an accepted connection: its SYN_RECV is not shown");
        }
    }
}

/// The first transition out of SYN_RECV: now the child can be told about.
#[inline(always)]
fn grown(sk: Sock, old: u8, new: u8, time: u64) {
    let Some(heritage) = heritage(sk, None) else { return moved(sk, old, new, time) };
    // Zero in a socket that came to SYN_RECV by a simultaneous open.
    if heritage.syn_recv_time == 0 {
        return moved(sk, old, new, time);
    }
    let Some(mut entry) = reserve::<Child>(counter::LOST_TRANSITIONS) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for a `Child`; every byte is written.
    unsafe {
        sk.describe(addr_of_mut!((*out).transition), kind::CHILD, old, new, time);
        addr_of_mut!((*out).listener).write(heritage.listener);
        addr_of_mut!((*out).syn_recv_time).write(heritage.syn_recv_time);
    }
    heritage.syn_recv_time = 0;
    entry.submit(0);
}

/// connect or listen, in the process that called it.
#[inline(always)]
fn opened(ctx: &BtfTracePointContext, sk: Sock, old: u8, new: u8, time: u64) {
    if new == state::LISTEN {
        let cookie = sk.cookie();
        let mut value = Heritage { listener: cookie, syn_recv_time: 0 };
        match heritage(sk, Some(&mut value)) {
            // It may have been a child, or a listener, before.
            Some(heritage) => *heritage = Heritage { listener: cookie, syn_recv_time: 0 },
            None => {
                count(counter::NO_STORAGE);
                warn!(ctx, "no storage for listener {}: its connections have no owner", cookie);
            }
        }
        debug!(ctx, "listener {} leaves its cookie to the connections it takes", cookie);
    }
    let Some(mut entry) = reserve::<Open>(counter::LOST_TRANSITIONS) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for an `Open`; every byte is written. Both transitions are made by the system
    // call itself (tcp_v4_connect, tcp_v6_connect, inet_csk_listen_start).
    unsafe {
        sk.describe(addr_of_mut!((*out).transition), kind::OPEN, old, new, time);
        owner::describe(out);
        addr_of_mut!((*out).sock).write(sk.address());
    }
    entry.submit(0);
}

/// The end of a connection, with what it had done: the socket is still whole.
#[inline(always)]
fn ended(sk: Sock, old: u8, time: u64) {
    let Some(mut entry) = reserve::<End>(counter::LOST_TRANSITIONS) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for an `End`; every byte is written.
    unsafe {
        sk.describe(addr_of_mut!((*out).transition), kind::END, old, state::CLOSE, time);
        if let Some(tcp) = sk.tcp() {
            addr_of_mut!((*out).bytes_sent).write(tcp.load(offset!(bytes_sent)));
            addr_of_mut!((*out).bytes_received).write(tcp.load(offset!(bytes_received)));
            addr_of_mut!((*out).retransmits).write(tcp.load(offset!(total_retrans)));
            addr_of_mut!((*out).srtt_us).write(tcp.load(offset!(srtt_us)));
        } else {
            addr_of_mut!((*out).bytes_sent).write(0);
            addr_of_mut!((*out).bytes_received).write(0);
            addr_of_mut!((*out).retransmits).write(0);
            addr_of_mut!((*out).srtt_us).write(0);
        }
    }
    entry.submit(0);
}

/// Any other transition.
#[inline(always)]
fn moved(sk: Sock, old: u8, new: u8, time: u64) {
    let Some(mut entry) = reserve::<Transition>(counter::LOST_TRANSITIONS) else { return };
    // SAFETY: reserved for a `Transition`; every byte is written.
    unsafe { sk.describe(entry.as_mut_ptr(), kind::TRANSITION, old, new, time) };
    entry.submit(0);
}
