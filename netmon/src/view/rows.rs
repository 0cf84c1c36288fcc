//! What a listing shows, and how every form of it is fed.

use std::{io, net::IpAddr};

use super::lookup::Lookup;
use crate::core::{
    names::Services,
    owners::Owners,
    socket::{Socket, UnixSocket},
};

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
