//! The routes of every table, from rtnetlink.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_route::{
    AddressFamily,
    route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteType, RouteVia,
    },
};

use super::{
    interfaces::names,
    netlink::{Row, dump},
};
use crate::core::network::{Hop, Route};

/// The fraction in which rtnetlink gives round trip times: eighths of a millisecond.
const RTT_PARTS: u32 = 8;

/// Returns the routes of a family, in the order of the kernel's tables.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn routes(ipv6: bool) -> io::Result<Vec<Route>> {
    let family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let names = names()?;
    let routes: Vec<RouteMessage> = dump(family.into())?;
    Ok(routes.iter().map(|message| route(message, ipv6, &names)).collect())
}

impl Row for RouteMessage {
    const TABLE: &str = "table of routes";
    const QUESTION: u16 = libc::RTM_GETROUTE;
    const ANSWER: u16 = libc::RTM_NEWROUTE;
    /// `struct rtmsg` (include/uapi/linux/rtnetlink.h).
    const PREFIX: usize = 12;

    fn parse(answer: &[u8]) -> Result<Self, DecodeError> {
        Parseable::parse(answer)
    }
}

fn route(message: &RouteMessage, ipv6: bool, names: &HashMap<u32, String>) -> Route {
    let any = if ipv6 { IpAddr::from(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut route = Route {
        destination: any,
        prefix: message.header.destination_prefix_length,
        kind: kind(message.header.kind),
        table: message.header.table.into(),
        origin: origin(message.header.protocol),
        metric: 0,
        source: None,
        hops: Vec::new(),
        advmss: 0,
        window: 0,
        rtt: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => route.destination = address(to).unwrap_or(any),
            RouteAttribute::PrefSource(from) => route.source = address(from),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Metrics(metrics) => {
                for metric in metrics {
                    match metric {
                        RouteMetric::Advmss(bytes) => route.advmss = *bytes,
                        RouteMetric::Window(bytes) => route.window = *bytes,
                        RouteMetric::Rtt(parts) => route.rtt = parts / RTT_PARTS,
                        _ => {}
                    }
                }
            }
            RouteAttribute::MultiPath(ways) => {
                route.hops = ways.iter().map(|way| hop(&way.attributes, names)).collect();
                for (hop, way) in route.hops.iter_mut().zip(ways) {
                    hop.device = names.get(&way.interface_index).cloned();
                }
            }
            _ => {}
        }
    }
    if route.hops.is_empty() {
        let hop = hop(&message.attributes, names);
        route.hops.extend(Some(hop).filter(|hop| *hop != Hop::default()));
    }
    route
}

fn hop(attributes: &[RouteAttribute], names: &HashMap<u32, String>) -> Hop {
    let mut hop = Hop::default();
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(gateway) => hop.gateway = address(gateway),
            RouteAttribute::Via(RouteVia::Inet(gateway)) => hop.gateway = Some((*gateway).into()),
            RouteAttribute::Via(RouteVia::Inet6(gateway)) => hop.gateway = Some((*gateway).into()),
            RouteAttribute::Oif(index) => hop.device = names.get(index).cloned(),
            _ => {}
        }
    }
    hop
}

const fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// Returns the word of ip-route(8) for a type.
const fn kind(kind: RouteType) -> &'static str {
    match kind {
        RouteType::Unicast => "unicast",
        RouteType::Local => "local",
        RouteType::Broadcast => "broadcast",
        RouteType::Anycast => "anycast",
        RouteType::Multicast => "multicast",
        RouteType::BlackHole => "blackhole",
        RouteType::Unreachable => "unreachable",
        RouteType::Prohibit => "prohibit",
        RouteType::Throw => "throw",
        _ => "other",
    }
}

/// Returns the word of ip-route(8) for the origin of a route.
const fn origin(origin: RouteProtocol) -> &'static str {
    match origin {
        RouteProtocol::IcmpRedirect => "redirect",
        RouteProtocol::Kernel => "kernel",
        RouteProtocol::Boot => "boot",
        RouteProtocol::Static => "static",
        RouteProtocol::Ra => "ra",
        RouteProtocol::Zebra => "zebra",
        RouteProtocol::Bird => "bird",
        RouteProtocol::Dhcp => "dhcp",
        RouteProtocol::KeepAlived => "keepalived",
        RouteProtocol::Babel => "babel",
        RouteProtocol::Bgp => "bgp",
        RouteProtocol::Isis => "isis",
        RouteProtocol::Ospf => "ospf",
        RouteProtocol::Rip => "rip",
        RouteProtocol::Eigrp => "eigrp",
        _ => "other",
    }
}
