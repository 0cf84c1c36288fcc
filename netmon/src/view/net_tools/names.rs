//! Addresses and ports by name, as netstat writes them.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
};

use crate::{
    core::{escape::Escaped, network::NetworkNames, services::Services, socket::Protocol},
    view::listing::name_cache::NameCache,
};

/// The names that rows show in place of numbers.
#[derive(Default)]
pub(crate) struct AddressNames {
    /// Hosts are numbers.
    pub(crate) numeric_hosts: bool,
    /// Ports are numbers.
    pub(crate) numeric_ports: bool,
    pub(crate) services: Services,
    pub(crate) networks: NetworkNames,
    /// Names of addresses.
    pub(crate) hosts: NameCache<IpAddr>,
    /// Names of user ids.
    pub(crate) users: NameCache<u32>,
}

impl AddressNames {
    /// Returns the name of an address: of a network if the address is a network's first, and the
    /// address itself if it has no name.
    pub(super) fn host(&mut self, address: IpAddr) -> String {
        match address {
            _ if self.numeric_hosts => address.to_string(),
            IpAddr::V6(any) if any.is_unspecified() => "[::]".to_owned(),
            IpAddr::V4(any) if any.is_unspecified() => any.to_string(),
            IpAddr::V4(network) if network.octets()[3] == 0 => self.network(network),
            _ => match self.hosts.name(address) {
                Some(name) => Escaped(name.as_bytes()).to_string(),
                None => address.to_string(),
            },
        }
    }

    /// Returns the name of the destination of a route.
    pub(super) fn destination(&mut self, address: Ipv4Addr, prefix: u8) -> String {
        if self.numeric_hosts {
            return address.to_string();
        }
        match (address.is_unspecified(), prefix) {
            (true, 0) => "default".to_owned(),
            (true, _) => address.to_string(),
            (false, 32) => self.host(address.into()),
            _ => self.network(address),
        }
    }

    fn network(&self, address: Ipv4Addr) -> String {
        match self.networks.network(address) {
            Some(name) => Escaped(name.as_bytes()).to_string(),
            None => address.to_string(),
        }
    }

    /// Writes an address and its port.
    pub(super) fn put_end(
        &mut self,
        text: &mut Vec<u8>,
        protocol: Protocol,
        (address, port): (IpAddr, u16),
    ) {
        // Writing to a vector does not fail, here and below.
        let _ = match self.numeric_hosts {
            true => write!(text, "{address}:"),
            false => write!(text, "{}:", self.host(address)),
        };
        let name = match protocol {
            _ if self.numeric_ports => None,
            Protocol::Raw => self.networks.protocol(port),
            _ => self.services.name(protocol, port),
        };
        let _ = match (port, name) {
            (0, _) => write!(text, "*"),
            (_, Some(name)) => write!(text, "{}", Escaped(name.as_bytes())),
            (port, None) => write!(text, "{port}"),
        };
    }
}
