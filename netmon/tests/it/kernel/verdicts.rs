//! The reasons why connections ended: each verdict is provoked, and recognised.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use nix::{setsockopt_impl, sockopt_impl, sys::socket::setsockopt};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use crate::kernel::{
    harness::{Watch, cookie, load, patience, slow},
    netns::{Netns, sh},
    peer::{Connection, Wire},
    tier::{Tier, has_types, is_listeners, tier},
};

/// Plays `case`, which returns a socket's cookie, in a namespace of its own. Returns the event of
/// type `closed` of that socket.
///
/// The kernel skips a classic tracepoint's program while another program runs on that CPU, and
/// programs of other tests may run there. Then a dump finds the end, and not its cause. This does
/// not happen to the same case time and again.
fn verdict(mut case: impl FnMut(&mut Watch) -> u64 + Send) -> Value {
    let mut once = || {
        Netns::new().run(|| {
            let mut watch = Watch::start(&[]);
            let cookie = case(&mut watch);
            watch.closed(cookie)
        })
    };
    let closed = once();
    let is_skipped = tier() == Tier::Basic && closed["verdict"] == "vanished";
    if is_skipped { once() } else { closed }
}

sockopt_impl!(
    /// Repair mode: the socket sends nothing (tcp(7) does not have it).
    TcpRepair,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_REPAIR,
    libc::c_int
);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (server, _) = listener.accept().expect("accepted");
    (client, server)
}

/// Begins a connect to `address`, and does not wait for its end.
fn begin(address: &str) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("non-blocking");
    let address: SocketAddr = address.parse().expect("an address");
    assert!(socket.connect(&address.into()).is_err());
    socket
}

#[test]
fn the_first_to_close_has_closed_the_connection() {
    for client_first in [true, false] {
        let client = verdict(|watch| {
            let (client, server) = pair();
            let ids = (cookie(&client), cookie(&server));
            let (first, second) = if client_first { (client, server) } else { (server, client) };
            drop(first);
            std::thread::sleep(Duration::from_millis(20));
            drop(second);
            let server = watch.closed(ids.1);
            let expected = if client_first { "closed-by-peer" } else { "closed-locally" };
            assert_eq!(server["verdict"], expected, "{server}");
            ids.0
        });
        let expected = if client_first { "closed-locally" } else { "closed-by-peer" };
        assert_eq!(client["verdict"], expected, "{client}");
        assert_eq!(client["pid"], std::process::id());
        let lifetime = client["lifetime_us"].as_u64().expect("µs");
        let longest = slow(Duration::from_secs(5)).as_micros();
        assert!(lifetime >= 20_000 && u128::from(lifetime) < longest, "{client}");
    }
}

#[test]
fn refused() {
    let mut held = None;
    let closed = verdict(|_| cookie(&*held.insert(begin("127.0.0.1:9"))));
    assert_eq!((&closed["verdict"], &closed["errno"]), (&"refused".into(), &"ECONNREFUSED".into()));
}

#[test]
fn timed_out_while_connecting() {
    let mut held = None;
    let closed = verdict(|_| {
        let _wire = Wire::new();
        // The kernel waits one and two seconds, and then gives up.
        fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").expect("a sysctl of the namespace");
        let socket = held.insert(begin("10.9.0.2:7000"));
        cookie(&*socket)
    });
    assert_eq!((&closed["verdict"], &closed["errno"]), (&"timed-out".into(), &"ETIMEDOUT".into()));
}

#[test]
fn timed_out_while_established() {
    let mut held = None;
    let closed = verdict(|_| {
        let mut wire = Wire::new();
        let socket = Connection::new(&mut wire, 7000).into_socket();
        socket.set_tcp_user_timeout(Some(Duration::from_millis(600))).expect("TCP_USER_TIMEOUT");
        (&socket).write_all(b"no answer").expect("sent");
        cookie(&*held.insert(socket))
    });
    assert_eq!(closed["verdict"], "timed-out", "{closed}");
}

