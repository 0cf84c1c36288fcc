//! Ordinary connections, from both sides.

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{self, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::kernel::{
    harness::{Watch, close_in_turn, cookie, load, step},
    netns::{Netns, sh},
    tier::{Tier, is_listeners, knows_buckets, tier},
};

const CLIENT: &str = "CLOSE>SYN_SENT SYN_SENT>ESTABLISHED ESTABLISHED>FIN_WAIT1 \
    FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>TIME_WAIT";
const SERVER: &str = "LISTEN>SYN_RECV SYN_RECV>ESTABLISHED ESTABLISHED>CLOSE_WAIT \
    CLOSE_WAIT>LAST_ACK LAST_ACK>CLOSE";

fn pair(address: &str) -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).expect("a listener");
    let client =
        TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
    let (server, _) = listener.accept().expect("accepted");
    (listener, client, server)
}

/// Asserts that every event is between these two ends, in this family, of this namespace.
fn assert_place(events: &[Value], local: SocketAddr, remote: SocketAddr, family: &str, netns: u64) {
    for event in events {
        assert_eq!(event["local_addr"], local.ip().to_canonical().to_string(), "{event}");
        assert_eq!(event["local_port"], local.port(), "{event}");
        assert_eq!(event["remote_addr"], remote.ip().to_canonical().to_string(), "{event}");
        assert_eq!(event["remote_port"], remote.port(), "{event}");
        assert_eq!(event["family"], family, "{event}");
        assert_eq!(event["proto"], "tcp", "{event}");
        assert_eq!(event["netns"], netns, "{event}");
    }
}

fn assert_owned(events: &[Value], direction: &str, evidence: &str) {
    for event in events {
        assert_eq!(event["direction"], direction, "{event}");
        assert_eq!(event["pid"], process::id(), "{event}");
        assert_eq!(event["uid"], 0, "{event}");
        let known = &event["owner_evidence"];
        assert!(known == evidence || evidence == "listen" && is_listeners(known), "{event}");
    }
}

/// Follows a connection that the client closes first, from both its ends.
fn lives_and_closes(address: &str, family: &str) {
    let netns = Netns::new();
    netns.run(|| {
        let mut watch = Watch::start(&[]);
        let (listener, mut client, mut server) = pair(address);
        let (client_id, server_id) = (cookie(&client), cookie(&server));
        let listener_id = cookie(&listener);
        let ends = (client.local_addr().expect("bound"), client.peer_addr().expect("connected"));
        client.write_all(b"question").expect("sent");
        drop(client);
        let mut question = String::new();
        server.read_to_string(&mut question).expect("received");
        drop(server);
        drop(listener);
        let client = watch.expect(client_id, CLIENT);
        assert_place(&client, ends.0, ends.1, family, netns.inum);
        assert_owned(&client, "outbound", "connect");
        let server = watch.expect(server_id, SERVER);
        assert_place(&server, ends.1, ends.0, family, netns.inum);
        assert_owned(&server, "inbound", "listen");
        let listener = watch.expect(listener_id, "CLOSE>LISTEN LISTEN>CLOSE");
        assert_owned(&listener, "listen", "listen");
        assert_eq!(listener[0]["local_port"], ends.1.port());
        assert!(listener[0].get("remote_port").is_none());
        for events in [&client, &server] {
            let times: Vec<&str> =
                events.iter().map(|e| e["time"].as_str().expect("time")).collect();
            assert!(times.is_sorted(), "{times:?}");
            assert!(events[1..].iter().all(|event| event["in_state_us"].is_u64()), "{events:#?}");
            assert!(events[0].get("in_state_us").is_none());
            assert!(events.iter().all(|event| event["opened"] == events[0]["opened"]));
            assert!(events.iter().all(|event| event.get("errno").is_none()), "{events:#?}");
        }
        assert!(watch.stop().contains(" 0 events lost"));
    });
}

#[test]
fn ipv4_from_both_sides() {
    lives_and_closes("127.0.0.1:0", "ipv4");
}

