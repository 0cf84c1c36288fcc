//! The table of devices.

use std::{
    cmp::Ordering,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    core::{
        escape::Escaped,
        network::{Interface, InterfaceAddress},
    },
    view::language::TableWords,
};

/// The form of the table, and the devices in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InterfaceForm {
    /// Several lines for each device, as ifconfig(8) prints them.
    pub(crate) is_long: bool,
    /// Devices that are down too.
    pub(crate) all: bool,
}

const UP: u32 = 0x1;
const BROADCAST: u32 = 0x2;
const POINT_TO_POINT: u32 = 0x10;
/// The flags that ioctl(2) gives: netlink has more (include/uapi/linux/if.h).
const OLD_FLAGS: u32 = 0xffff;

/// Flags, their letters, and their names, in the order of the letters.
const FLAGS: [(u32, char, &str); 14] = [
    (0x200, 'A', "ALLMULTI"),
    (BROADCAST, 'B', "BROADCAST"),
    (0x4, 'D', "DEBUG"),
    (0x8, 'L', "LOOPBACK"),
    (0x1000, 'M', "MULTICAST"),
    (0x8000, 'd', "DYNAMIC"),
    (0x100, 'P', "PROMISC"),
    (0x20, 'N', "NOTRAILERS"),
    (0x80, 'O', "NOARP"),
    (POINT_TO_POINT, 'p', "POINTOPOINT"),
    (0x800, 's', "SLAVE"),
    (0x400, 'm', "MASTER"),
    (0x40, 'R', "RUNNING"),
    (UP, 'U', "UP"),
];
/// The letters of the flags in the order of the names.
const NAMED: &str = "UBDLpNROPAsmMd";

/// Kinds of hardware, with the words for each (include/uapi/linux/if_arp.h).
const KINDS: [(u16, &str, &str); 5] = [
    (1, "ether", "Ethernet"),
    (512, "ppp", "Point-to-Point Protocol"),
    (768, "tunnel", "IPIP Tunnel"),
    (772, "loop", "Local Loopback"),
    (776, "sit", "IPv6-in-IPv4"),
];

/// Writes the devices by name.
pub(crate) fn put_interfaces(
    out: &mut Vec<u8>,
    interfaces: &mut [Interface],
    InterfaceForm { is_long, all }: InterfaceForm,
    words: &TableWords,
) {
    interfaces.sort_by(|one, other| by_name(&one.name, &other.name));
    if !is_long {
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(out, "{}", words.device_headings);
    }
    for interface in interfaces.iter().filter(|device| all || device.flags & UP != 0) {
        if is_long { put_long(out, interface) } else { put_short(out, interface, words) }
    }
}

/// Compares names with numbers at their ends: `eth2` comes before `eth10`.
fn by_name(one: &str, other: &str) -> Ordering {
    let split = |name: &str| {
        let text = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        (name[..text].to_owned(), name[text..].parse::<u64>().unwrap_or(0))
    };
    split(one).cmp(&split(other))
}

fn put_short(out: &mut Vec<u8>, interface: &Interface, words: &TableWords) {
    let name = Escaped(interface.name.as_bytes()).to_string();
    let count = |name| interface.counters.get(name);
    let _ = write!(
        out,
        "{name:<15} {:>5} {:>8} {:>6} {:>6} {:<6} {:>8} {:>6} {:>6} {:>6} ",
        interface.mtu,
        count("rx_packets"),
        count("rx_errors"),
        count("rx_dropped"),
        count("rx_overruns"),
        count("tx_packets"),
        count("tx_errors"),
        count("tx_dropped"),
        count("tx_overruns")
    );
    let flags = interface.flags & OLD_FLAGS;
    let set = FLAGS.iter().filter(|(flag, ..)| flags & flag != 0);
    let letters: String = set.map(|(_, letter, _)| letter).collect();
    let _ = writeln!(out, "{}", if flags == 0 { words.no_flags } else { &letters });
}

fn put_long(out: &mut Vec<u8>, interface: &Interface) {
    let flags = interface.flags & OLD_FLAGS;
    let known = NAMED.chars().filter_map(|named| FLAGS.iter().find(|flag| flag.1 == named));
    let names: Vec<_> = known.filter(|flag| flags & flag.0 != 0).map(|flag| flag.2).collect();
    let Interface { name, mtu, .. } = interface;
    let name = Escaped(name.as_bytes());
    let _ = writeln!(out, "{name}: flags={flags}<{}>  mtu {mtu}", names.join(","));
    let mut addresses = interface.addresses.iter();
    let is_own = |address: &&InterfaceAddress| {
        address.address.is_ipv4() && address.label.as_deref() == Some(&*interface.name)
    };
    if let Some(address) = addresses.find(is_own) {
        put_ipv4(out, address, flags);
    }
    for address in &interface.addresses {
        if let IpAddr::V6(ipv6) = address.address {
            let (scope, word) = scope(ipv6);
            let prefix = address.prefix;
            let _ = writeln!(
                out,
                "        inet6 {ipv6}  prefixlen {prefix}  scopeid 0x{scope:x}<{word}>"
            );
        }
    }
    put_hardware(out, interface);
    put_counters(out, interface);
    let Interface { interrupt, base, .. } = *interface;
    // Only addresses beyond the old ports are shown.
    let base = Some(base).filter(|base| *base >= 0x100);
    if interrupt != 0 || base.is_some() {
        out.extend_from_slice(b"        device ");
        if interrupt != 0 {
            let _ = write!(out, "interrupt {interrupt}  ");
        }
        if let Some(base) = base {
            let _ = write!(out, "base 0x{base:x}  ");
        }
        out.push(b'\n');
    }
    out.push(b'\n');
}

