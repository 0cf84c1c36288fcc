//! The tables of routes and of multicast groups.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
};

use super::AddressNames;
use crate::{
    core::{
        escape::Escaped,
        network::{Ipv6Entry, MulticastGroup, Route},
    },
    view::language::TableWords,
};

/// The columns of the table of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteColumns {
    /// MSS, window and round trip time.
    Tcp,
    /// Metric, references and uses.
    Metric,
    /// All of these.
    Both,
    /// The title alone.
    Title,
}

impl RouteColumns {
    /// Writes the line of headings.
    fn put_heading(self, out: &mut Vec<u8>, headings: [&str; 3]) {
        let [tcp, metric, both] = headings;
        let line = match self {
            Self::Tcp => tcp,
            Self::Metric => metric,
            Self::Both => both,
            Self::Title => return,
        };
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(out, "{line}");
    }
}

/// The address that `/proc/net/route` has for a route without a gateway.
const NO_GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Writes routes of the main table as `/proc/net/route` has them (`fib_route_seq_show`,
/// net/ipv4/fib_trie.c): of several ways the first.
pub(crate) fn put_ipv4_routes(
    out: &mut Vec<u8>,
    routes: &[Route],
    columns: RouteColumns,
    names: &mut AddressNames,
    words: &TableWords,
) {
    let _ = writeln!(out, "{}", words.routes);
    columns.put_heading(out, words.route_headings);
    let is_shown = |route: &&Route| !matches!(route.kind, "broadcast" | "multicast");
    for route in routes.iter().filter(is_shown) {
        put_ipv4_route(out, route, columns, names);
    }
}

fn put_ipv4_route(
    out: &mut Vec<u8>,
    route: &Route,
    columns: RouteColumns,
    names: &mut AddressNames,
) {
    let IpAddr::V4(destination) = route.destination else { return };
    let to = names.destination(destination, route.prefix);
    let bits = u32::MAX.checked_shl(32 - u32::from(route.prefix)).unwrap_or(0);
    let mask = Ipv4Addr::from_bits(bits);
    let Route { metric, window, rtt, .. } = route;
    let host = if route.prefix == 32 { "H" } else { "" };
    if matches!(route.kind, "unreachable" | "prohibit") {
        let _ = write!(out, "{to:<15} {:<15} {mask:<15} {:<5}", "-", format!("!{host}"));
        let _ = match columns {
            RouteColumns::Tcp => writeln!(out, "     - -          - -"),
            RouteColumns::Metric => writeln!(out, " {metric:<6} -  {:>7} -", 0),
            RouteColumns::Both => {
                writeln!(out, " {metric:<6} -  {:>7} -        -     -      -", 0)
            }
            RouteColumns::Title => Ok(()),
        };
        return;
    }
    let hop = route.hops.first();
    let gateway = hop.and_then(|hop| hop.gateway);
    let flags = format!("U{}{host}", if gateway.is_some() { "G" } else { "" });
    // The table has no room for a router of IPv6.
    let gateway = names.host(gateway.filter(IpAddr::is_ipv4).unwrap_or(NO_GATEWAY));
    let device = hop.and_then(|hop| hop.device.as_deref()).unwrap_or("*");
    let device = Escaped(device.as_bytes()).to_string();
    // The kernel adds the least headers of IPv4 and TCP.
    let mss = if route.advmss == 0 { 0 } else { route.advmss.saturating_add(40) };
    let start = format!("{to:<15} {gateway:<15} {mask:<15} {flags:<5}");
    let _ = match columns {
        RouteColumns::Tcp => writeln!(out, "{start} {mss:>5} {window:<5} {rtt:>6} {device}"),
        RouteColumns::Metric => writeln!(out, "{start} {metric:<6} {:<2} {:>7} {device}", 0, 0),
        RouteColumns::Both => writeln!(
            out,
            "{start} {metric:<6} {:<3} {:>6} {device:<6}   {mss:<5} {window:<6} {rtt}",
            0, 0
        ),
        RouteColumns::Title => Ok(()),
    };
}

/// Writes the headings over the cache of routes of IPv4, which Linux has not had since 3.6.
pub(crate) fn put_cache_heading(out: &mut Vec<u8>, columns: RouteColumns, words: &TableWords) {
    let _ = writeln!(out, "{}", words.route_cache);
    columns.put_heading(out, words.cache_headings);
}

/// The flags of a route of IPv6, and their letters, in netstat's order (include/uapi/linux/route.h,
/// ipv6_route.h).
const FLAGS: [(u32, char); 12] = [
    (0x1, 'U'),
    (0x200, '!'),
    (0x2, 'G'),
    (0x4, 'H'),
    (0x1_0000, 'D'),
    (0x4_0000, 'A'),
    (CACHED, 'C'),
    (0x2_0000, 'a'),
    (0x40_0000, 'e'),
    (0x20, 'm'),
    (0x20_0000, 'n'),
    (0x200_0000, 'f'),
];
/// `RTF_CACHE`.
const CACHED: u32 = 0x100_0000;

/// Writes the routes of IPv6 of all tables, or with `cached` those that the kernel keeps for single
/// destinations.
pub(crate) fn put_ipv6_routes(
    out: &mut Vec<u8>,
    entries: &[Ipv6Entry],
    cached: bool,
    names: &mut AddressNames,
    words: &TableWords,
) {
    let title = if cached { words.ipv6_route_cache } else { words.ipv6_routes };
    let _ = writeln!(out, "{title}\n{}", words.ipv6_route_headings);
    for entry in entries.iter().filter(|entry| cached == (entry.flags & CACHED != 0)) {
        let to = format!("{}/{}", names.host(entry.destination.into()), entry.prefix);
        let next_hop = names.host(entry.next_hop.into());
        let is_set = |flag: &&(u32, char)| entry.flags & flag.0 != 0;
        let flags: String = FLAGS.iter().filter(is_set).map(|(_, letter)| letter).collect();
        let Ipv6Entry { references, uses, device, .. } = entry;
        let metric = entry.metric.cast_signed();
        let device = Escaped(device.as_bytes());
        let _ = writeln!(
            out,
            "{to:<30} {next_hop:<26} {flags:<4} {metric:<3} {references:<1} {uses:>6} {device}"
        );
    }
}

/// Writes the multicast groups of both families.
pub(crate) fn put_groups(
    out: &mut Vec<u8>,
    groups: &[MulticastGroup],
    names: &mut AddressNames,
    words: &TableWords,
) {
    let TableWords { groups: title, group_headings, .. } = words;
    let _ = writeln!(out, "{title}\n{group_headings}\n{:-<15} ------ {:-<21}", "", "");
    for MulticastGroup { device, references, group } in groups {
        let device = Escaped(device.as_bytes()).to_string();
        let _ = writeln!(out, "{device:<15} {references:<6} {}", names.host(*group));
    }
}
