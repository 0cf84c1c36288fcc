//! The part of a filter that is decided before a record is made.
//!
//! User space applies the whole filter again. The kernel program admits more, never less.

use core::{
    mem::{offset_of, size_of},
    ptr::addr_of,
};

use aya_ebpf::Global;
use netmon_common::{Clause, KernelFilter, MAX_CLAUSES, state};

use crate::{netns, offsets::load, sock::SockAccess};

/// The filter, written by user space before load. Frozen, so that an empty filter costs nothing.
#[unsafe(no_mangle)]
static FILTER: Global<KernelFilter> = Global::new(KernelFilter::ANY);

/// Returns the number of clauses: a constant to the verifier, which drops the code that 0 rules
/// out.
#[inline(always)]
fn count() -> u32 {
    // SAFETY: read-only memory of this type; volatile, as the compiler must not fold the default
    // in.
    unsafe { load(addr_of!(FILTER).cast(), offset_of!(KernelFilter, count)) }
}

/// Returns whether the filter admits a socket.
#[inline(always)]
pub fn admits(state: u8, family: u8, netns: u32, local_port: u16, remote_port: u16) -> bool {
    count() == 0 || admits_any(state, family, netns, local_port, remote_port)
}

/// Returns whether any clause admits a socket. A function of its own, not a copy at each caller.
// A mangled name would have a hash of the directory in it, and the object other bytes in each
// directory.
#[unsafe(no_mangle)]
#[inline(never)]
fn admits_any(state: u8, family: u8, netns: u32, local_port: u16, remote_port: u16) -> bool {
    for i in 0..MAX_CLAUSES {
        if i >= count() as usize {
            break;
        }
        let at = offset_of!(KernelFilter, clauses) + i * size_of::<Clause>();
        // SAFETY: as in `count`, and `i` is below the number of clauses.
        let mut clause: Clause = unsafe { load(addr_of!(FILTER).cast(), at) };
        if local_port == 0 {
            clause.local_ports = Clause::ANY.local_ports;
        }
        if clause.admits(state, family, netns, local_port, remote_port) {
            return true;
        }
    }
    false
}

/// Returns whether the filter admits a transition. User space leaves the state open in such a
/// filter.
///
/// A connect has no local port yet, and passes. A transition to CLOSE passes with any local port,
/// so that no connect stays open for ever in the eyes of user space.
#[inline(always)]
pub fn admits_transition<S: SockAccess>(sk: S, old: u8, new: u8) -> bool {
    // Listeners lead to the owners of the connections that they take.
    if count() == 0 || old == state::LISTEN || new == state::LISTEN {
        return true;
    }
    let local_port = if new == state::CLOSE { 0 } else { sk.local_port(new) };
    let netns = netns::inum::<S>(sk.net());
    admits(new, sk.family() as u8, netns, local_port, sk.remote_port())
}
