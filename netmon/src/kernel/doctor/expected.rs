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
pub(super) enum Side {
    Listener,
    Client,
    Server,
}

/// The transitions of a connection that its client closes first.
pub(super) const EXPECTED: [(Side, TcpState, TcpState); 12] = [
    (Side::Listener, Close, Listen),
    (Side::Client, Close, SynSent),
    (Side::Client, SynSent, Established),
    (Side::Server, Listen, SynRecv),
    (Side::Server, SynRecv, Established),
    (Side::Client, Established, FinWait1),
    (Side::Client, FinWait1, FinWait2),
    (Side::Server, Established, CloseWait),
    (Side::Server, CloseWait, LastAck),
    (Side::Server, LastAck, Close),
    (Side::Client, FinWait2, TimeWait),
    (Side::Listener, Listen, Close),
];

/// The place of the test's connection.
pub(super) struct Ports {
    pub(super) netns: Option<u32>,
    pub(super) listener: u16,
    pub(super) client: u16,
}

impl Ports {
    /// Returns the side that made the transition, if the transition is of this connection.
    fn side(&self, transition: &Transition) -> Option<Side> {
        let tuple = &transition.tuple;
        let (local, remote) = (tuple.local.port(), tuple.remote.port());
        if self.netns.is_some_and(|netns| netns != tuple.netns) {
            None
        } else if (local, remote) == (self.client, self.listener) {
            Some(Side::Client)
        } else if (local, remote) == (self.listener, self.client) {
            Some(Side::Server)
        } else if local == self.listener && [transition.old, transition.new].contains(&Listen) {
            Some(Side::Listener)
        } else {
            None
        }
    }
}

/// Returns the expected transitions that are not among the `seen`.
pub(super) fn missing(ports: &Ports, seen: &[Transition]) -> Vec<String> {
    let is_missing = |(side, old, new): &&(Side, TcpState, TcpState)| {
        !seen.iter().any(|transition| {
            // Without a bucket to spare, the kernel goes to CLOSE instead of TIME_WAIT.
            let is_new = transition.new == *new || (*new == TimeWait && transition.new == Close);
            ports.side(transition) == Some(*side) && transition.old == *old && is_new
        })
    };
    let name = |(side, old, new): &(Side, TcpState, TcpState)| {
        let whose = match side {
            Side::Listener => "listener",
            Side::Client => "client",
            Side::Server => "server",
        };
        format!("{whose} {old} -> {new}")
    };
    EXPECTED.iter().filter(is_missing).map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::core::event::{Opening, Tuple};

    fn transition(local: u16, remote: u16, old: TcpState, new: TcpState) -> Transition {
        let end = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Transition {
            time: 0,
            cookie: 1,
            tuple: Tuple { netns: 7, local: end(local), remote: end(remote) },
            old,
            new,
            errno: None,
            reset: None,
            totals: None,
            orphan: false,
            inferred: false,
            opening: Opening::None,
        }
    }

    #[test]
    fn missing_transitions_are_named_by_side_and_states() {
        let ports = Ports { netns: Some(7), listener: 80, client: 5000 };
        let mut seen: Vec<_> = EXPECTED
            .iter()
            .map(|(side, old, new)| match side {
                Side::Listener => transition(80, 0, *old, *new),
                Side::Client => transition(5000, 80, *old, *new),
                Side::Server => transition(80, 5000, *old, *new),
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