/// The kernel sets an error before it ends the connection. A process that asks for the error all
/// the time reads it in between, from another CPU.
#[test]
fn the_error_may_have_been_read_before_the_end() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let _wire = Wire::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut peers = Vec::new();
        let mut stalled = || {
            let client = Socket::from(
                TcpStream::connect(listener.local_addr().expect("bound")).expect("connected"),
            );
            peers.push(listener.accept().expect("accepted"));
            client.set_nonblocking(true).expect("non-blocking");
            // As much as both buffers take: the peer reads nothing.
            while client.send(&[0; 1 << 16]).is_ok() {}
            client
        };
        let count = load(400);
        let mut sockets: Vec<Socket> = (0..count / 4).map(|_| stalled()).collect();
        sockets.extend((0..count).map(|_| begin("10.9.0.2:7000")));
        for socket in &sockets {
            socket
                .set_tcp_user_timeout(Some(Duration::from_millis(300)))
                .expect("TCP_USER_TIMEOUT");
        }
        let ids: Vec<u64> = sockets.iter().map(cookie).collect();
        let (mut open, end) = (sockets.iter().collect::<Vec<_>>(), Instant::now() + patience());
        while !open.is_empty() {
            assert!(Instant::now() < end, "{} of {} have no error", open.len(), sockets.len());
            open.retain(|socket| socket.take_error().expect("SO_ERROR").is_none());
        }
        for id in ids {
            let closed = watch.closed(id);
            // An event that is lost, and shown as lost, leaves no verdict.
            let is_lost = watch.events.iter().any(|event| event["type"] == "lost");
            match closed["verdict"].as_str() {
                Some("vanished") if tier() == Tier::Basic || is_lost => {}
                Some("aborted" | "reset-locally") if !has_types() => {}
                _ => assert_eq!(
                    (&closed["verdict"], &closed["errno"]),
                    (&"timed-out".into(), &"ETIMEDOUT".into()),
                    "{closed}"
                ),
            }
        }
    });
}

#[test]
fn reset_by_one_is_reset_by_the_peer_for_the_other() {
    let by_peer = verdict(|watch| {
        let (client, server) = pair();
        let ids = (cookie(&client), cookie(&server));
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(client);
        let locally = watch.closed(ids.0);
        assert_eq!(locally["verdict"], "reset-locally", "{locally}");
        let closed = watch.closed(ids.1);
        drop(server);
        assert_eq!(closed["verdict"], "reset-by-peer");
        ids.1
    });
    assert!(is_listeners(&by_peer["owner_evidence"]), "{by_peer}");
}

#[test]
fn unread_data_resets() {
    let closed = verdict(|watch| {
        let (mut client, server) = pair();
        let ids = (cookie(&client), cookie(&server));
        client.write_all(b"unread data").expect("sent");
        drop(server);
        let by_peer = watch.closed(ids.0);
        assert_eq!(by_peer["verdict"], "reset-by-peer", "{by_peer}");
        ids.1
    });
    assert_eq!((&closed["verdict"], &closed["reset"]), (&"reset-locally".into(), &"sent".into()));
}

/// Python's usual end: a shutdown in both directions, and the descriptor stays.
#[test]
fn data_after_a_shutdown_in_both_directions_resets() {
    let closed = verdict(|watch| {
        let (client, mut server) = pair();
        let ids = (cookie(&client), cookie(&server));
        server.set_read_timeout(Some(patience())).expect("a limit");
        client.shutdown(Shutdown::Both).expect("shut down");
        assert_eq!(server.read(&mut [0; 1]).expect("the end"), 0);
        watch.until("FIN_WAIT2", |events| {
            events.iter().any(|event| event["cookie"] == ids.0 && event["new_state"] == "FIN_WAIT2")
        });
        server.write_all(b"late data").expect("sent");
        let by_peer = watch.closed(ids.1);
        assert_eq!(by_peer["verdict"], "reset-by-peer", "{by_peer}");
        ids.0
    });
    assert_eq!((&closed["verdict"], &closed["reset"]), (&"reset-locally".into(), &"sent".into()));
}

