//! The sockets that the flags of a listing select.

use super::SnapshotCommand;
use crate::{
    core::{socket::Protocol, tcp::TcpState},
    view::listing::netstat::Listening,
};

impl SnapshotCommand {
    pub(super) fn scope(&self) -> Listening {
        if self.all || self.is_bare() {
            Listening::All
        } else if self.listening {
            Listening::Listening
        } else {
            Listening::Connected
        }
    }

    pub(super) fn protocols(&self) -> Vec<Protocol> {
        let none = !(self.tcp || self.udp || self.raw || self.unix);
        [
            (Protocol::Tcp, self.tcp || none),
            (Protocol::Udp, self.udp || none),
            (Protocol::Raw, self.raw),
        ]
        .into_iter()
        .filter_map(|(protocol, chosen)| chosen.then_some(protocol))
        .collect()
    }

    pub(super) fn families(&self) -> u16 {
        match (self.ipv4, self.ipv6) {
            (true, false) => 1,
            (false, true) => 2,
            _ => 3,
        }
    }
}

/// Returns the states of a scope as the kernel program takes them: bit n is the kernel's number n.
///
/// A UDP socket without a connection is in CLOSE. No TCP socket of a dump is in that state.
pub(in crate::cli) fn states(scope: Listening) -> u16 {
    const LISTENING: u16 = 1 << TcpState::Listen as u16 | 1 << TcpState::Close as u16;
    match scope {
        Listening::All => u16::MAX,
        Listening::Listening => LISTENING,
        Listening::Connected => !LISTENING,
    }
}
