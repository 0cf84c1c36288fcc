//! The network besides its sockets: routes, devices with their addresses, multicast groups, and
//! the counters of protocols.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::services::lines_of;

/// The main table of routes, `RT_TABLE_MAIN` (include/uapi/linux/rtnetlink.h).
pub(crate) const MAIN_TABLE: u32 = 254;
/// The table of the host's own addresses, `RT_TABLE_LOCAL`.
pub(crate) const LOCAL_TABLE: u32 = 255;

/// A route, as rtnetlink lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    /// The first address of the destination.
    pub(crate) destination: IpAddr,
    /// The length of the destination's prefix, bits.
    pub(crate) prefix: u8,
    /// The fate of a packet: `unicast`, `local`, `unreachable`.
    pub(crate) kind: &'static str,
    /// The number of the table.
    pub(crate) table: u32,
    /// The origin of the route.
    pub(crate) origin: &'static str,
    /// The kernel takes the route with the lowest metric, of several.
    pub(crate) metric: u32,
    /// The address that packets get as their source.
    pub(crate) source: Option<IpAddr>,
    /// The ways, of which the kernel takes one for each flow. An unreachable destination has none.
    pub(crate) hops: Vec<Hop>,
    /// The maximum segment size that TCP announces, bytes; 0 for the device's.
    pub(crate) advmss: u32,
    /// The largest window that TCP announces, bytes; 0 without a limit.
    pub(crate) window: u32,
    /// The round trip time from which TCP starts, ms; 0 for none.
    pub(crate) rtt: u32,
}

/// One way of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Hop {
    /// The router; none where the destination is on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// The name of the device.
    pub(crate) device: Option<String>,
}

/// A row of `/proc/net/ipv6_route`, which has more than rtnetlink: the count of references, the
/// kernel's flags, and the entry that answers when no route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ipv6Entry {
    pub(crate) destination: Ipv6Addr,
    pub(crate) prefix: u8,
    pub(crate) next_hop: Ipv6Addr,
    pub(crate) metric: u32,
    pub(crate) references: u32,
    pub(crate) uses: u32,
    /// `RTF_*` (include/uapi/linux/route.h, ipv6_route.h).
    pub(crate) flags: u32,
    pub(crate) device: String,
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// `IFF_*` (include/uapi/linux/if.h).
    pub(crate) flags: u32,
    /// `up`, `down` and so on, as the kernel calls the operational state (RFC 2863).
    pub(crate) state: &'static str,
    /// `ARPHRD_*` (include/uapi/linux/if_arp.h).
    pub(crate) kind: u16,
    /// The address of the hardware.
    pub(crate) hardware: Vec<u8>,
    /// The largest packet, bytes.
    pub(crate) mtu: u32,
    /// The length of the queue to the device, packets.
    pub(crate) queue: u32,
    /// The interrupt, and the beginning of the memory for input and output; 0 for none.
    pub(crate) interrupt: u16,
    pub(crate) base: u64,
    pub(crate) addresses: Vec<InterfaceAddress>,
    pub(crate) counters: InterfaceCounters,
}

/// An address of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    /// The other end of a link between two.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) broadcast: Option<Ipv4Addr>,
    /// The name that an address of IPv4 has, mostly the device's.
    pub(crate) label: Option<String>,
}

/// The counters of a device. The names are those of rtnetlink; errors that `/proc/net/dev` adds up
/// are added up as there (`dev_seq_printf_stats`, net/core/net-procfs.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InterfaceCounters(pub(crate) [u64; 16]);

impl InterfaceCounters {
    /// The names, in the order of the values, which is that of `/proc/net/dev`.
    pub(crate) const NAMES: [&'static str; 16] = [
        "rx_bytes",
        "rx_packets",
        "rx_errors",
        "rx_dropped",
        "rx_overruns",
        "rx_frame",
        "rx_compressed",
        "multicast",
        "tx_bytes",
        "tx_packets",
        "tx_errors",
        "tx_dropped",
        "tx_overruns",
        "collisions",
        "tx_carrier",
        "tx_compressed",
    ];