#[test]
fn ipv6_from_both_sides() {
    lives_and_closes("[::1]:0", "ipv6");
}

#[test]
fn v4_mapped_sockets_are_ipv4() {
    let netns = Netns::new();
    netns.run(|| {
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a listener");
        let port = listener.local_addr().expect("bound").port();
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{port}").parse().expect("an address");
        socket.connect(&mapped.into()).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        let local = socket.local_addr().expect("bound").as_socket().expect("IP");
        let ids = (cookie(&socket), cookie(&server));
        close_in_turn(socket, server);
        let client = watch.expect(ids.0, CLIENT);
        assert_place(&client, local, mapped, "ipv4", netns.inum);
        let server = watch.expect(ids.1, SERVER);
        assert_place(&server, mapped, local, "ipv4", netns.inum);
    });
}

/// The child of a SYN with data is there before its handshake is over, and other transitions come
/// between.
#[test]
fn a_fast_open_has_its_beginning_and_its_owner() {
    Netns::new().run(|| {
        // Client and server, without cookies, for every listener (ip-sysctl.rst).
        sh("echo 1543 > /proc/sys/net/ipv4/tcp_fastopen");
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let sent = client.send_to_with_flags(b"early", &address.into(), libc::MSG_FASTOPEN);
        assert_eq!(sent.expect("sent"), 5);
        let (mut server, _) = listener.accept().expect("accepted");
        let mut early = [0; 5];
        server.read_exact(&mut early).expect("received");
        let ids = (cookie(&client), cookie(&server));
        drop(client);
        let mut rest = String::new();
        server.read_to_string(&mut rest).expect("the end");
        drop(server);
        watch.expect(ids.0, CLIENT);
        let server = watch.expect(ids.1, SERVER);
        assert_owned(&server, "inbound", "listen");
        // The kernel has counted the fast open.
        sh("nstat -asz TcpExtTCPFastOpenPassive | grep -q 'Passive *1 '");
    });
}

#[test]
fn half_closed_for_a_while() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let (_listener, client, server) = pair("127.0.0.1:0");
        let ids = (cookie(&client), cookie(&server));
        client.shutdown(Shutdown::Write).expect("shutdown");
        watch.expect(ids.1, "LISTEN>SYN_RECV SYN_RECV>ESTABLISHED ESTABLISHED>CLOSE_WAIT");
        // The FIN's acknowledgement is delayed, so FIN_WAIT2 begins some 40 ms later.
        watch.expect(ids.0, CLIENT.rsplit_once(' ').expect("more").0);
        std::thread::sleep(Duration::from_millis(50));
        drop(server);
        let events = watch.expect(ids.0, CLIENT);
        assert!(events[4]["in_state_us"].as_u64() >= Some(50_000), "{events:#?}");
        drop(client);
        watch.expect(ids.1, SERVER);
        watch.during(Duration::from_millis(100));
        assert_eq!(watch.transitions(ids.0).len(), 5, "close() after shutdown() is no transition");
    });
}

#[test]
fn another_process_is_named_by_its_leader() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("bound").port();
        // bash opens the connection itself, and has no name of its own to set.
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r -u 3 x; exec 3>&-");
        let mut bash = Command::new("bash").args(["-c", &script]).spawn().expect("bash");
        let (mut server, from) = listener.accept().expect("accepted");
        server.write_all(b"go\n").expect("sent");
        assert!(bash.wait().expect("its end").success());
        drop(server);
        let opened =
            |event: &Value| event["local_port"] == from.port() && step(event) == "CLOSE>SYN_SENT";
        watch.until("the connection of bash", |events| events.iter().any(opened));
        let id = watch.events.iter().find(|event| opened(event)).expect("found")["cookie"].as_u64();
        for event in watch.expect(id.expect("a cookie"), CLIENT) {
            assert_eq!(event["pid"], bash.id());
            assert_eq!(event["comm"], "bash");
        }
    });
}

