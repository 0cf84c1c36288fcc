//! The states after FIN_WAIT2 -> CLOSE and CLOSING -> CLOSE: every known case, made on purpose.

use std::{
    io::Read,
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::{setsockopt_impl, sockopt_impl, sys::socket::setsockopt};

use crate::kernel::{
    harness::{Watch, cookie, kernel},
    netns::{Netns, sh},
    peer::{ACK, Connection, FIN, RST, Wire},
    tier::{Tier, knows_buckets, tier},
};

sockopt_impl!(
    /// Seconds of orphaned FIN_WAIT2; negative for none.
    TcpLinger2, SetOnly, libc::IPPROTO_TCP, libc::TCP_LINGER2, i32
);

const CONNECTED: &str = "CLOSE>SYN_SENT SYN_SENT>ESTABLISHED ESTABLISHED>FIN_WAIT1 ";
const PORT: u16 = 7000;

/// Makes a connection to the fake peer in a namespace of its own; `case` plays the rest.
fn play(case: impl FnOnce(&mut Watch, &mut Connection<'_>, u64) + Send) {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let mut wire = Wire::new();
        let mut connection = Connection::new(&mut wire, PORT);
        let id = cookie(&connection.socket);
        case(&mut watch, &mut connection, id);
    });
}

/// Closes the kernel's end, as a process does, and keeps the peer's.
fn close(connection: &mut Connection<'_>) {
    let gone = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    drop(std::mem::replace(&mut connection.socket, gone.expect("a socket")));
}

fn linger(connection: &Connection<'_>, time: Duration) {
    connection.socket.set_linger(Some(time)).expect("SO_LINGER");
}

/// Shuts the kernel's end down while the peer sends its own FIN: both FINs are on the way.
fn close_with_the_peer(watch: &mut Watch, connection: &mut Connection<'_>, id: u64) {
    connection.socket.shutdown(Shutdown::Write).expect("shutdown");
    connection.see_fin();
    connection.send(FIN, b"");
    watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>CLOSING"));
}

/// Acknowledges the FIN of a socket in CLOSING, which becomes TIME_WAIT.
fn acknowledge_in_closing(watch: &mut Watch, connection: &mut Connection<'_>, id: u64) {
    connection.advance(1);
    connection.take_fin();
    connection.send(ACK, b"");
    watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>CLOSING CLOSING>TIME_WAIT"));
}

#[test]
fn shutdown_then_the_peers_fin_is_time_wait() {
    play(|watch, connection, id| {
        connection.socket.shutdown(Shutdown::Write).expect("shutdown");
        connection.take_fin();
        connection.send(ACK, b"");
        watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2"));
        connection.send(FIN, b"");
        let events =
            watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>TIME_WAIT"));
        assert!(events.iter().all(|event| event.get("orphan").is_none()), "{events:#?}");
        assert!(events[4].get("inferred").is_none(), "{events:#?}");
        // A later close(), 5 -> 5 or no event at all, is no transition.
        close(connection);
        watch.during(Duration::from_millis(200));
        assert_eq!(watch.transitions(id).len(), 5);
    });
}

#[test]
fn close_leaves_an_orphan_until_the_peers_fin() {
    play(|watch, connection, id| {
        close(connection);
        connection.take_fin();
        connection.send(ACK, b"");
        let events = watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2"));
        assert_eq!(events[3]["orphan"], true);
        // No event reports the minisocket: netmon must have asked about it, and not have called it
        // TIME_WAIT early.
        watch.during(Duration::from_millis(300));
        assert_eq!(watch.transitions(id).len(), 4);
        connection.send(FIN, b"");
        let events =
            watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>TIME_WAIT"));
        assert_eq!(events[4]["inferred"] == true, tier() != Tier::Exact, "{events:#?}");
        assert!(events[4]["in_state_us"].as_u64() > Some(300_000), "{events:#?}");
    });
}