    /// Returns the counter of a name of [`Self::NAMES`].
    pub(crate) fn get(&self, name: &str) -> u64 {
        Self::NAMES.iter().zip(self.0).find(|(known, _)| **known == name).map_or(0, |(_, n)| n)
    }
}

/// A multicast group that a device is a member of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MulticastGroup {
    pub(crate) device: String,
    /// The number of sockets and other users of the membership.
    pub(crate) references: u32,
    pub(crate) group: IpAddr,
}

/// The counters of one protocol, in the kernel's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolCounters {
    /// The kernel's word, such as `TcpExt`.
    pub(crate) protocol: String,
    /// The kernel's names, and the values.
    pub(crate) counters: Vec<(String, u64)>,
}

/// A row of a listing of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkRow {
    Route(Route),
    Interface(Box<Interface>),
    Counter(Counter),
}

/// A counter of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    /// The kernel's words for the protocol and for the counter.
    pub(crate) protocol: String,
    pub(crate) name: String,
    pub(crate) value: u64,
}

/// The identity of a row, by which two listings are compared.
#[derive(Debug, PartialEq, Eq, Hash)]
enum RowKey<'a> {
    Route(&'a Route),
    Interface(u32, &'a str),
    Counter(&'a str, &'a str),
}

/// The fate of a row between two listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowChange {
    Added,
    Removed,
    /// The counters that changed, by their names, each with its increase.
    Changed(Vec<(String, i64)>),
}

impl RowChange {
    /// Returns the word of JSON.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed(_) => "changed",
        }
    }
}

impl NetworkRow {
    fn key(&self) -> RowKey<'_> {
        match self {
            Self::Route(route) => RowKey::Route(route),
            Self::Interface(interface) => RowKey::Interface(interface.index, &interface.name),
            Self::Counter(counter) => RowKey::Counter(&counter.protocol, &counter.name),
        }
    }

    /// Returns the change from an earlier state of the same row; none without a change.
    fn change_from(&self, before: &Self) -> Option<RowChange> {
        if self == before {
            return None;
        }
        let increase = |name: &str, now: u64, then: u64| {
            let increase = now.wrapping_sub(then).cast_signed();
            (increase != 0).then(|| (name.to_owned(), increase))
        };
        let increases = match (self, before) {
            (Self::Interface(now), Self::Interface(then)) => {
                let values = now.counters.0.into_iter().zip(then.counters.0);
                let named = InterfaceCounters::NAMES.into_iter().zip(values);
                named.filter_map(|(name, (now, then))| increase(name, now, then)).collect()
            }
            (Self::Counter(now), Self::Counter(then)) => {
                increase(&now.name, now.value, then.value).into_iter().collect()
            }
            _ => Vec::new(),
        };
        Some(RowChange::Changed(increases))
    }
}

/// Rows with the inode numbers of their network namespaces.
pub(crate) type NetworkRows = Vec<(u32, NetworkRow)>;

/// Returns the rows that differ between two listings: rows of `now`, then rows that are gone.
pub(crate) fn differences<'a>(
    before: &'a NetworkRows,
    now: &'a NetworkRows,
) -> Vec<(u32, &'a NetworkRow, RowChange)> {
    let keyed = |rows: &'a NetworkRows| -> HashMap<_, _> {
        rows.iter().map(|(netns, row)| ((*netns, row.key()), row)).collect()
    };
    let (old, new) = (keyed(before), keyed(now));
    let changed = now.iter().filter_map(|(netns, row)| {
        let change = match old.get(&(*netns, row.key())) {
            Some(before) => row.change_from(before)?,
            None => RowChange::Added,
        };
        Some((*netns, row, change))
    });
    let gone = before.iter().filter(|(netns, row)| !new.contains_key(&(*netns, row.key())));
    let gone = gone.map(|(netns, row)| (*netns, row, RowChange::Removed));
    changed.chain(gone).collect()
}

