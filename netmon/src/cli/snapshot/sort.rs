//! The order of a listing.

use std::{cmp::Reverse, net::SocketAddr};

use clap::ValueEnum;

use crate::core::{
    process::SocketHolders,
    socket::{Socket, TcpInfo},
};

/// The column by which rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    State,
    Local,
    Remote,
    Recvq,
    Sendq,
    Pid,
    Bytes,
    Rtt,
    Retrans,
}

impl Sort {
    /// The message for a measured column of a past moment.
    pub(super) const NOT_MEASURED: &str = "--at with --sort bytes, rtt or retrans: a journal has \
        these only of connections that ended\n  type: netmon history --sort bytes";

    /// The message for the columns of queues of a past moment.
    pub(super) const NO_QUEUES: &str = "--at with --sort recvq or sendq: a journal has no \
        queues\n  type: netmon snapshot --sort recvq";

    /// Returns whether the column is one of TCP's measurements (`-i`).
    pub(super) const fn is_measured(self) -> bool {
        matches!(self, Self::Bytes | Self::Rtt | Self::Retrans)
    }
}

pub(super) fn order(sockets: &mut [Socket], sort: Sort, owners: &SocketHolders) {
    let place = |end: SocketAddr| (end.ip(), end.port());
    // Sockets that are not measured come last.
    let measured = |socket: &Socket, value: fn(&TcpInfo) -> Option<u64>| {
        Reverse(socket.info.as_deref().and_then(value))
    };
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
        Sort::Bytes => sockets.sort_by_key(|s| {
            measured(s, |info| Some(info.bytes_sent.saturating_add(info.bytes_received)))
        }),
        Sort::Rtt => sockets.sort_by_key(|s| measured(s, |info| info.rtt_us.map(u64::from))),
        Sort::Retrans => {
            sockets.sort_by_key(|s| measured(s, |info| Some(info.retransmits.into())));
        }
    }
}
