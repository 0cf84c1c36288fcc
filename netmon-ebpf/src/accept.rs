//! The process that took a connection from its listener.

use core::ptr::addr_of_mut;

use aya_ebpf::{EbpfContext, helpers::bpf_ktime_get_ns, macros::fexit, programs::FExitContext};
use netmon_common::{Accept, IPPROTO_TCP, Process, counter, kind};

use crate::{offsets::load, process::describe, ring::reserve, sock::Sock};

/// `fexit/inet_csk_accept(sk, flags, err, kern)`, until Linux 6.9.
#[fexit(function = "inet_csk_accept")]
pub fn accepted_4(ctx: FExitContext) -> i32 {
    accepted(&ctx, 4)
}

/// `fexit/inet_csk_accept(sk, arg)`, since Linux 6.10.
#[fexit(function = "inet_csk_accept")]
pub fn accepted_2(ctx: FExitContext) -> i32 {
    accepted(&ctx, 2)
}

/// Reports the accept of the socket that `inet_csk_accept` returned.
///
/// The return value follows the arguments; the verifier knows its type there.
#[inline(always)]
fn accepted(ctx: &FExitContext, arguments: usize) -> i32 {
    // SAFETY: the verifier knows how many arguments there are, and what follows them.
    let Some(sk) = Sock::new(unsafe { load(ctx.as_ptr().cast(), arguments * 8) }) else { return 0 };
    if sk.protocol() != IPPROTO_TCP {
        return 0;
    }
    // SAFETY: accept runs in the process that calls it.
    unsafe { accept(sk.cookie(), |out| describe(out)) };
    0
}

/// Reports to user space that the current process took a connection.
///
/// # Safety
/// `caller` must fill a whole `Process`.
#[inline(always)]
pub unsafe fn accept(id: u64, caller: impl FnOnce(*mut Process)) {
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = reserve::<Accept>(counter::LOST_NOTES) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for an `Accept`; every byte is written.
    unsafe {
        out.cast::<u64>().write(kind::ACCEPT as u64);
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).cookie).write(id);
        caller(addr_of_mut!((*out).process));
    }
    entry.submit(0);
}
