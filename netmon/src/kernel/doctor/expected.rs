//! The transitions that the connections of the self-test must show.

use crate::core::{
    event::Transition,
    tcp::TcpState::{
        self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
        TimeWait,
    },
};

/// The side that a transition belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionSide {
    Listener,
    Client,
    Server,
}

/// The transitions of a connection that its client closes first.
pub(super) const EXPECTED: [(ConnectionSide, TcpState, TcpState); 12] = [
    (ConnectionSide::Listener, Close, Listen),
    (ConnectionSide::Client, Close, SynSent),
    (ConnectionSide::Client, SynSent, Established),
    (ConnectionSide::Server, Listen, SynRecv),
    (ConnectionSide::Server, SynRecv, Established),
    (ConnectionSide::Client, Established, FinWait1),
    (ConnectionSide::Client, FinWait1, FinWait2),
    (ConnectionSide::Server, Established, CloseWait),
    (ConnectionSide::Server, CloseWait, LastAck),
    (ConnectionSide::Server, LastAck, Close),
    (ConnectionSide::Client, FinWait2, TimeWait),
    (ConnectionSide::Listener, Listen, Close),
];

/// The place of the test's connection.
pub(super) struct Ports {
    pub(super) netns: Option<u32>,
    pub(super) listener: u16,
    pub(super) client: u16,
}

impl Ports {
    /// Returns the side that made the transition, if the transition is of this connection.
    fn side(&self, transition: &Transition) -> Option<ConnectionSide> {
        let tuple = &transition.tuple;
        let (local, remote) = (tuple.local.port(), tuple.remote.port());
        if self.netns.is_some_and(|netns| netns != tuple.netns) {
            None
        } else if (local, remote) == (self.client, self.listener) {
            Some(ConnectionSide::Client)
        } else if (local, remote) == (self.listener, self.client) {
            Some(ConnectionSide::Server)
        } else if local == self.listener && [transition.old, transition.new].contains(&Listen) {
            Some(ConnectionSide::Listener)
        } else {
            None
        }
    }
}

/// Returns the expected transitions that are not among the `seen`.
pub(super) fn missing(ports: &Ports, seen: &[Transition]) -> Vec<String> {
    let is_missing = |(side, old, new): &&(ConnectionSide, TcpState, TcpState)| {
        !seen.iter().any(|transition| {
            // Without a bucket to spare, the kernel goes to CLOSE instead of TIME_WAIT.
            let is_new = transition.new == *new || (*new == TimeWait && transition.new == Close);
            ports.side(transition) == Some(*side) && transition.old == *old && is_new
        })
    };
    let name = |(side, old, new): &(ConnectionSide, TcpState, TcpState)| {
        let whose = match side {
            ConnectionSide::Listener => "listener",
            ConnectionSide::Client => "client",
            ConnectionSide::Server => "server",
        };
        format!("{whose} {old} -> {new}")
    };
    EXPECTED.iter().filter(is_missing).map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::core::id::{Tuple, socket};

    fn transition(local: u16, remote: u16, old: TcpState, new: TcpState) -> Transition {
        let end = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tuple = Tuple { netns: 7, interface: 0, local: end(local), remote: end(remote) };
        Transition::bare(socket(1), tuple, old, new)
    }

    #[test]
    fn missing_transitions_are_named_by_side_and_states() {
        let ports = Ports { netns: Some(7), listener: 80, client: 5000 };
        let mut seen: Vec<_> = EXPECTED
            .iter()
            .map(|(side, old, new)| match side {
                ConnectionSide::Listener => transition(80, 0, *old, *new),
                ConnectionSide::Client => transition(5000, 80, *old, *new),
                ConnectionSide::Server => transition(80, 5000, *old, *new),
            })
            .collect();
        assert_eq!(missing(&ports, &seen), Vec::<String>::new());
        // No bucket was left for TIME_WAIT.
        seen[10].new = Close;
        assert_eq!(missing(&ports, &seen), Vec::<String>::new());
        seen.remove(6);
        assert_eq!(missing(&ports, &seen), ["client FIN_WAIT1 -> FIN_WAIT2"]);
        let elsewhere = Ports { netns: Some(8), ..ports };
        assert_eq!(missing(&elsewhere, &seen).len(), EXPECTED.len());
    }
}
