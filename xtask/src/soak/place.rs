//! The namespaces of a soak by number, with their names and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The number of the own namespace.
pub(super) const OWN: u8 = 0;
/// The number of namespaces that last as long as the soak.
pub(super) const LASTING: u8 = 3;

/// Returns the name of a namespace for people.
pub(super) fn name_of(number: u8) -> String {
    match number {
        OWN => "the own namespace".to_owned(),
        1..=LASTING => format!("namespace {number}"),
        _ => "passing namespaces".to_owned(),
    }
}

/// Returns whether the address may be one of a soak's.
pub(super) fn has_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..2] == ipv4(OWN).octets()[..2],
        IpAddr::V6(ip) => ip == ipv6(OWN) || ip.segments()[0] == ipv6(LASTING).segments()[0],
    }
}

/// Returns the IPv4 address of a namespace: all of 127.0.0.0/8 is on a loopback.
pub(super) const fn ipv4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 9, number, 1)
}

/// Returns the IPv6 address of a namespace. The own loopback has one that is not to be changed.
pub(super) const fn ipv6(number: u8) -> Ipv6Addr {
    match number {
        OWN => Ipv6Addr::LOCALHOST,
        _ => Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, number as u16),
    }
}