#[test]
fn a_connection_handed_to_a_child_keeps_its_listener_as_owner() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let (_listener, mut client, server) = pair("127.0.0.1:0");
        let id = cookie(&server);
        // A forking server: the child holds the connection, this process does not any more.
        let mut child = Command::new("cat")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(server)))
            .stdout(Stdio::null())
            .spawn()
            .expect("cat");
        client.write_all(b"hello").expect("sent");
        drop(client);
        assert!(child.wait().expect("its end").success());
        for event in watch.expect(id, SERVER) {
            assert_eq!(event["pid"], process::id(), "{event}");
            assert!(is_listeners(&event["owner_evidence"]), "{event}");
        }
    });
}

#[test]
fn one_socket_connects_twice() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let id = cookie(&socket);
        let closed_port: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        assert!(socket.connect(&closed_port.into()).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        socket.connect(&listener.local_addr().expect("bound").into()).expect("connected");
        let second = socket.local_addr().expect("bound").as_socket().expect("IP");
        let (server, _) = listener.accept().expect("accepted");
        close_in_turn(socket, server);
        let events = watch.expect(id, &format!("CLOSE>SYN_SENT SYN_SENT>CLOSE {CLIENT}"));
        let (first, again) = events.split_at(2);
        assert_eq!(first[1]["errno"], "ECONNREFUSED");
        assert_eq!(first[0]["local_port"], first[1]["local_port"]);
        assert_ne!(first[0]["opened"], again[0]["opened"], "another connection");
        assert!(again.iter().all(|event| event["opened"] == again[0]["opened"]));
        assert!(again.iter().all(|event| event["local_port"] == second.port()), "{again:#?}");
        assert!(again.iter().all(|event| event.get("errno").is_none()), "{again:#?}");
        assert!(again[0].get("in_state_us").is_none(), "CLOSE was no state of this connection");
    });
}

#[test]
fn a_connection_older_than_netmon_has_no_invented_past() {
    Netns::new().run(|| {
        let (_listener, client, server) = pair("127.0.0.1:0");
        let ids = (cookie(&client), cookie(&server));
        let ends = (client.local_addr().expect("bound"), client.peer_addr().expect("connected"));
        let mut watch = Watch::start(&[]);
        close_in_turn(client, server);
        let path = "ESTABLISHED>FIN_WAIT1 FIN_WAIT1>FIN_WAIT2 FIN_WAIT2>TIME_WAIT";
        let events = watch.expect(ids.0, path);
        for absent in ["in_state_us", "direction"] {
            assert!(events[0].get(absent).is_none(), "{absent}: {events:#?}");
        }
        assert_eq!(events[0]["first_sight"], true, "{events:#?}");
        // netmon found the connection, and the process that held it.
        assert_eq!(events[0]["pid"], std::process::id());
        assert_eq!(events[0]["owner_evidence"], "fd-scan");
        assert!(events[1]["in_state_us"].is_u64());
        for event in &events {
            assert_eq!(event["local_port"], ends.0.port());
        }
        let closed =
            watch.expect(ids.1, "ESTABLISHED>CLOSE_WAIT CLOSE_WAIT>LAST_ACK LAST_ACK>CLOSE");
        assert_eq!(closed[2]["local_port"], ends.1.port(), "the port is gone from skc_num by then");
    });
}

#[test]
fn between_two_namespaces() {
    let (here, there) = (Netns::new(), Netns::new());
    here.run(|| {
        let mut watch = Watch::everywhere(&[]);
        crate::kernel::netns::sh(&format!(
            "ip link add v0 type veth peer name v1
             ip addr add 10.8.0.1/24 dev v0; ip link set v0 up
             ip link set v1 netns {0}
             ip -n {0} addr add 10.8.0.2/24 dev v1; ip -n {0} link set v1 up",
            there.name()
        ));
        let listener = there.run(|| TcpListener::bind("10.8.0.2:0").expect("a listener"));
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        let ids = (cookie(&client), there.run(|| cookie(&server)));
        close_in_turn(client, server);
        // The other end is in another namespace, so netmon asks about the minisocket, here.
        for event in watch.expect(ids.0, CLIENT) {
            assert_eq!(event["netns"], here.inum);
        }
        for event in watch.expect(ids.1, SERVER) {
            assert_eq!(event["netns"], there.inum);
        }
    });
}

