//! The local port of a connecting socket.
//!
//! `tcp_v4_connect` enters SYN_SENT before it picks the port, so the transition cannot carry the
//! port. Where functions can be hooked, `tcp_connect` comes next and has the port. Elsewhere no
//! connect takes storage in the kernel: user space asks about the few connects that neither are
//! answered nor fail within milliseconds.

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use netmon_common::kind;

use crate::{offsets::offset, ring::note, sock::Sock};

/// `fentry/tcp_connect(sk)`.
#[fentry]
pub fn connecting(ctx: FEntryContext) -> i32 {
    let Some(sk) = Sock::new(ctx.arg(0)) else { return 0 };
    note(kind::PORT, 0, sk.load(offset!(skc_num)), sk.cookie());
    0
}
