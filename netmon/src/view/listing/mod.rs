//! What a listing shows, and how every form of it is fed.

use std::{io, net::IpAddr};

use crate::core::{
    process::SocketHolders,
    services::Services,
    socket::{Socket, UnixSocket},
};
use name_cache::NameCache;

/// A form of listing: takes row after row.
pub trait ListingView {
    /// Takes an IP socket.
    ///
    /// # Errors
    /// What writing it answered.
    fn socket(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()>;

    /// Takes a unix socket; all of them come after the IP sockets.
    ///
    /// # Errors
    /// What writing it answered.
    fn unix(&mut self, socket: &UnixSocket, owners: &SocketHolders) -> io::Result<()>;

    /// There are no more rows.
    ///
    /// # Errors
    /// What writing answered.
    fn finish(&mut self, owners: &SocketHolders) -> io::Result<()>;
}

/// Names for what rows have as numbers; what has none is shown as its number.
#[derive(Default)]
pub struct ListingNames {
    /// Of ports.
    pub services: Services,
    /// Of addresses.
    pub hosts: NameCache<IpAddr>,
    /// Of user ids.
    pub users: NameCache<u32>,
    /// Of network namespaces, by inode number.
    pub namespaces: NameCache<u32>,
    /// Paths of cgroups, by id.
    pub cgroups: NameCache<u64>,
}
pub(super) mod cells;
pub mod json;
pub mod name_cache;
pub mod netstat;
pub mod summary;
