//! What a listing shows, and how every form of it is fed.

use std::{io, net::IpAddr};

use crate::core::{
    process::Owners,
    services::Services,
    socket::{Socket, UnixSocket},
};
use name_cache::Lookup;

/// A form of listing: takes row after row.
pub trait Rows {
    /// Takes an IP socket.
    ///
    /// # Errors
    /// What writing it answered.
    fn socket(&mut self, socket: &Socket, owners: &Owners) -> io::Result<()>;

    /// Takes a unix socket; all of them come after the IP sockets.
    ///
    /// # Errors
    /// What writing it answered.
    fn unix(&mut self, socket: &UnixSocket, owners: &Owners) -> io::Result<()>;

    /// There are no more rows.
    ///
    /// # Errors
    /// What writing answered.
    fn finish(&mut self, owners: &Owners) -> io::Result<()>;
}

/// Names for what rows have as numbers; what has none is shown as its number.
#[derive(Default)]
pub struct Names {
    /// Of ports.
    pub services: Services,
    /// Of addresses.
    pub hosts: Lookup<IpAddr>,
    /// Of user ids.
    pub users: Lookup<u32>,
    /// Of network namespaces, by inode number.
    pub namespaces: Lookup<u32>,
    /// Paths of cgroups, by id.
    pub cgroups: Lookup<u64>,
}
pub(super) mod cells;
pub mod json;
pub mod name_cache;
pub mod netstat;
pub mod summary;
