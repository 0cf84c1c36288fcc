//! Sockets that keep still: at least one in every state that can be held.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process::{Child, Command},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::kernel::{
    harness::{close_in_turn, kernel},
    peer::{ACK, Connection, FIN, Wire},
};

/// Sockets that are kept until drop.
pub(crate) struct HeldSockets {
    _wire: Wire,
    _held: Vec<OwnedFd>,
    /// A process that shares an established connection's socket with this process.
    pub(crate) heir: Child,
}

/// The peer's port of the connection that is shared.
pub(crate) const SHARED: u16 = 7001;
/// The states of the sockets, each with at least one socket.
pub(crate) const STATES: [&str; 11] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];

impl HeldSockets {
    /// Opens the sockets in the namespace of the calling thread.
    pub(crate) fn open() -> Self {
        let mut held = Vec::new();
        let mut wire = Wire::new();
        let heir = established(&mut wire, &mut held);
        opening(&mut wire, &mut held);
        closing(&mut wire, &mut held);
        loopback(&mut wire, &mut held);
        others(&mut held);
        Self { _wire: wire, _held: held, heir }
    }
}

impl Drop for HeldSockets {
    fn drop(&mut self) {
        let _ = self.heir.kill();
        let _ = self.heir.wait();
    }
}

/// Opens a connection to the peer with bytes in both queues, and one that two processes hold.
/// Returns the second process.
fn established(wire: &mut Wire, held: &mut Vec<OwnedFd>) -> Child {
    let mut connection = Connection::new(wire, 7000);
    connection.send(ACK, b"unread");
    // The peer takes the bytes and does not acknowledge them.
    (&connection.socket).write_all(b"unacknowledged").expect("sent");
    held.push(connection.into_socket().into());
    let shared = Connection::new(wire, SHARED).into_socket();
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(3_600));
    shared.set_tcp_keepalive(&keepalive).expect("SO_KEEPALIVE");
    let copy = OwnedFd::from(shared.try_clone().expect("a copy"));
    held.push(shared.into());
    Command::new("sleep").arg("600").stdin(copy).spawn().expect("sleep")
}

fn opening(wire: &mut Wire, held: &mut Vec<OwnedFd>) {
    // SYN_SENT: the peer does not answer.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("non-blocking");
    let silent: SocketAddr = "10.9.0.2:7002".parse().expect("an address");
    assert!(socket.connect(&silent.into()).is_err());
    held.push(socket.into());
    // SYN_RECV: the peer does not complete.
    let listener = TcpListener::bind("10.9.0.1:8000").expect("bound");
    wire.knock(7003, 8000);
    held.push(listener.into());
}

fn closing(wire: &mut Wire, held: &mut Vec<OwnedFd>) {
    // FIN_WAIT1: nothing is acknowledged.
    let mut connection = Connection::new(wire, 7010);
    connection.socket.shutdown(Shutdown::Write).expect("shutdown");
    connection.see_fin();
    held.push(connection.into_socket().into());
    // FIN_WAIT2, with its process.
    let mut connection = Connection::new(wire, 7011);
    connection.socket.shutdown(Shutdown::Write).expect("shutdown");
    connection.take_fin();
    connection.send(ACK, b"");
    held.push(connection.into_socket().into());
    // CLOSING: both ends at once.
    let mut connection = Connection::new(wire, 7012);
    connection.socket.shutdown(Shutdown::Write).expect("shutdown");
    connection.see_fin();
    connection.send(FIN, b"");
    held.push(connection.into_socket().into());
    // CLOSE_WAIT: the process does not close.
    let mut connection = Connection::new(wire, 7013);
    connection.send(FIN, b"");
    held.push(connection.into_socket().into());
    // LAST_ACK: its process is gone, and nothing is acknowledged.
    let mut connection = Connection::new(wire, 7014);
    connection.send(FIN, b"");
    std::thread::sleep(Duration::from_millis(20));
    drop(connection.into_socket());
    // FIN_WAIT2 as a minisocket: its process is gone.
    let mut connection = Connection::new(wire, 7015);
    connection.socket.shutdown(Shutdown::Write).expect("shutdown");
    connection.take_fin();
    connection.send(ACK, b"");
    std::thread::sleep(Duration::from_millis(20));
    drop(connection.into_socket());
}

/// Opens sockets on loopback: listeners, one with a connection that waits, TIME_WAIT, IPv4 on an
/// IPv6 socket.
fn loopback(wire: &mut Wire, held: &mut Vec<OwnedFd>) {
    let busy = TcpListener::bind("127.0.0.1:8001").expect("bound");
    held.push(TcpStream::connect("127.0.0.1:8001").expect("connected").into());
    held.push(busy.into());
    let listener = TcpListener::bind("127.0.0.1:8002").expect("bound");
    let client = TcpStream::connect("127.0.0.1:8002").expect("connected");
    let (server, _) = listener.accept().expect("accepted");
    close_in_turn(client, server);
    drop(listener);
    // MPTCP leaves minisockets and requests of TCP, with a protocol structure of its own. Debian's
    // 5.10 has no MPTCP.
    let protocol = if kernel() < (5, 15) { Protocol::TCP } else { Protocol::MPTCP };
    let mptcp = Socket::new(Domain::IPV4, Type::STREAM, Some(protocol)).expect("MPTCP");
    mptcp.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8004)).into()).expect("bound");
    mptcp.listen(7).expect("listening");
    let client = TcpStream::connect("127.0.0.1:8004").expect("connected");
    let (server, _) = mptcp.accept().expect("accepted");
    drop(server);
    std::thread::sleep(Duration::from_millis(20));
    drop(client);
    wire.knock(7004, 8004);
    held.push(mptcp.into());
    let dual = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
    dual.set_only_v6(false).expect("IPV6_V6ONLY");
    dual.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8003)).into()).expect("bound");
    dual.listen(7).expect("listening");
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        held.push(TcpStream::connect((ip, 8003)).expect("connected").into());
        held.push(dual.accept().expect("accepted").0.into());
    }
    held.push(dual.into());
}

/// Opens UDP, raw and unix sockets.
fn others(held: &mut Vec<OwnedFd>) {
    let bound = UdpSocket::bind("127.0.0.1:9000").expect("bound");
    let connected = UdpSocket::bind("127.0.0.1:9001").expect("bound");
    connected.connect("127.0.0.1:9000").expect("connected");
    connected.send(b"unread").expect("sent");
    held.extend([bound.into(), connected.into()]);
    held.push(UdpSocket::bind("[::1]:9002").expect("bound").into());
    for (domain, protocol) in [(Domain::IPV4, Protocol::ICMPV4), (Domain::IPV6, Protocol::ICMPV6)] {
        let raw = Socket::new(domain, Type::RAW, Some(protocol)).expect("a raw socket");
        held.push(raw.into());
    }
    let (one, two) = UnixStream::pair().expect("a pair");
    SockRef::from(&one).send(b"unread").expect("sent");
    held.extend([one.into(), two.into()]);
    let path = std::env::temp_dir().join(format!("netmon test {}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    held.push(UnixListener::bind(&path).expect("bound").into());
    // A bound socket keeps its name when the file has gone.
    std::fs::remove_file(&path).expect("removed");
}
