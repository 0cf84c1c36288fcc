//! Listings of sockets: the interface of every form, and the names that rows show.

pub(super) mod cells;
pub(crate) mod json;
pub(crate) mod name_cache;
pub(crate) mod netstat;
mod unix_rows;

use std::{io, net::IpAddr};

use crate::{
    core::{
        process::SocketHolders,
        services::Services,
        socket::{Socket, UnixSocket},
    },
    view::{language::Language, text::netns::Netns},
};
use name_cache::NameCache;

/// The parts of a listing besides netstat's usual columns.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetstatColumns {
    /// The headings.
    pub heading: bool,
    /// PID/Program name.
    pub owners: bool,
    /// Each process on a line of its own, with more facts.
    pub wide_owner: bool,
    /// User, inode; and at the end cookie, namespace and cgroup.
    pub extended: bool,
    /// Timer.
    pub timers: bool,
    /// TCP's measurements, on a line of their own.
    pub info: bool,
    /// The network namespace, if the listing has a socket of another one than the own. A listing
    /// of more rows than are held may have such a socket later.
    pub netns: bool,
}

/// A form of listing: takes row after row.
pub trait ListingView {
    /// Takes an IP socket.
    ///
    /// # Errors
    /// The error of the output.
    fn socket(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()>;

    /// Takes a unix socket; all of them come after the IP sockets.
    ///
    /// # Errors
    /// The error of the output.
    fn unix(&mut self, socket: &UnixSocket, owners: &SocketHolders) -> io::Result<()>;

    /// Ends the listing after the last row, and writes the rest out.
    ///
    /// # Errors
    /// The error of the output.
    fn finish(&mut self, owners: &SocketHolders) -> io::Result<()>;
}

/// Names for the numbers of rows. A number without a name is shown as a number.
#[derive(Default)]
pub struct ListingNames {
    /// Names of ports.
    pub services: Services,
    /// Names of addresses.
    pub hosts: NameCache<IpAddr>,
    /// Names of user ids.
    pub users: NameCache<u32>,
    /// Names of network namespaces, by inode number.
    pub namespaces: NameCache<u32>,
    /// The inode number of the own network namespace, which is called `self`.
    pub own_netns: Option<u32>,
    /// Paths of cgroups, by id.
    pub cgroups: NameCache<u64>,
    /// The language of headings and states.
    pub language: &'static Language,
}

impl ListingNames {
    fn netns(&mut self, inum: u32) -> Netns<'_> {
        Netns { inum, own: self.own_netns, name: self.namespaces.name(inum) }
    }
}
