//! Bits of [`crate::Transition::flags`], taken from the socket's flags (`enum sock_flags`).

/// SOCK_DEAD: the process has closed the socket.
pub const DEAD: u8 = 1 << 0;
/// SOCK_DONE: the peer's FIN was taken.
pub const DONE: u8 = 1 << 1;
/// Not a socket flag: a TIME_WAIT bucket has just been made of the socket. Only where the
/// kernel program has the hook on `inet_twsk_hashdance`, and only on a transition to CLOSE.
pub const MINISOCKET: u8 = 1 << 2;
/// Not a socket flag: with [`MINISOCKET`], the bucket waits for the peer's FIN, in FIN_WAIT2.
pub const WAITS: u8 = 1 << 3;
/// SOCK_LINGER: SO_LINGER is set.
pub const LINGER: u8 = 1 << 4;
/// The bits of `sk_flags` that records carry.
pub const MASK: u8 = DEAD | DONE | LINGER;
/// Not a socket flag: the namespace had no TIME_WAIT bucket to spare, so the socket may have
/// none. Only on a transition to CLOSE from FIN_WAIT2 or CLOSING.
pub const BUCKETS_FULL: u8 = 1 << 5;
/// Not a socket flag: the socket took a RST just before (tracepoint `tcp:tcp_receive_reset`).
/// Also when the kernel resets its own socket, which then sends a RST (`tcp_reset` in
/// net/ipv4/tcp_input.c).
pub const RESET_RECEIVED: u8 = 1 << 6;
/// Not a socket flag: the listener takes IPv6 only (IPV6_V6ONLY). Only on a transition to LISTEN,
/// where neither [`MINISOCKET`] nor [`WAITS`], which have the same bits, can be.
pub const V6ONLY: u8 = 1 << 2;
/// Not a socket flag: the listener, of AF_INET6, takes IPv4 too. As [`V6ONLY`].
pub const DUAL_STACK: u8 = 1 << 3;
/// Not a socket flag: the socket is under repair (TCP_REPAIR), so that it closes without a FIN and
/// without a RST (`tcp_disconnect`, net/ipv4/tcp.c). Only on a transition to CLOSE, not from
/// SYN_SENT, where [`NO_SYN`] has the same bit, and only where the kernel's types are known.
pub const REPAIR: u8 = 1 << 7;
/// Not a socket flag: the connect failed before a SYN was sent, since no local port was free
/// (EADDRNOTAVAIL of `inet_hash_connect`, net/ipv4/inet_hashtables.c). Only on a transition from
/// SYN_SENT to CLOSE, and only where the kernel's types are known.
pub const NO_SYN: u8 = 1 << 7;
