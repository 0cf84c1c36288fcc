//! `tcp_send_reset` and `tcp_receive_reset`: the side that ended a connection, and TIME_WAIT
//! buckets that a RST ends.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_probe_read_kernel,
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use netmon_common::{kind, state};

use crate::{ring::note, sock::Sock};

/// Id, as in records, of the socket that last took a RST on this CPU; 0 for none.
#[map]
static RECEIVED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// `tp_btf/tcp_receive_reset(struct sock *sk)`.
///
/// The transition to CLOSE follows in the same function, `tcp_reset`, and its record reports the
/// RST, so that a RST costs no record of its own. Should the two run on different CPUs, the errno
/// still shows the RST.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    if let Some(sk) = Sock::new(ctx.arg(0)) {
        received(sk.cookie());
    }
    0
}

/// Remembers that a socket takes a RST.
#[inline(always)]
pub fn received(id: u64) {
    if let Some(slot) = RECEIVED.get_ptr_mut(0) {
        // SAFETY: the lookup returned this CPU's slot.
        unsafe { *slot = id };
    }
}

/// Returns whether this socket has just taken a RST. The next call returns `false`.
#[inline(always)]
pub fn was_received(id: u64) -> bool {
    let Some(slot) = RECEIVED.get_ptr_mut(0) else { return false };
    // SAFETY: the lookup returned this CPU's slot. A cookie is never given twice, so a cookie that
    // an interrupted program left in the slot can match no other socket. An address is forgotten at
    // CLOSE (`classic_transition`).
    unsafe {
        let found = *slot == id;
        if found {
            *slot = 0;
        }
        found
    }
}

/// `tp_btf/tcp_send_reset(const struct sock *sk, const struct sk_buff *skb, …)`.
///
/// `sk` is NULL, or a listener, for a segment that belongs to no connection.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    // Before Linux 6.13 the verifier may take an argument of a tracepoint for a pointer that is not
    // NULL. Then it removes the test of the pointer, and leaves the load, which may be unguarded. A
    // copy of the argument is a number to the verifier, and the test of a number stays.
    let copy = ctx.as_ptr().cast::<u64>();
    // SAFETY: a probe read takes any address.
    if !unsafe { bpf_probe_read_kernel(copy) }.is_ok_and(|address| address != 0) {
        return 0;
    }
    let Some(sk) = Sock::new(ctx.arg(0)) else { return 0 };
    let state = sk.state();
    if state == state::LISTEN {
        return 0;
    }
    note(kind::RESET, state, 0, sk.cookie());
    0
}