#[test]
fn ack_and_fin_in_one_segment_is_time_wait() {
    play(|watch, connection, id| {
        close(connection);
        connection.take_fin();
        connection.send(FIN, b"");
        let events =
            watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>TIME_WAIT"));
        assert!(events[4].get("inferred").is_none(), "the flags show it: {events:#?}");
    });
}

#[test]
fn simultaneous_close_is_time_wait() {
    play(|watch, connection, id| {
        close_with_the_peer(watch, connection, id);
        acknowledge_in_closing(watch, connection, id);
    });
}

#[test]
fn simultaneous_close_of_a_lingering_socket_is_time_wait() {
    play(|watch, connection, id| {
        linger(connection, Duration::from_secs(3));
        close_with_the_peer(watch, connection, id);
        acknowledge_in_closing(watch, connection, id);
    });
}

#[test]
fn linger_zero_in_closing_leaves_nothing() {
    play(|watch, connection, id| {
        close_with_the_peer(watch, connection, id);
        linger(connection, Duration::ZERO);
        close(connection);
        watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>CLOSING CLOSING>CLOSE"));
    });
}

#[test]
fn linger2_negative_leaves_nothing_and_resets() {
    play(|watch, connection, id| {
        setsockopt(&connection.socket, TcpLinger2, &-1).expect("TCP_LINGER2");
        close(connection);
        connection.take_fin();
        connection.send(ACK, b"");
        let events = watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>CLOSE"));
        assert_eq!(events[4]["reset"], "sent", "{events:#?}");
        assert!(events[4].get("inferred").is_none(), "{events:#?}");
    });
}

#[test]
fn data_after_close_is_answered_with_a_reset() {
    for flags in [ACK, FIN] {
        play(|watch, connection, id| {
            close(connection);
            connection.take_fin();
            connection.send(flags, b"late");
            let events =
                watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>CLOSE"));
            assert_eq!(events[4]["reset"], "sent", "{events:#?}");
        });
    }
}

#[test]
fn data_to_a_parked_minisocket_is_answered_with_a_reset() {
    play(|watch, connection, id| {
        close(connection);
        connection.take_fin();
        connection.send(ACK, b"");
        watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2"));
        watch.during(Duration::from_millis(100));
        connection.send(ACK, b"late");
        let events = watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>CLOSE"));
        assert!(events[4]["in_state_us"].as_u64() > Some(100_000), "its own time: {events:#?}");
        // Before Linux 6.10 `tcp_send_reset` is about full sockets only, and minisockets have
        // addresses of their own. Then another hook reports the end, or netmon finds it out by
        // asking.
        let is_reported = kernel() >= (6, 10) && tier() != Tier::Basic;
        assert_eq!(
            events[4].get("inferred").is_none(),
            is_reported || tier() == Tier::Exact,
            "{events:#?}"
        );
        assert_eq!(events[4]["reset"] == "sent", is_reported, "{events:#?}");
    });
}

#[test]
fn a_reset_to_a_parked_minisocket_is_found_out() {
    play(|watch, connection, id| {
        close(connection);
        connection.take_fin();
        connection.send(ACK, b"");
        watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2"));
        connection.send(RST, b"");
        let events = watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>CLOSE"));
        assert_eq!(events[4]["inferred"] == true, tier() != Tier::Exact, "{events:#?}");
    });
}

#[test]
fn a_reset_in_fin_wait2_leaves_nothing() {
    play(|watch, connection, id| {
        connection.socket.shutdown(Shutdown::Write).expect("shutdown");
        connection.take_fin();
        connection.send(ACK, b"");
        watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2"));
        connection.send(RST, b"");
        let events = watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>CLOSE"));
        assert_eq!(events[4]["errno"], "ECONNRESET", "{events:#?}");
        assert_eq!(events[4]["reset"], "received", "{events:#?}");
    });
}