/// CRIU closes a connection that it has saved in this way.
#[test]
fn a_close_under_repair_is_no_reset() {
    let closed = verdict(|watch| {
        let (client, server) = pair();
        let ids = (cookie(&client), cookie(&server));
        setsockopt(&client, TcpRepair, &1).expect("TCP_REPAIR, as root");
        drop(client);
        watch.closed(ids.0);
        watch.during(slow(Duration::from_millis(200)));
        let path = watch.path(ids.1);
        assert_eq!(path.last().map(String::as_str), Some("SYN_RECV>ESTABLISHED"), "no word came");
        drop(server);
        ids.0
    });
    // Without the kernel's types, nothing shows that there was no RST.
    let expected = if has_types() { "closed-silently" } else { "reset-locally" };
    assert_eq!(closed["verdict"], expected, "{closed}");
    assert!(closed.get("reset").is_none() && closed.get("errno").is_none(), "{closed}");
}

#[test]
fn unreachable() {
    let mut held = None;
    let closed = verdict(|_| {
        let _wire = Wire::new();
        // On the wire's network, with no neighbour: ARP gives up after some three seconds.
        cookie(&*held.insert(begin("10.9.0.77:80")))
    });
    assert_eq!(
        (&closed["verdict"], &closed["errno"]),
        (&"unreachable".into(), &"EHOSTUNREACH".into())
    );
}

#[test]
fn aborted_before_an_answer() {
    let closed = verdict(|watch| {
        let _wire = Wire::new();
        let socket = begin("10.9.0.2:7000");
        let id = cookie(&socket);
        watch.expect(id, "CLOSE>SYN_SENT");
        drop(socket);
        id
    });
    assert_eq!(closed["verdict"], "aborted", "{closed}");
    assert!(closed.get("errno").is_none(), "{closed}");
}

/// Connects to `server` from `local`, a port that sockets share.
fn connect_from(local: Option<&str>, server: SocketAddr) -> (Socket, std::io::Result<()>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    if let Some(local) = local {
        socket.set_reuse_address(true).expect("set");
        let local: SocketAddr = local.parse().expect("an address");
        socket.bind(&local.into()).expect("bound");
    }
    let connected = socket.connect(&server.into());
    (socket, connected)
}

/// The connect of the last socket fails, because its port, or every port, has a connection to the
/// same server.
#[test]
fn no_free_port() {
    for local in [None, Some("127.0.0.1:45000")] {
        // Without the kernel's types, nothing shows that a socket with a port sent no SYN.
        let is_known = has_types() || local.is_none();
        let (verdict, errno) =
            if is_known { ("no-free-port", Some("EADDRNOTAVAIL")) } else { ("aborted", None) };
        Netns::new().run(|| {
            let mut watch = Watch::start(&[&format!("verdict = {verdict}")]);
            // Afterwards: netmon may take ports of its own to begin.
            sh("echo 40000 40001 > /proc/sys/net/ipv4/ip_local_port_range");
            let listener = TcpListener::bind("127.0.0.1:80").expect("a listener");
            let server = listener.local_addr().expect("bound");
            let mut held = Vec::new();
            let error = loop {
                assert!(held.len() < 3, "one of three connects must fail");
                let (socket, connected) = connect_from(local, server);
                held.push(socket);
                if let Err(error) = connected {
                    break error;
                }
            };
            assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL), "{error}");
            // The other sockets are held until here, and end in another way.
            let is_closed = |event: &Value| event["type"] == "closed";
            watch.until("the end of the connect", |events| events.iter().any(is_closed));
            let closed = watch.events.iter().find(|event| is_closed(event)).expect("found");
            assert_eq!(closed["verdict"], verdict, "{local:?}: {closed}");
            assert_eq!(closed["errno"].as_str(), errno, "{local:?}: {closed}");
        });
    }
}

#[test]
fn a_filter_selects_by_verdict() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&["verdict = refused and dport = 9"]);
        let (client, server) = pair();
        drop((client, server));
        let socket = begin("127.0.0.1:9");
        assert_eq!(watch.closed(cookie(&socket))["verdict"], "refused");
        watch.stop();
        // On a busy machine, an object says that comparisons are rare.
        watch.events.retain(|event| event["type"] != "resync");
        assert_eq!(watch.events.len(), 2, "{:#?}", watch.events);
    });
}
