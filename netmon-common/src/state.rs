//! The kernel's numbers of some TCP states (`include/net/tcp_states.h`).

/// TCP_ESTABLISHED
pub const ESTABLISHED: u8 = 1;
/// TCP_SYN_SENT
pub const SYN_SENT: u8 = 2;
/// TCP_SYN_RECV
pub const SYN_RECV: u8 = 3;
/// TCP_FIN_WAIT2
pub const FIN_WAIT2: u8 = 5;
/// TCP_TIME_WAIT
pub const TIME_WAIT: u8 = 6;
/// TCP_CLOSE
pub const CLOSE: u8 = 7;
/// TCP_LISTEN
pub const LISTEN: u8 = 10;
/// TCP_CLOSING
pub const CLOSING: u8 = 11;
/// TCP_NEW_SYN_RECV, the state of a request socket: half open
pub const NEW_SYN_RECV: u8 = 12;
