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
    let sent_nothing = old == state::SYN_SENT && sent_nothing(sk);
    if sent_nothing {
        flags |= flag::NO_SYN;
    } else if old != state::SYN_SENT && is_under_repair(sk) {
        flags |= flag::REPAIR;
    }
    let may_be_read = errno == 0 && !sent_nothing && flags & flag::RESET_RECEIVED == 0;
    if may_be_read && was_given_up(sk) {
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

/// Returns whether a connect has failed before there was a SYN.
///
/// A SYN that waits for data (TCP Fast Open) is not there either: a close of such a socket has shut
/// the socket down.
#[inline(always)]
fn sent_nothing(sk: impl SockAccess) -> bool {
    if offset!(packets_out) == UNKNOWN as usize || offset!(sk_shutdown) == UNKNOWN as usize {
        return false;
    }
    let shutdown: u8 = sk.field(offset!(sk_shutdown));
    let Some(tcp) = sk.tcp() else { return false };
    // The SYN counts as soon as it is queued (`tcp_connect_queue_skb`, net/ipv4/tcp_output.c).
    let packets: u32 = tcp.field(offset!(packets_out));
    // A connect that has timed out has an empty queue again, but this time of its SYN
    // (`tcp_connect`). Its errno is 0 if the process has read the error by now.
    let is_stamped =
        offset!(retrans_stamp) != UNKNOWN as usize && tcp.field::<u32>(offset!(retrans_stamp)) != 0;
    shutdown == 0 && packets == 0 && !is_stamped
}

/// Returns whether the kernel gave up on the peer: no process has closed the socket, and the queue
/// was emptied though the peer has not acknowledged everything, or has left probes unanswered
/// (`tcp_write_queue_purge`, net/ipv4/tcp.c). Where a process ends the connection, the queue is
/// still there at this transition.
#[inline(always)]
fn was_given_up(sk: impl SockAccess) -> bool {
    /// Both directions are shut down (include/net/sock.h), as by a close.
    const SHUTDOWN_MASK: u8 = 3;
    let offsets = [
        offset!(sk_shutdown),
        offset!(sk_wmem_queued),
        offset!(write_seq),
        offset!(snd_una),
        offset!(icsk_probes_out),
    ];
    if offsets.contains(&(UNKNOWN as usize)) {
        return false;
    }
    let shutdown: u8 = sk.field(offset!(sk_shutdown));
    let queued: u32 = sk.field(offset!(sk_wmem_queued));
    if shutdown == SHUTDOWN_MASK || queued != 0 {
        return false;
    }
    let Some(tcp) = sk.tcp() else { return false };
    let probes: u8 = tcp.field(offset!(icsk_probes_out));
    probes != 0 || tcp.field::<u32>(offset!(write_seq)) != tcp.field::<u32>(offset!(snd_una))
}

/// Returns the error of a connection on which the kernel gave up, and whose process has read the
/// error before the end: `tcp_write_err` sets the error first. It takes a soft error before
/// ETIMEDOUT.
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