#[test]
fn a_minisocket_of_another_namespace_is_asked_about_there() {
    let there = Netns::new();
    let here = Netns::new();
    let mut watch = here.run(|| Watch::everywhere(&[]));
    there.run(|| {
        // The kernel gives up a bucket in FIN_WAIT2 after 60 s. The first reports of an emulated
        // machine that begins several tests at once may take longer.
        for _ in 0..3 {
            let mut wire = crate::kernel::peer::Wire::new();
            let mut connection = crate::kernel::peer::Connection::new(&mut wire, 7001);
            let id = cookie(&connection.socket);
            let closed = Instant::now();
            connection.socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
            connection.take_fin();
            connection.send(crate::kernel::peer::ACK, b"");
            watch.expect(id, CLIENT.rsplit_once(' ').expect("more").0);
            connection.send(crate::kernel::peer::FIN, b"");
            if closed.elapsed() > Duration::from_secs(50) {
                continue;
            }
            let events = watch.expect(id, CLIENT);
            assert_eq!(events[4]["inferred"] == true, tier() != Tier::Exact, "{events:#?}");
            return;
        }
        panic!("the bucket was over before the peer's FIN, three times");
    });
}

#[test]
fn without_a_bucket_there_is_no_time_wait_on_loopback_either() {
    Netns::new().run(|| {
        crate::kernel::netns::sh("echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets");
        let mut watch = Watch::start(&[]);
        let (_listener, client, server) = pair("127.0.0.1:0");
        let id = cookie(&client);
        client.shutdown(Shutdown::Write).expect("shutdown");
        watch.expect(id, CLIENT.rsplit_once(' ').expect("more").0);
        drop(server);
        if knows_buckets() {
            watch.expect(id, &CLIENT.replace("FIN_WAIT2>TIME_WAIT", "FIN_WAIT2>CLOSE"));
        } else {
            watch.expect(id, &format!("{CLIENT} TIME_WAIT>CLOSE"));
        }
    });
}

#[test]
fn a_socket_bound_to_a_device_is_found_there() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let mut wire = crate::kernel::peer::Wire::new();
        let mut connection = crate::kernel::peer::Connection::bound(&mut wire, 7002, Some("d0"));
        let id = cookie(&connection.socket);
        connection.socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        connection.take_fin();
        connection.send(crate::kernel::peer::ACK, b"");
        watch.expect(id, CLIENT.rsplit_once(' ').expect("more").0);
        watch.during(Duration::from_millis(300));
        assert_eq!(
            watch.transitions(id).len(),
            4,
            "it is still there: {:#?}",
            watch.transitions(id)
        );
        connection.send(crate::kernel::peer::FIN, b"");
        watch.expect(id, CLIENT);
    });
}

#[test]
fn open_questions_are_settled_at_the_end() {
    let netns = Netns::new();
    netns.run(|| {
        crate::kernel::netns::sh("echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets");
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let connections = load(2_000);
        for _ in 0..connections {
            let client =
                TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let (server, _) = listener.accept().expect("accepted");
            client.shutdown(Shutdown::Write).expect("shutdown");
            drop(server);
            drop(client);
        }
        watch.stop();
        let ends = watch.events.iter().filter(|event| {
            event["netns"] == netns.inum
                && event["direction"] == "outbound"
                && matches!(event["new_state"].as_str(), Some("CLOSE" | "TIME_WAIT"))
        });
        // Where netmon does not know that buckets are used up, a TIME_WAIT ends when another
        // connection gets its port.
        let ended: HashSet<_> =
            ends.map(|event| (event["cookie"].to_string(), event["opened"].to_string())).collect();
        assert_eq!(ended.len(), usize::from(connections));
    });
}
