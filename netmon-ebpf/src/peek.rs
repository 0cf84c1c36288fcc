//! Reads the kernel's memory at the request of user space.

use core::ffi::c_void;

use aya_ebpf::{helpers::bpf_probe_read_kernel, programs::RawTracePointContext};

/// Returns the four bytes at an address, or 0 where nothing can be read. User space runs the
/// program by `BPF_PROG_RUN`; it is attached to nothing.
// Written out: aya's macro would discard the result.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub fn peek(ctx: *mut c_void) -> i32 {
    let address: u64 = RawTracePointContext::new(ctx).arg(0);
    // SAFETY: a probe read takes any address.
    unsafe { bpf_probe_read_kernel(address as *const i32) }.unwrap_or(0)
}
