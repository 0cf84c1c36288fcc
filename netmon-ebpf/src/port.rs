//! Which local port a connecting socket has by now, for user space that waits to know.
//!
//! `tcp_v4_connect` enters SYN_SENT before it picks the port, so the transition cannot carry it. No
//! hook outside fentry fires between the two. Instead of keeping storage for every connect, user
//! space asks about the few that neither answer nor fail within milliseconds.

use core::ffi::c_void;

use aya_ebpf::{helpers::bpf_probe_read_kernel, programs::RawTracePointContext};

use crate::sock::offset;

/// Run by `BPF_PROG_RUN`, attached to nothing: `(address of the socket, its cookie) -> port`, host
/// order; 0 when that address no longer holds that socket, or it has no port.
///
/// The address may be stale. A probe read of it cannot fault, and the cookie, which the kernel never
/// gives twice, says before and after whether it was the socket that was read.
// Written out: aya's macro would discard the result.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub fn local_port(ctx: *mut c_void) -> i32 {
    let ctx = RawTracePointContext::new(ctx);
    let (sock, cookie): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let cookie_at = (sock as usize + offset!(skc_cookie)) as *const u64;
    let port_at = (sock as usize + offset!(skc_num)) as *const u16;
    // SAFETY: probe reads take any address.
    unsafe {
        let Ok(before) = bpf_probe_read_kernel(cookie_at) else { return 0 };
        let Ok(port) = bpf_probe_read_kernel(port_at) else { return 0 };
        let Ok(after) = bpf_probe_read_kernel(cookie_at) else { return 0 };
        if before == cookie && after == cookie { i32::from(port) } else { 0 }
    }
}
