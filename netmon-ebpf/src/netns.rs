//! Which namespace a socket is in: the inode number that users know it by.
//!
//! `ns.inum` shares a cache line with the namespace's count of references, which each socket that comes or goes
//! changes: to read it took a third of the program's time while two CPUs made connections (docs/performance.md).
//! `net_cookie` lies where nothing changes, and leads to the number that was read before.

use aya_ebpf::{macros::map, maps::Array};

use crate::{offsets::offset, sock::SockAccess};

/// Namespaces whose numbers are kept; a power of two.
const KEPT: u32 = 64;

/// By the lower bits of a namespace's cookie: the cookie's lower half, and the number below it, in one word, so that
/// a program that interrupts another cannot mix the two. Cookies are counted up (`gen_cookie_next`,
/// include/linux/cookie.h): for half of one to mean another namespace, 2^32 would have to come between.
#[map]
static NUMBERS: Array<u64> = Array::with_max_entries(KEPT, 0);

/// Inode number of a namespace, a `struct net`.
#[inline(always)]
pub fn inum<S: SockAccess>(net: *const u8) -> u32 {
    if offset!(net_cookie) == 0 {
        return S::net_field(net, offset!(net_inum));
    }
    let cookie: u64 = S::net_field(net, offset!(net_cookie));
    let slot = NUMBERS.get_ptr_mut(cookie as u32 % KEPT);
    if let Some(slot) = slot {
        // SAFETY: the lookup returned a slot; it is read and written whole.
        let known = unsafe { slot.read_volatile() };
        // Before Linux 5.12, a namespace has no cookie until somebody asks for it.
        if known >> 32 == cookie & 0xffff_ffff && cookie != 0 {
            return known as u32;
        }
    }
    let number: u32 = S::net_field(net, offset!(net_inum));
    if let Some(slot) = slot {
        // SAFETY: as above.
        unsafe { slot.write_volatile(cookie << 32 | number as u64) };
    }
    number
}
