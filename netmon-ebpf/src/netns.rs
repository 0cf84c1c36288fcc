//! The network namespace of a socket: the inode number that users know.
//!
//! `ns.inum` shares a cache line with the namespace's count of references, which each socket that
//! comes or goes changes. To read `ns.inum` took a third of the program's time while two CPUs made
//! connections (docs/adr/0010-cookies-before-helpers.md). `net_cookie` lies where nothing changes,
//! and leads to the inode number that was read before.

use aya_ebpf::{macros::map, maps::Array};

use crate::{offsets::offset, sock::SockAccess};

/// The number of namespaces whose inode numbers are kept; a power of two.
const KEPT: u32 = 64;

/// Inode numbers, by the lower bits of a namespace's cookie.
///
/// Each word has the lower half of the cookie, and below it the inode number: one word, so that a
/// program that interrupts another cannot mix the two. Cookies are counted up (`gen_cookie_next`,
/// include/linux/cookie.h): half of a cookie could mean another namespace only after 2^32
/// namespaces.
#[map]
static NUMBERS: Array<u64> = Array::with_max_entries(KEPT, 0);

/// Returns the inode number of a namespace, a `struct net`.
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
        // Before Linux 5.12, a namespace has no cookie until a program asks for one.
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
