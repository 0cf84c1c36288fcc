//! The devices with their addresses and counters, from rtnetlink.

use std::{collections::HashMap, io};

use netlink_packet_core::{
    DecodeError, NlaBuffer, NlasIterator, Parseable, parse_string, parse_u8, parse_u32,
};
use netlink_packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{LinkHeader, Map, State, Stats64},
};

use super::netlink::{Row, dump};
use crate::core::network::{Interface, InterfaceAddress, InterfaceCounters};

/// Attributes of a device, `IFLA_*` (include/uapi/linux/if_link.h).
const ADDRESS: u16 = 1;
const NAME: u16 = 3;
const MTU: u16 = 4;
const QUEUE_LENGTH: u16 = 13;
const MAP: u16 = 14;
const STATE: u16 = 16;
const STATS64: u16 = 23;

/// Returns every device with its addresses, in the order of their numbers.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut interfaces: Vec<Interface> = dump(0)?;
    for message in dump::<AddressMessage>(0)? {
        let owner = interfaces.iter_mut().find(|device| device.index == message.header.index);
        if let Some((owner, address)) = owner.zip(address(&message)) {
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
    let interfaces: Vec<Interface> = dump(0)?;
    Ok(interfaces.into_iter().map(|device| (device.index, device.name)).collect())
}

impl Row for AddressMessage {
    const TABLE: &str = "table of addresses";
    const QUESTION: u16 = libc::RTM_GETADDR;
    const ANSWER: u16 = libc::RTM_NEWADDR;
    /// `struct ifaddrmsg` (include/uapi/linux/if_addr.h).
    const PREFIX: usize = 8;

    fn parse(answer: &[u8]) -> Result<Self, DecodeError> {
        Parseable::parse(answer)
    }
}

impl Row for Interface {
    const TABLE: &str = "table of devices";
    const QUESTION: u16 = libc::RTM_GETLINK;
    const ANSWER: u16 = libc::RTM_NEWLINK;
    /// `struct ifinfomsg` (include/uapi/linux/rtnetlink.h).
    const PREFIX: usize = 16;

    /// Reads the attributes that are shown. An attribute of another form is passed over.
    fn parse(answer: &[u8]) -> Result<Self, DecodeError> {
        let header = LinkHeader::parse(answer)?;
        let mut interface = Self {
            index: header.index,
            flags: header.flags.bits(),
            kind: header.link_layer_type.into(),
            state: "unknown",
            ..Self::default()
        };
        for attribute in NlasIterator::new(&answer[Self::PREFIX..]) {
            let attribute = attribute?;
            if let Err(error) = interface.take(&attribute) {
                log::debug!("rtnetlink: attribute {} of a device: {error}", attribute.kind());
            }
        }
        Ok(interface)
    }
}

impl Interface {
    fn take(&mut self, attribute: &NlaBuffer<&[u8]>) -> Result<(), DecodeError> {
        let value = attribute.value();
        match attribute.kind() {
            NAME => self.name = parse_string(value)?,
            ADDRESS => self.hardware = value.to_vec(),
            MTU => self.mtu = parse_u32(value)?,
            QUEUE_LENGTH => self.queue = parse_u32(value)?,
            STATE => self.state = state_name(parse_u8(value)?.into()),
            STATS64 => self.counters = counters(&Stats64::parse(value)?),
            MAP => {
                let map = Map::parse(value)?;
                (self.interrupt, self.base) = (map.irq, map.base_address);
            }
            _ => {}
        }
        Ok(())
    }
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
