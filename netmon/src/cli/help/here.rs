//! Examples for help: the sockets of netmon's own network namespace.
//!
//! Help never fails: where sockets cannot be read, there are no examples.

use std::{collections::BTreeMap, fs, io};

use crate::{
    cli::own_sockets::{own_dump, own_sockets},
    core::{
        escape::Escaped,
        process::SocketHolders,
        services::Services,
        socket::{Protocol, Socket},
        tcp::TcpState,
    },
    view::{
        language::Language,
        listing::{
            ListingNames, ListingView, NetstatColumns,
            netstat::{Listening, Netstat},
        },
    },
};

/// The most sockets that are read: help is there at once.
const MOST: usize = 10_000;

/// The rows among which an example is looked for, and the longest that has room.
const ROWS: usize = 100;
const LONGEST: usize = 62;

/// The file with the ports that the kernel chooses for clients (ip(7)), and its usual content.
const RANGE: (&str, &str) = ("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999");

/// Examples from this host.
#[derive(Default)]
pub(super) struct Examples {
    pub(super) list: Vec<String>,
    /// The host has more of them.
    pub(super) has_more: bool,
}

/// Returns the sockets of this host that `keep` chooses, and whether there are more.
fn sockets(protocols: &[Protocol], keep: impl Fn(&Socket) -> bool) -> (Vec<Socket>, bool) {
    let (mut kept, mut count) = (Vec::new(), 0);
    let result = own_sockets(&mut own_dump(protocols), |socket| {
        count += 1;
        if count > MOST {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        if keep(&socket) {
            kept.push(socket);
        }
        Ok(())
    });
    if let Err(error) = result {
        log::debug!("the sockets of this host: {error}");
    }
    (kept, count > MOST)
}

/// Returns the number of TCP sockets in each state: `3 LISTEN`.
pub(super) fn states(language: &Language) -> Examples {
    let (sockets, has_more) = sockets(&[Protocol::Tcp], |_| true);
    let mut counts = BTreeMap::new();
    for socket in &sockets {
        *counts.entry(socket.state).or_insert(0_usize) += 1;
    }
    let list = counts.iter().map(|(state, count)| format!("{count} {}", (language.state)(*state)));
    Examples { list: list.collect(), has_more }
}

/// Returns the ports on which this host listens, those with names first: `22/tcp ssh`.
pub(super) fn ports(_: &Language) -> Examples {
    let (sockets, has_more) = sockets(&[Protocol::Tcp, Protocol::Udp], Socket::is_listening);
    let mut ports: Vec<_> = sockets.iter().map(|s| (s.protocol, s.tuple.local.port())).collect();
    ports.sort_unstable();
    ports.dedup();
    let services = Services::load();
    ports.sort_by_key(|(protocol, port)| services.name(*protocol, *port).is_none());
    let list = ports.into_iter().map(|(protocol, port)| {
        let name = services.name(protocol, port).unwrap_or_default();
        format!("{port}/{} {}", protocol.name(), Escaped(name.as_bytes())).trim_end().to_owned()
    });
    Examples { list: list.collect(), has_more }
}

/// Returns a row of a listing, of a connection if there is one.
pub(super) fn row(language: &'static Language) -> Examples {
    let is_example =
        |socket: &Socket| matches!(socket.state, TcpState::Established | TcpState::Listen);
    let (mut sockets, _) = sockets(&[Protocol::Tcp], is_example);
    sockets.sort_by_key(|socket| socket.state != TcpState::Established);
    let (names, mut text) = (ListingNames { language, ..ListingNames::default() }, Vec::new());
    let columns = NetstatColumns::default();
    let mut rows = Netstat::new(&mut text, columns, Listening::All, names, None, false);
    let owners = SocketHolders::default();
    // Writing to a vector does not fail.
    for socket in sockets.iter().take(ROWS) {
        let _ = rows.socket(socket, &owners);
    }
    let _ = rows.finish(&owners);
    drop(rows);
    let text = String::from_utf8_lossy(&text);
    let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let list = rows.find(|row| row.chars().count() <= LONGEST).into_iter().collect();
    Examples { list, has_more: false }
}

/// Returns the ports among which the kernel chooses one for a client: `32768-60999`.
pub(super) fn range() -> String {
    let text = fs::read_to_string(RANGE.0).unwrap_or_else(|_| RANGE.1.to_owned());
    text.split_whitespace().collect::<Vec<_>>().join("-")
}