#[test]
fn without_a_bucket_there_is_no_time_wait() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let mut wire = Wire::new();
        sh("echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets");
        let mut connection = Connection::new(&mut wire, PORT);
        let id = cookie(&connection.socket);
        connection.socket.shutdown(Shutdown::Write).expect("shutdown");
        connection.take_fin();
        connection.send(FIN, b"");
        if !knows_buckets() {
            watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>TIME_WAIT"));
            let path = "FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>TIME_WAIT TIME_WAIT>CLOSE";
            let events = watch.expect(id, &format!("{CONNECTED} {path}"));
            assert_eq!(events[5]["inferred"], true, "a dump did not have it: {events:#?}");
            return;
        }
        let events = watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>CLOSE"));
        assert!(events[4].get("errno").is_none(), "{events:#?}");
    });
}

/// No socket is left to acknowledge the peer's FIN: the RST that the peer gets instead shows it. A
/// busy machine may let netmon ask the kernel before the peer closes, so there are some tries.
#[test]
fn without_a_bucket_an_orphan_is_gone_when_its_peer_closes() {
    const TRIES: usize = 20;
    Netns::new().run(|| {
        sh("ip link set lo up; echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets");
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let is_exact = (0..TRIES).any(|_| {
            let client = TcpStream::connect(listener.local_addr().expect("its address"));
            let client = client.expect("a connection");
            let (mut server, _) = listener.accept().expect("accepted");
            let (id, peer) = (cookie(&client), cookie(&server));
            drop(client);
            assert_eq!(server.read(&mut [0]).expect("the end"), 0);
            // At once: the client's FIN would be acknowledged with the server's FIN otherwise.
            socket2::SockRef::from(&server).set_tcp_quickack(true).expect("TCP_QUICKACK");
            drop(server);
            let path = "CLOSE>SYN_SENT SYN_SENT>ESTABLISHED ESTABLISHED>FIN_WAIT1";
            let path = format!("{path} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>CLOSE");
            let events = watch.expect(id, &path);
            let path = "LISTEN>SYN_RECV SYN_RECV>ESTABLISHED ESTABLISHED>CLOSE_WAIT";
            let path = format!("{path} CLOSE_WAIT>LAST_ACK LAST_ACK>CLOSE");
            let peer_events = watch.expect(peer, &path);
            assert_eq!(peer_events[4]["reset"], "received", "{peer_events:#?}");
            events[4].get("inferred").is_none()
        });
        assert!(is_exact, "the peer's RST never answered in {TRIES} tries");
    });
}

#[test]
fn a_long_fin_timeout_keeps_the_full_socket_first() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let mut wire = Wire::new();
        sh("echo 62 > /proc/sys/net/ipv4/tcp_fin_timeout");
        let mut connection = Connection::new(&mut wire, PORT);
        let id = cookie(&connection.socket);
        close(&mut connection);
        connection.take_fin();
        connection.send(ACK, b"");
        watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2"));
        // Two seconds as a full socket, 5 -> 7 with the process gone, then a minisocket.
        watch.during(Duration::from_millis(3000));
        assert_eq!(watch.transitions(id).len(), 4, "{:#?}", watch.transitions(id));
        connection.send(FIN, b"");
        watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>TIME_WAIT"));
    });
}

#[test]
fn a_silent_peer_outlives_a_short_linger2() {
    play(|watch, connection, id| {
        setsockopt(&connection.socket, TcpLinger2, &1).expect("TCP_LINGER2");
        close(connection);
        connection.take_fin();
        connection.send(ACK, b"");
        let events = watch.expect(id, &format!("{CONNECTED} FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>CLOSE"));
        assert_eq!(events[4]["inferred"] == true, tier() != Tier::Exact, "{events:#?}");
        assert!(events[4]["in_state_us"].as_u64() > Some(900_000), "{events:#?}");
        assert!(connection.socket.as_raw_fd() >= 0);
    });
}
