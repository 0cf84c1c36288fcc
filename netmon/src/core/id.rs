//! Identities of sockets: numbers of 64 bits, some of which the kernel never gives.

/// Numbers of netmon's own begin here. Cookies are counted from 1 (`__sock_gen_cookie`, net/core/sock_diag.c),
/// and the highest bit has a meaning in the table.
pub const OWN: u64 = 1 << 62;

/// Whether `id` is one of netmon's own, not a cookie.
#[must_use]
pub const fn is_own(id: u64) -> bool {
    id & OWN != 0
}
