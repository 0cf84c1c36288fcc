//! TIME_WAIT buckets (minisockets), where functions can be hooked: made, come to TIME_WAIT, ended.
//!
//! All of these programs are optional: user space finds the same facts later, by other ways. No
//! hooked function can be inlined where it matters: the calls come from other files, or from a
//! timer.

use aya_ebpf::{
    helpers::bpf_probe_read_kernel,
    macros::{fentry, map},
    maps::PerCpuArray,
    programs::FEntryContext,
};
use netmon_common::{flag, kind, state};

use crate::{offsets::offset, ring::note, sock::Sock};

/// The TIME_WAIT bucket that was last made on this CPU.
#[repr(C)]
struct Made {
    /// Cookie of the socket that the bucket replaces; 0 for none.
    cookie: u64,
    /// State that the bucket stands for.
    substate: u64,
}

#[map]
static MADE: PerCpuArray<Made> = PerCpuArray::with_max_entries(1, 0);

/// `fentry/inet_twsk_hashdance_schedule(tw, sk, …)`, before Linux 6.11
/// `inet_twsk_hashdance(tw, sk, …)`.
///
/// The transition to CLOSE follows in the same function, `tcp_time_wait`, and its record reports
/// the bucket. Should the two run on different CPUs, user space asks the kernel about the socket.
#[fentry]
pub fn minisocket_made(ctx: FEntryContext) -> i32 {
    let (tw, sk): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    let Some(sk) = Sock::new(sk) else { return 0 };
    if let Some(made) = MADE.get_ptr_mut(0) {
        // SAFETY: the lookup returned this CPU's slot.
        unsafe { *made = Made { cookie: sk.cookie(), substate: substate(tw).into() } };
    }
    0
}

/// Returns [`flag::MINISOCKET`], with [`flag::WAITS`] for FIN_WAIT2, if a TIME_WAIT bucket has just
/// been made of this socket; else 0. The next call returns 0.
#[inline(always)]
pub fn was_made(cookie: u64) -> u8 {
    let Some(made) = MADE.get_ptr_mut(0) else { return 0 };
    // SAFETY: the lookup returned this CPU's slot. A cookie is never given twice.
    unsafe {
        if (*made).cookie != cookie {
            return 0;
        }
        (*made).cookie = 0;
        if (*made).substate == state::FIN_WAIT2 as u64 {
            flag::MINISOCKET | flag::WAITS
        } else {
            flag::MINISOCKET
        }
    }
}

/// `fentry/__inet_twsk_schedule(tw, timeo, rearm)`: the timer of a bucket starts again, as it does
/// when the bucket comes to TIME_WAIT, and for each segment in TIME_WAIT.
#[fentry]
pub fn minisocket_moved(ctx: FEntryContext) -> i32 {
    let (tw, rearm): (*const u8, u64) = (ctx.arg(0), ctx.arg(2));
    if rearm as u8 != 0 && substate(tw) == state::TIME_WAIT {
        report(tw, state::TIME_WAIT);
    }
    0
}

/// `fentry/inet_twsk_deschedule_put(tw)`: a RST, or a new connection in the place of the bucket.
#[fentry]
pub fn minisocket_ended(ctx: FEntryContext) -> i32 {
    report(ctx.arg(0), state::CLOSE);
    0
}

/// `fentry/tw_timer_handler(timer)`: the time of the bucket is over.
#[fentry]
pub fn minisocket_expired(ctx: FEntryContext) -> i32 {
    let timer: *const u8 = ctx.arg(0);
    report(timer.wrapping_sub(offset!(tw_timer)), state::CLOSE);
    0
}

#[inline(always)]
fn report(tw: *const u8, state: u8) {
    let cookie_at = tw.wrapping_add(offset!(skc_cookie)).cast::<u64>();
    // SAFETY: a probe read takes any address.
    let cookie = unsafe { bpf_probe_read_kernel(cookie_at) }.unwrap_or(0);
    // The bucket of a socket that netmon has reported has a cookie.
    if cookie != 0 {
        note(kind::MINISOCKET, state, 0, cookie);
    }
}

/// Returns the state that a bucket stands for, or 0.
#[inline(always)]
fn substate(tw: *const u8) -> u8 {
    // SAFETY: a probe read takes any address.
    unsafe { bpf_probe_read_kernel(tw.wrapping_add(offset!(tw_substate))) }.unwrap_or(0)
}
