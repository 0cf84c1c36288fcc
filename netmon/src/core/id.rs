//! Identities of sockets and rows: numbers of 64 bits, some of which the kernel never gives.
//!
//! The kernel counts socket cookies from 1 (`__sock_gen_cookie`, net/core/sock_diag.c), and inode
//! numbers of sockets too: none reaches the two highest bits. This file alone knows the
//! meaning of these bits.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroU64,
};

use rustc_hash::FxHasher;

use super::event::Tuple;

/// The first number that netmon gives to a socket whose cookie it cannot have.
pub(crate) const OWN: u64 = 1 << 62;
/// Marks the key of a former TIME_WAIT.
const FORMER: u64 = 1 << 63;
/// Marks the key of a socket without an inode number.
const NO_INODE: u64 = 1 << 63;

/// Returns whether `id` is a number that netmon gave, not a cookie.
#[must_use]
pub(crate) const fn is_own(id: u64) -> bool {
    id & OWN != 0
}

/// The key of a row of the table: a socket, or the TIME_WAIT that a socket left when it connected
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableKey(u64);

impl TableKey {
    /// The key of the row of a socket.
    #[must_use]
    pub(crate) const fn of_socket(cookie: u64) -> Self {
        Self(cookie)
    }

    /// The key of the TIME_WAIT at `tuple` of a socket that has connected again.
    #[must_use]
    pub(crate) fn of_former(cookie: u64, tuple: &Tuple) -> Self {
        let mut hasher = FxHasher::default();
        (cookie, tuple).hash(&mut hasher);
        Self(hasher.finish() | FORMER)
    }

    /// Returns whether it is the key of a former TIME_WAIT.
    #[cfg(test)]
    pub(crate) const fn is_former(self) -> bool {
        self.0 & FORMER != 0
    }
}

/// The key by which the processes that hold a socket are found: the socket's inode number, or the
/// socket itself where a journal, which has no inode numbers, names its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HolderKey(NonZeroU64);

impl HolderKey {
    /// The key of a socket with an inode number.
    #[must_use]
    pub const fn of_inode(inode: NonZeroU64) -> Self {
        Self(inode)
    }

    /// The key of a socket of a journal.
    #[must_use]
    pub fn of_socket(cookie: NonZeroU64) -> Self {
        Self(cookie | NO_INODE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_own_numbers_and_former_time_waits_are_apart() {
        let end = ([127, 0, 0, 1], 80).into();
        let tuple = Tuple { netns: 1, local: end, remote: end };
        for cookie in [1, u64::from(u32::MAX), OWN - 1] {
            assert!(!is_own(cookie) && is_own(OWN | cookie));
            assert!(!TableKey::of_socket(cookie).is_former());
            assert!(!TableKey::of_socket(OWN | cookie).is_former());
            assert!(TableKey::of_former(cookie, &tuple).is_former());
        }
        let keys = [1, 2].map(|cookie| TableKey::of_former(cookie, &tuple));
        assert_ne!(keys[0], keys[1]);
        let seven = NonZeroU64::new(7).expect("not 0");
        assert_ne!(HolderKey::of_inode(seven), HolderKey::of_socket(seven));
    }
}
