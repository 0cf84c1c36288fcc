//! Which local port a connecting socket has by now.
//!
//! `tcp_v4_connect` enters SYN_SENT before it picks the port, so the transition cannot carry it. Where
//! functions can be followed, `tcp_connect` comes next and has it. Elsewhere user space asks about the few
//! connects that neither are answered nor fail within milliseconds, instead of storage for every one.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel},
    macros::fentry,
    programs::{FEntryContext, RawTracePointContext},
};
use netmon_common::kind;

use crate::{
    emit::note,
    sock::{Sock, offset},
};

/// `fentry/tcp_connect(sk)`.
#[fentry]
pub fn connecting(ctx: FEntryContext) -> i32 {
    let Some(sk) = Sock::new(ctx.arg(0)) else { return 0 };
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    note(kind::PORT, 0, sk.load(offset!(skc_num)), time, sk.cookie());
    0
}

/// Run by `BPF_PROG_RUN`, attached to nothing: `(address) -> the four bytes there`, 0 where there is nothing
/// to be read.
// Written out: aya's macro would discard the result.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub fn peek(ctx: *mut c_void) -> i32 {
    let address: u64 = RawTracePointContext::new(ctx).arg(0);
    // SAFETY: a probe read takes any address.
    unsafe { bpf_probe_read_kernel(address as *const i32) }.unwrap_or(0)
}
