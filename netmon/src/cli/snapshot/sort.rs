//! The order of a listing.

use clap::ValueEnum;

use crate::core::{process::SocketHolders, socket::Socket};

/// The column by which rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    State,
    Local,
    Remote,
    Recvq,
    Sendq,
    Pid,
}

pub(super) fn order(sockets: &mut [Socket], sort: Sort, owners: &SocketHolders) {
    use std::cmp::Reverse;
    let place = |end: std::net::SocketAddr| (end.ip(), end.port());
    match sort {
        Sort::State => sockets.sort_by_key(|s| (s.protocol, s.state)),
        Sort::Local => sockets.sort_by_key(|s| place(s.tuple.local)),
        Sort::Remote => sockets.sort_by_key(|s| place(s.tuple.remote)),
        Sort::Recvq => sockets.sort_by_key(|s| Reverse(s.recv_q)),
        Sort::Sendq => sockets.sort_by_key(|s| Reverse(s.send_q)),
        // Sockets without an owner, or whose owners have no number, come last.
        Sort::Pid => sockets.sort_by_cached_key(|s| {
            let owners = owners.of(s.holder_key());
            owners.iter().map(|process| process.pid).find(|pid| *pid != 0).unwrap_or(u32::MAX)
        }),
    }
}
