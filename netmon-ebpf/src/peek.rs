//! Reads the kernel's memory at the request of user space.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
    programs::RawTracePointContext,
};

/// Returns the four bytes at an address, or 0 where nothing can be read. User space runs the
/// program by `BPF_PROG_RUN`; it is attached to nothing.
///
/// Arguments: the address, and 1 if the address is a distance from the caller's `task_struct`,
/// otherwise 0.
// Written out: aya's macro would discard the result.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub fn peek(ctx: *mut c_void) -> i32 {
    let ctx = RawTracePointContext::new(ctx);
    let mut address: u64 = ctx.arg(0);
    if ctx.arg::<u64>(1) != 0 {
        // SAFETY: a helper without arguments.
        address = address.wrapping_add(unsafe { bpf_get_current_task() });
    }
    // SAFETY: a probe read takes any address.
    unsafe { bpf_probe_read_kernel(address as *const i32) }.unwrap_or(0)
}
