//! The devices with their addresses and counters, from rtnetlink.

use std::{collections::HashMap, io};

use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkMessage, State, Stats64},
};

use super::netlink::dump;
use crate::core::network::{Interface, InterfaceAddress, InterfaceCounters};

/// Returns every device with its addresses, in the order of their numbers.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut interfaces: Vec<_> = links()?.iter().map(interface).collect();
    let answers = dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    for answer in &answers {
        let RouteNetlinkMessage::NewAddress(message) = answer else { continue };
        let owner = interfaces.iter_mut().find(|device| device.index == message.header.index);
        if let Some((owner, address)) = owner.zip(address(message)) {
            owner.addresses.push(address);
        }
    }
    Ok(interfaces)
}

/// Returns the names of the devices by their numbers.
///
/// # Errors
/// The kernel's answer.
pub(super) fn names() -> io::Result<HashMap<u32, String>> {
    let links = links()?;
    Ok(links.iter().map(interface).map(|device| (device.index, device.name)).collect())
}

fn links() -> io::Result<Vec<LinkMessage>> {
    let answers = dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => Some(message),
        _ => None,
    });
    Ok(links.collect())
}

fn interface(message: &LinkMessage) -> Interface {
    let mut interface = Interface {
        index: message.header.index,
        flags: message.header.flags.bits(),
        kind: message.header.link_layer_type.into(),
        state: "unknown",
        ..Interface::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Address(bytes) => interface.hardware.clone_from(bytes),
            LinkAttribute::Mtu(bytes) => interface.mtu = *bytes,
            LinkAttribute::TxQueueLen(packets) => interface.queue = *packets,
            LinkAttribute::OperState(state) => interface.state = state_name(*state),
            LinkAttribute::Stats64(stats) => interface.counters = counters(stats),
            LinkAttribute::Map(map) => {
                (interface.interrupt, interface.base) = (map.irq, map.base_address);
            }
            _ => {}
        }
    }
    interface
}

/// Adds counters up as `/proc/net/dev` does (`dev_seq_printf_stats`, net/core/net-procfs.c).
fn counters(stats: &Stats64) -> InterfaceCounters {
    InterfaceCounters([
        stats.rx_bytes,
        stats.rx_packets,
        stats.rx_errors,
        stats.rx_dropped + stats.rx_missed_errors,
        stats.rx_fifo_errors,
        stats.rx_length_errors + stats.rx_over_errors + stats.rx_crc_errors + stats.rx_frame_errors,
        stats.rx_compressed,
        stats.multicast,
        stats.tx_bytes,
        stats.tx_packets,
        stats.tx_errors,
        stats.tx_dropped,
        stats.tx_fifo_errors,
        stats.collisions,
        stats.tx_carrier_errors
            + stats.tx_aborted_errors
            + stats.tx_window_errors
            + stats.tx_heartbeat_errors,
        stats.tx_compressed,
    ])
}

fn address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let (mut local, mut end, mut broadcast, mut label) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => end = Some(*address),
            AddressAttribute::Broadcast(address) => broadcast = Some(*address),
            AddressAttribute::Label(name) => label = Some(name.clone()),
            _ => {}
        }
    }
    // IFA_ADDRESS is the other end of a link between two, and otherwise the address itself
    // (include/uapi/linux/if_addr.h).
    let address = local.or(end)?;
    let prefix = message.header.prefix_len;
    Some(InterfaceAddress {
        address,
        prefix,
        peer: end.filter(|end| *end != address),
        broadcast,
        label,
    })
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::NotPresent => "not-present",
        State::Down => "down",
        State::LowerLayerDown => "lower-layer-down",
        State::Testing => "testing",
        State::Dormant => "dormant",
        State::Up => "up",
        _ => "unknown",
    }
}