fn put_ipv4(out: &mut Vec<u8>, address: &InterfaceAddress, flags: u32) {
    let bits = u32::MAX.checked_shl(32 - u32::from(address.prefix)).unwrap_or(0);
    let _ = write!(out, "        inet {}  netmask {}", address.address, Ipv4Addr::from_bits(bits));
    if flags & BROADCAST != 0 {
        let broadcast = address.broadcast.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let _ = write!(out, "  broadcast {broadcast}");
    }
    if flags & POINT_TO_POINT != 0 {
        let _ = write!(out, "  destination {}", address.peer.unwrap_or(address.address));
    }
    out.push(b'\n');
}

/// Returns the scope of an address as a number of the kernel and as a word (`__ipv6_addr_type`,
/// net/ipv6/addrconf_core.c).
fn scope(address: Ipv6Addr) -> (u32, &'static str) {
    let segments = address.segments();
    match segments[0] {
        _ if address.is_loopback() => (0x10, "host"),
        first if first & 0xffc0 == 0xfe80 => (0x20, "link"),
        first if first & 0xffc0 == 0xfec0 => (0x40, "site"),
        _ if segments[..6] == [0; 6] => (0x80, "compat,global"),
        _ => (0, "global"),
    }
}

fn put_hardware(out: &mut Vec<u8>, interface: &Interface) {
    let known = KINDS.iter().find(|(kind, ..)| *kind == interface.kind);
    let (word, title) = known.map_or(("unspec", "UNSPEC"), |(_, word, title)| (*word, *title));
    let bytes = |count, separator: &str, upper: bool| {
        let padded = interface.hardware.iter().copied().chain(std::iter::repeat(0)).take(count);
        let bytes: Vec<_> = padded
            .map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") })
            .collect();
        bytes.join(separator)
    };
    let _ = match word {
        "ether" => write!(out, "        ether {}", bytes(6, ":", false)),
        // The size of a `struct sockaddr`.
        "unspec" => write!(out, "        unspec {}", bytes(16, "-", true)),
        "tunnel" => write!(out, "        tunnel "),
        other => write!(out, "        {other}"),
    };
    let _ = writeln!(out, "  txqueuelen {}  ({title})", interface.queue);
}

fn put_counters(out: &mut Vec<u8>, interface: &Interface) {
    let count = |name: &str| interface.counters.get(name);
    for (way, side) in [("RX", "rx"), ("TX", "tx")] {
        let of = |name: &str| count(&format!("{side}_{name}"));
        let (bytes, compressed) = (of("bytes"), of("compressed"));
        let packets = of("packets");
        let _ =
            writeln!(out, "        {way} packets {packets}  bytes {bytes} ({})", readable(bytes));
        if compressed > 0 {
            let _ = writeln!(out, "        {way} compressed {compressed}");
        }
        let (errors, dropped, overruns) = (of("errors"), of("dropped"), of("overruns"));
        let _ = match way {
            "RX" => writeln!(
                out,
                "        RX errors {errors}  dropped {dropped}  overruns {overruns}  frame {}",
                count("rx_frame")
            ),
            // One space, as net-tools has it.
            _ => writeln!(
                out,
                "        TX errors {errors}  dropped {dropped} overruns {overruns}  carrier {}  \
                 collisions {}",
                count("tx_carrier"),
                count("collisions")
            ),
        };
    }
}

/// Returns a number of bytes with one decimal, which is not rounded.
fn readable(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let units = (1..).zip(UNITS).take_while(|(power, _)| bytes > 1 << (10 * power));
    let (power, unit) = units.last().unwrap_or((0, "B"));
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_largest_unit_below() {
        for (bytes, text) in [
            (0, "0.0 B"),
            (1024, "1024.0 B"),
            (1025, "1.0 KiB"),
            (649_426_864, "619.3 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(readable(bytes), text);
        }
    }

    #[test]
    fn devices_are_ordered_by_their_numbers() {
        let mut names = ["lo", "eth10", "eth2", "veth", "eth", "a9b"];
        names.sort_by(|one, other| by_name(one, other));
        assert_eq!(names, ["a9b", "eth", "eth2", "eth10", "lo", "veth"]);
    }
}
