//! The tables of `/proc/net` that rtnetlink does not have: counters, multicast groups, and the
//! details of IPv6 routes.

use std::{
    fs::File,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use crate::{
    core::network::{Ipv6Entry, MulticastGroup, ProtocolCounters},
    kernel::{host::file_systems::MissingFileSystem, sockets::proc::TABLES},
};

/// The most bytes that are read of a table. A table of routes has some 150 bytes for each.
const LARGEST: u64 = 256 << 20;

/// Returns the counters of `/proc/net/snmp`, `netstat` and `sctp/snmp`, or with `ipv6` of `snmp6`.
/// A table that the kernel lacks has none.
///
/// # Errors
/// The error of reading.
pub(crate) fn counters(ipv6: bool) -> io::Result<Vec<ProtocolCounters>> {
    if ipv6 {
        return Ok(ipv6_counters(&read("snmp6")?));
    }
    let mut all = paired_counters(&read("snmp")?);
    all.extend(paired_counters(&read("netstat")?));
    if has_table("sctp/snmp") {
        let counters = read("sctp/snmp")?.lines().filter_map(counter).collect();
        all.push(ProtocolCounters { protocol: "Sctp".to_owned(), counters });
    }
    Ok(all)
}

/// Returns the multicast groups of `/proc/net/igmp`, or with `ipv6` of `igmp6`.
///
/// # Errors
/// The error of reading.
pub(crate) fn groups(ipv6: bool) -> io::Result<Vec<MulticastGroup>> {
    Ok(if ipv6 { ipv6_groups(&read("igmp6")?) } else { ipv4_groups(&read("igmp")?) })
}

/// Returns the rows of `/proc/net/ipv6_route`.
///
/// # Errors
/// The error of reading.
pub(crate) fn ipv6_entries() -> io::Result<Vec<Ipv6Entry>> {
    Ok(read("ipv6_route")?.lines().filter_map(ipv6_entry).collect())
}

/// Returns whether the kernel has a table of this name.
pub(crate) fn has_table(name: &str) -> bool {
    Path::new(TABLES).join(name).exists()
}

/// Reads a table; one that the kernel lacks is empty.
fn read(name: &str) -> io::Result<String> {
    let mut text = Vec::new();
    match File::open(Path::new(TABLES).join(name)) {
        Ok(file) => _ = file.take(LARGEST).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new(TABLES).is_dir() => {}
        Err(error) => return Err(MissingFileSystem::of_proc(TABLES, error)),
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads lines in pairs: `Tcp: NAME ...` and `Tcp: VALUE ...` (`snmp_seq_show`, net/ipv4/proc.c).
fn paired_counters(text: &str) -> Vec<ProtocolCounters> {
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let pairs = lines.chunks_exact(2).filter_map(|pair| {
        let ((protocol, names), (_, values)) = (pair[0].split_once(':')?, pair[1].split_once(':')?);
        let counters = names.split_whitespace().zip(values.split_whitespace());
        let counters = counters.filter_map(|(name, value)| Some((name.to_owned(), number(value)?)));
        Some(ProtocolCounters { protocol: protocol.to_owned(), counters: counters.collect() })
    });
    pairs.collect()
}

/// Reads lines `Ip6InReceives 7`. The protocol is the beginning of the name, up to the 6.
fn ipv6_counters(text: &str) -> Vec<ProtocolCounters> {
    let mut all: Vec<ProtocolCounters> = Vec::new();
    for (name, value) in text.lines().filter_map(counter) {
        let Some(end) = name.find('6') else { continue };
        let protocol = &name[..=end];
        match all.last_mut().filter(|last| last.protocol == protocol) {
            Some(last) => last.counters.push((name, value)),
            None => {
                let protocol = protocol.to_owned();
                all.push(ProtocolCounters { protocol, counters: vec![(name, value)] });
            }
        }
    }
    all
}

fn counter(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    Some((words.next()?.to_owned(), number(words.next()?)?))
}

/// Reads a number. A limit that is not there, which the kernel prints as -1, is none.
fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Reads the line of a device, `INDEX NAME : COUNT ...`, and below it a line for each group with
/// the bytes of its address as a number (`igmp_mc_seq_show`, net/ipv4/igmp.c).
fn ipv4_groups(text: &str) -> Vec<MulticastGroup> {
    let mut device = "";
    let mut groups = Vec::new();
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        if !line.starts_with('\t') {
            device = words.nth(1).unwrap_or_default().trim_end_matches(':');
            continue;
        }
        let address = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
        let references = words.next().and_then(|word| word.parse().ok());
        if let Some((address, references)) = address.zip(references) {
            let group = IpAddr::from(Ipv4Addr::from(address.to_ne_bytes()));
            groups.push(MulticastGroup { device: device.to_owned(), references, group });
        }
    }
    groups
}

/// Reads lines `INDEX NAME ADDRESS REFERENCES ...` (`igmp6_mc_seq_show`, net/ipv6/mcast.c).
fn ipv6_groups(text: &str) -> Vec<MulticastGroup> {
    let groups = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let device = words.next()?.to_owned();
        let group = ipv6_address(words.next()?)?.into();
        Some(MulticastGroup { device, references: words.next()?.parse().ok()?, group })
    });
    groups.collect()
}

