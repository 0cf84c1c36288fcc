//! The end of a connection: the facts that only its last transition has.

use netmon_common::{UNKNOWN, flag, state};

use crate::{
    minisocket,
    offsets::offset,
    reset,
    sock::{SockAccess, bit},
};

/// The facts of a transition to CLOSE.
pub struct Ending {
    pub flags: u8,
    pub errno: u32,
}

/// Returns the facts of the transition from `old` to CLOSE of a socket with the id `id`.
#[inline(always)]
pub fn describe<S: SockAccess>(sk: S, old: u8, net: *const u8, id: u64) -> Ending {
    let (mut flags, mut errno) = (0, sk.field(offset!(sk_err)));
    if old == state::FIN_WAIT2 || old == state::CLOSING {
        flags |= buckets_full::<S>(net) | minisocket::was_made(id);
    }
    if reset::was_received(id) {
        flags |= flag::RESET_RECEIVED;
    }
    let is_emptied = is_emptied(sk);
    let gave_up = if old == state::SYN_SENT {
        let has_sent_syn = has_sent_syn(sk);
        if is_emptied && !has_sent_syn {
            flags |= flag::NO_SYN;
        }
        has_sent_syn
    } else {
        if is_under_repair(sk) {
            flags |= flag::REPAIR;
        }
        is_peer_silent(sk)
    };
    if errno == 0 && is_emptied && gave_up && flags & flag::RESET_RECEIVED == 0 {
        errno = read_error(sk);
    }
    Ending { flags, errno }
}

/// Returns [`flag::BUCKETS_FULL`] if `inet_twsk_alloc` may have refused a TIME_WAIT bucket, else 0.
///
/// The function refuses while `tw_refcount - 1 >= sysctl_max_tw_buckets`; a bucket that was just
/// made counts.
#[inline(always)]
fn buckets_full<S: SockAccess>(net: *const u8) -> u8 {
    if offset!(net_tw_refcount) == 0 {
        return 0;
    }
    let count: i32 = S::net_field(net, offset!(net_tw_refcount));
    let most: i32 = S::net_field(net, offset!(net_max_tw_buckets));
    if count - 1 >= most { flag::BUCKETS_FULL } else { 0 }
}

/// Returns whether the kernel has ended a connection, or a connect, with nothing in flight: the
/// process has not closed the socket, and no segment waits for an answer.
///
/// A SYN counts as soon as it is queued (`tcp_connect_queue_skb`, net/ipv4/tcp_output.c). A SYN
/// that waits for data (TCP Fast Open) does not: but a close shuts such a socket down.
#[inline(always)]
fn is_emptied(sk: impl SockAccess) -> bool {
    /// Both directions are shut down (include/net/sock.h), as by a close.
    const SHUTDOWN_MASK: u8 = 3;
    if offset!(packets_out) == UNKNOWN as usize || offset!(sk_shutdown) == UNKNOWN as usize {
        return false;
    }
    let shutdown: u8 = sk.field(offset!(sk_shutdown));
    let Some(tcp) = sk.tcp() else { return false };
    shutdown != SHUTDOWN_MASK && tcp.field::<u32>(offset!(packets_out)) == 0
}

/// Returns whether a connect has sent its SYN (`tcp_connect`).
#[inline(always)]
fn has_sent_syn(sk: impl SockAccess) -> bool {
    offset!(retrans_stamp) != UNKNOWN as usize
        && sk.tcp().is_some_and(|tcp| tcp.field::<u32>(offset!(retrans_stamp)) != 0)
}

/// Returns whether the peer has left retransmissions or probes without an answer.
#[inline(always)]
fn is_peer_silent(sk: impl SockAccess) -> bool {
    if offset!(icsk_retransmits) == UNKNOWN as usize || offset!(icsk_probes_out) == UNKNOWN as usize
    {
        return false;
    }
    let Some(tcp) = sk.tcp() else { return false };
    let retransmits: u8 = tcp.field(offset!(icsk_retransmits));
    let probes: u8 = tcp.field(offset!(icsk_probes_out));
    retransmits | probes != 0
}

/// Returns the error of a connection on which the kernel gave up, and whose process has read the
/// error before the end: `tcp_write_err` reports the error first. It empties the queue, and takes a
/// soft error before ETIMEDOUT.
#[inline(always)]
fn read_error(sk: impl SockAccess) -> u32 {
    const ETIMEDOUT: u32 = 110;
    if offset!(sk_err_soft) == UNKNOWN as usize {
        return ETIMEDOUT;
    }
    let soft: u32 = sk.field(offset!(sk_err_soft));
    if soft == 0 { ETIMEDOUT } else { soft }
}

/// Returns whether a socket is under repair (TCP_REPAIR): its close sends nothing.
#[inline(always)]
fn is_under_repair(sk: impl SockAccess) -> bool {
    if offset!(repair) == UNKNOWN as usize {
        return false;
    }
    sk.tcp().and_then(|tcp| bit(tcp, offset!(repair))) == Some(true)
}
