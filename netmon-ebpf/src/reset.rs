//! `tcp_send_reset` and `tcp_receive_reset`: who ended a connection, and minisockets that die.

use core::ptr::addr_of_mut;

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use netmon_common::{Reset, counter, kind, state};

use crate::{emit::reserve, sock::Sock};

/// `tp_btf/tcp_send_reset(const struct sock *sk, const struct sk_buff *skb, …)`.
///
/// `sk` is NULL, or a listener, for a segment that belongs to no connection.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    emit(ctx.arg(0), 1)
}

/// `tp_btf/tcp_receive_reset(struct sock *sk)`.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    emit(ctx.arg(0), 0)
}

#[inline(always)]
fn emit(sk: *const u8, sent: u8) -> i32 {
    let Some(sk) = Sock::new(sk) else { return 0 };
    let state = sk.state();
    if state == state::LISTEN {
        return 0;
    }
    let Some(mut entry) = reserve::<Reset>(counter::LOST_RESETS) else { return 0 };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for a `Reset`; every byte is written.
    unsafe {
        addr_of_mut!((*out).kind).write(kind::RESET);
        addr_of_mut!((*out).sent).write(sent);
        addr_of_mut!((*out).state).write(state);
        addr_of_mut!((*out).reserved).write([0; 5]);
        addr_of_mut!((*out).time).write(bpf_ktime_get_ns());
        addr_of_mut!((*out).cookie).write(sk.cookie());
    }
    entry.submit(0);
    0
}