/// Reads `DESTINATION PREFIX SOURCE PREFIX NEXT-HOP METRIC REFERENCES USES FLAGS DEVICE`, all but
/// the last hexadecimal (`ipv6_route_native_seq_show`, net/ipv6/ip6_fib.c).
fn ipv6_entry(line: &str) -> Option<Ipv6Entry> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [destination, prefix, _, _, next_hop, metric, references, uses, flags, device] = words[..]
    else {
        return None;
    };
    let hex = |word| u32::from_str_radix(word, 16).ok();
    Some(Ipv6Entry {
        destination: ipv6_address(destination)?,
        prefix: u8::from_str_radix(prefix, 16).ok()?,
        next_hop: ipv6_address(next_hop)?,
        metric: hex(metric)?,
        references: hex(references)?,
        uses: hex(uses)?,
        flags: hex(flags)?,
        device: device.to_owned(),
    })
}

fn ipv6_address(text: &str) -> Option<Ipv6Addr> {
    let bits = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then(|| Ipv6Addr::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[ProtocolCounters]) -> Vec<String> {
        let counters = |of: &ProtocolCounters| {
            let counters = of.counters.iter().map(|(name, value)| format!("{name}={value}"));
            format!("{}: {}", of.protocol, counters.collect::<Vec<_>>().join(" "))
        };
        all.iter().map(counters).collect()
    }

    #[test]
    fn counters_come_in_pairs_of_lines() {
        let text = "\nIp: Forwarding InReceives\nIp: 2 7\nbad\nTcp: 1\nTcp: MaxConn Odd\nTcp: -1 x";
        let read = paired_counters(text);
        // The pair that is none is passed over, and so are values that are no numbers.
        assert_eq!(names(&read), ["Ip: Forwarding=2 InReceives=7", "Tcp: "]);
        let read = paired_counters("Tcp: MaxConn Odd InSegs\nTcp: -1 x 5\nUdp: A\n");
        assert_eq!(names(&read), ["Tcp: InSegs=5"]);
    }

    #[test]
    fn counters_of_ipv6_have_the_protocol_in_their_names() {
        let read = ipv6_counters("Ip6InReceives 3\nIp6InOctets\t9\nIcmp6InMsgs 1\nodd\nx 1\n");
        assert_eq!(names(&read), ["Ip6: Ip6InReceives=3 Ip6InOctets=9", "Icmp6: Icmp6InMsgs=1"]);
    }

    #[test]
    fn groups_are_read_of_both_families() {
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
            1\tlo        :     1      V3\n\t\t\t\t010000E0     2 0:00000000\t\t0\n\
            odd\n\t\t\tzz 1\n";
        let group = |device: &str, references, group: &str| MulticastGroup {
            device: device.to_owned(),
            references,
            group: group.parse().expect("an address"),
        };
        if cfg!(target_endian = "little") {
            assert_eq!(ipv4_groups(text), [group("lo", 2, "224.0.0.1")]);
        }
        let text = "1    lo              ff020000000000000000000000000001     3 0000000C 0\nodd\n";
        assert_eq!(ipv6_groups(text), [group("lo", 3, "ff02::1")]);
    }

    #[test]
    fn a_row_of_an_ipv6_route_is_read_and_an_odd_one_is_not() {
        let line = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 \
            00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0";
        let entry = ipv6_entry(line).expect("a row");
        assert_eq!((entry.destination.to_string(), entry.prefix), ("fd00::".to_owned(), 64));
        assert_eq!((entry.metric, entry.references, &*entry.device), (256, 1, "eth0"));
        assert_eq!(ipv6_entry("fd00 40"), None);
        assert_eq!(ipv6_entry(&line.replacen("fd0", "f", 1)), None);
    }
}
