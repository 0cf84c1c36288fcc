//! Identities of sockets, connections and rows.
//!
//! The kernel counts socket cookies from 1 (`__sock_gen_cookie`, net/core/sock_diag.c), and inode
//! numbers of sockets too: none reaches bit 52. A cookie that is made in an interrupt of the making
//! of another counts down from 2^64 (`gen_cookie_next`, include/linux/cookie.h). This file alone
//! knows the meaning of the upper bits.

use std::{
    hash::{Hash, Hasher},
    net::SocketAddr,
    num::NonZeroU64,
    sync::Arc,
};

use rustc_hash::FxHasher;

use super::time::Mono;

/// Marks a number that netmon gave to a socket whose cookie it cannot have. With the mark a number
/// is below 2^53, up to which most readers of JSON keep integers exact.
const OWN: u64 = 1 << 52;
/// Marks the key of a former TIME_WAIT. A cookie that counts down has the bit too: such a cookie
/// equals a key by chance only.
const FORMER: u64 = 1 << 63;
/// Marks the key of a socket without an inode number.
const NO_INODE: u64 = 1 << 63;

/// The id of a socket: its cookie, as `ss -e` shows it after `sk:`, or a number that netmon gave
/// where the kernel tells no cookie.
///
/// The kernel gives no cookie twice while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(NonZeroU64);

impl SocketId {
    /// Returns the id of a number; none for 0, which stands for an unknown socket.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the id that netmon gives to the socket with the number `count`.
    #[must_use]
    pub(crate) const fn own(count: u64) -> Self {
        match NonZeroU64::new(OWN | count & (OWN - 1)) {
            Some(number) => Self(number),
            None => unreachable!(),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the cookie; none if netmon gave the id.
    #[must_use]
    pub(crate) const fn cookie(self) -> Option<u64> {
        if self.get() >> OWN.trailing_zeros() == 1 { None } else { Some(self.get()) }
    }
}

/// The place of a connection: its namespace, both ends, and the device that it is bound to.
///
/// v4-mapped IPv6 addresses are kept as the IPv4 addresses that they are. Port 0 means unknown for
/// the local end, none for the remote end of a listener. Sockets that are bound to two devices may
/// have the same ends, as in VRFs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Inode number of the network namespace, as in `/proc/PID/ns/net`.
    pub netns: u32,
    /// Number of the network device that the socket is bound to; 0 for none.
    pub interface: u32,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

impl Tuple {
    /// The same connection as its other end sees it, were that in the same namespace and bound to
    /// the same device.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { local: self.remote, remote: self.local, ..self }
    }

    /// The place as rows of the table have it: records of the kernel program have 65535 for any
    /// larger number of a device.
    #[must_use]
    pub(crate) fn as_recorded(self) -> Self {
        Self { interface: self.interface.min(u16::MAX.into()), ..self }
    }
}

/// The facts about the place of a socket that are no part of its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The name that the device had then, in the socket's namespace; none if it is not known.
    pub device: Option<Arc<str>>,
    /// `true` if a socket of AF_INET6 takes IPv6 only (IPV6_V6ONLY), `false` if it takes IPv4 too.
    /// Known of sockets that wait for others.
    pub v6only: Option<bool>,
}

/// One connection of one socket.
///
/// A socket can connect again, so the moment at which the connection opened tells its connections
/// apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The socket.
    pub cookie: SocketId,
    /// The moment of the opening transition. Of a connection that was open before netmon looked,
    /// the moment at which netmon first saw it (`Connection::first_sight`).
    pub epoch: Mono,
}

/// The key of a row of the table: a socket, or the TIME_WAIT that a socket left when it connected
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableKey(u64);

impl TableKey {
    /// The key of the row of a socket.
    #[must_use]
    pub(crate) const fn of_socket(cookie: SocketId) -> Self {
        Self(cookie.get())
    }

    /// The key of the TIME_WAIT at `tuple` of a socket that has connected again.
    #[must_use]
    pub(crate) fn of_former(cookie: SocketId, tuple: &Tuple) -> Self {
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
    pub fn of_socket(cookie: SocketId) -> Self {
        Self(cookie.0 | NO_INODE)
    }
}

/// The socket with a number that is not 0.
#[cfg(test)]
pub(crate) const fn socket(number: u64) -> SocketId {
    SocketId::new(number).expect("not 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_own_numbers_and_former_time_waits_are_apart() {
        let end = ([127, 0, 0, 1], 80).into();
        let tuple = Tuple { netns: 1, interface: 0, local: end, remote: end };
        assert_eq!(SocketId::new(0), None);
        for number in [1, u64::from(u32::MAX), OWN - 1, u64::MAX, u64::MAX - 9] {
            let cookie = socket(number);
            assert_eq!(cookie.cookie(), Some(number));
            assert_eq!(TableKey::of_socket(cookie).is_former(), number > u64::MAX / 2);
            assert!(TableKey::of_former(cookie, &tuple).is_former());
        }
        for count in [0, 1, OWN - 1, u64::MAX] {
            let own = SocketId::own(count);
            assert_eq!(own.cookie(), None);
            assert!(!TableKey::of_socket(own).is_former());
        }
        let [one, two] = [1, 2].map(socket);
        assert_ne!(TableKey::of_former(one, &tuple), TableKey::of_former(two, &tuple));
        assert_ne!(HolderKey::of_inode(NonZeroU64::MIN), HolderKey::of_socket(one));
    }
}