/// The names that a host gives to networks and to protocols of IP: networks(5), protocols(5).
#[derive(Debug, Default)]
pub(crate) struct NetworkNames {
    networks: HashMap<Ipv4Addr, String>,
    protocols: HashMap<u16, String>,
}

impl NetworkNames {
    /// Reads `/etc/networks` and `/etc/protocols`. A host without them has no names.
    pub(crate) fn load() -> Self {
        let read = |path| fs::read(path).unwrap_or_default();
        Self::parse(&read("/etc/networks"), &read("/etc/protocols"))
    }

    fn parse(networks: &[u8], protocols: &[u8]) -> Self {
        let mut names = Self::default();
        for [name, address] in lines_of(networks) {
            if let Ok(address) = address.parse() {
                names.networks.entry(address).or_insert(name);
            }
        }
        for [name, number] in lines_of(protocols) {
            if let Ok(number) = number.parse() {
                names.protocols.insert(number, name);
            }
        }
        names
    }

    pub(crate) fn network(&self, address: Ipv4Addr) -> Option<&str> {
        self.networks.get(&address).map(String::as_str)
    }

    pub(crate) fn protocol(&self, number: u16) -> Option<&str> {
        self.protocols.get(&number).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_protocols_have_names() {
        let names = NetworkNames::parse(
            b"# symbolic names\nlink-local 169.254.0.0\nbad 1.2\nlone\n",
            b"ip 0 IP # internet protocol\nicmp\t1\tICMP\nbad x\n\xff 2\n",
        );
        assert_eq!(names.network([169, 254, 0, 0].into()), Some("link-local"));
        assert_eq!(names.network([1, 2, 0, 0].into()), None);
        assert_eq!((names.protocol(1), names.protocol(0)), (Some("icmp"), Some("ip")));
        assert_eq!((names.protocol(2), names.protocol(3)), (Some("\u{fffd}"), None));
    }

    fn counter(name: &str, value: u64) -> (u32, NetworkRow) {
        let protocol = "Tcp".to_owned();
        (1, NetworkRow::Counter(Counter { protocol, name: name.to_owned(), value }))
    }

    #[test]
    fn rows_are_added_removed_or_changed() {
        let before = vec![counter("InSegs", 5), counter("CurrEstab", 3), counter("Gone", 1)];
        let now = vec![counter("InSegs", 5), counter("CurrEstab", 1), counter("New", 1)];
        let changes: Vec<_> =
            differences(&before, &now).into_iter().map(|(_, _, change)| change).collect();
        let fell = RowChange::Changed(vec![("CurrEstab".to_owned(), -2)]);
        assert_eq!(changes, [fell, RowChange::Added, RowChange::Removed]);
        assert!(differences(&now, &now).is_empty());
        let elsewhere: NetworkRows = now.iter().map(|(_, row)| (2, row.clone())).collect();
        assert_eq!(differences(&now, &elsewhere).len(), 6, "another namespace");
        let mut device = Interface { name: "eth0".to_owned(), ..Interface::default() };
        let old = vec![(1, NetworkRow::Interface(Box::new(device.clone())))];
        device.counters.0[0] = 9;
        let new = vec![(1, NetworkRow::Interface(Box::new(device)))];
        let change = RowChange::Changed(vec![("rx_bytes".to_owned(), 9)]);
        assert_eq!(differences(&old, &new)[0].2, change);
    }

    #[test]
    fn a_counter_of_a_device_has_a_name() {
        let mut counters = InterfaceCounters::default();
        counters.0[8] = 7;
        assert_eq!((counters.get("tx_bytes"), counters.get("rx_bytes")), (7, 0));
    }
}
