//! Sockets with the same addresses: bound to devices, and at the address of IPv6 alone or of both
//! families.

use std::{
    collections::BTreeSet,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::kernel::{
    harness::{Watch, here, slow, step},
    netns::{Netns, sh},
    recording::{Directory, Record, history},
    tier::{Tier, cookie, sources, tier},
};
use crate::schema::object;

/// A namespace with two devices, `va` and `vc`, and two more with a peer behind each. Both peers
/// have the address 10.4.0.2.
struct TwoWays {
    here: Netns,
    peers: [Netns; 2],
}

const DEVICES: [&str; 2] = ["va", "vc"];

impl TwoWays {
    fn new() -> Self {
        let (here, peers) = (Netns::new(), [Netns::new(), Netns::new()]);
        let name = here.name();
        for (device, peer) in DEVICES.into_iter().zip(&peers) {
            let there = peer.name();
            sh(&format!(
                "ip -n {name} link add {device} type veth peer name vb netns {there}
                 ip -n {name} link set {device} up
                 ip -n {there} link set vb up
                 ip -n {there} addr add 10.4.0.2/24 dev vb
                 ip netns exec {name} sh -c 'echo 0 > /proc/sys/net/ipv4/conf/{device}/rp_filter'"
            ));
        }
        sh(&format!(
            "ip -n {name} addr add 10.4.0.1/24 dev va
             ip -n {name} addr add fe80::4/64 dev va nodad
             ip -n {name} route add 10.4.0.0/24 dev vc metric 9
             ip netns exec {name} sh -c 'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter'"
        ));
        Self { here, peers }
    }
}

fn bound(family: Domain, kind: Type, address: &str, device: Option<&str>) -> Socket {
    let socket = Socket::new(family, kind, None).expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind_device(device.map(str::as_bytes)).expect("SO_BINDTODEVICE");
    let address: SocketAddr = address.parse().expect("an address");
    socket.bind(&address.into()).expect("bound");
    socket
}

fn at_any(kind: Type, port: u16, v6only: bool) -> Socket {
    let socket = Socket::new(Domain::IPV6, kind, None).expect("a socket");
    socket.set_only_v6(v6only).expect("IPV6_V6ONLY");
    let address: SocketAddr = ([0u16; 8], port).into();
    socket.bind(&address.into()).expect("bound");
    socket
}

fn listening(socket: Socket) -> Socket {
    socket.listen(5).expect("listens");
    socket
}

/// Sockets whose addresses alone are equal, or say too little.
fn sockets() -> Vec<Socket> {
    let mut held = Vec::new();
    for device in DEVICES {
        let listener = bound(Domain::IPV4, Type::STREAM, "0.0.0.0:22002", Some(device));
        held.push(listening(listener));
        held.push(bound(Domain::IPV4, Type::DGRAM, "0.0.0.0:22006", Some(device)));
    }
    held.push(listening(at_any(Type::STREAM, 22003, true)));
    held.push(listening(bound(Domain::IPV4, Type::STREAM, "0.0.0.0:22003", None)));
    let dual_stack = listening(at_any(Type::STREAM, 22004, false));
    held.push(at_any(Type::DGRAM, 22007, true));
    held.push(at_any(Type::DGRAM, 22008, false));
    let index = nix::net::if_::if_nametoindex("va").expect("a device");
    held.push(listening(bound(
        Domain::IPV6,
        Type::STREAM,
        &format!("[fe80::4%{index}]:22001"),
        None,
    )));
    let client = bound(Domain::IPV4, Type::STREAM, "127.0.0.1:22010", Some("lo"));
    let server: SocketAddr = "127.0.0.1:22004".parse().expect("an address");
    client.connect(&server.into()).expect("connected");
    held.extend([dual_stack, client]);
    held
}

fn lines(program: &mut Command) -> Vec<String> {
    let output = program.output().expect("starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn snapshot(args: &[&str]) -> Vec<String> {
    lines(Command::new(env!("CARGO_BIN_EXE_netmon")).arg("snapshot").args(here(args)))
}

fn objects(args: &[&str]) -> Vec<Value> {
    snapshot(&[&["--json"], args].concat()).iter().map(|line| object(line)).collect()
}

fn field(line: &str, at: usize) -> String {
    line.split_whitespace().nth(at).unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[test]
fn a_listing_tells_equal_addresses_apart_as_ss_does() {
    let ways = TwoWays::new();
    ways.here.run(|| {
        let _held = sockets();
        let sorted = |lines: Vec<String>, at: usize| {
            // netmon shows a mapped address as the IPv4 address that it is.
            let end = |line: &String| field(line, at).replace("[::ffff:127.0.0.1]", "127.0.0.1");
            let mut ends: Vec<String> = lines.iter().map(end).collect();
            ends.sort();
            ends
        };
        let theirs = sorted(lines(Command::new("ss").arg("-tuanH")), 4);
        for wanted in ["*:22004", "[::]:22003", "0.0.0.0%va:22002", "[fe80::4]%va:22001"] {
            assert!(theirs.iter().any(|end| end == wanted), "{wanted} of {theirs:?}");
        }
        for source in sources() {
            let ours = sorted(snapshot(&["-tuanH", "--source", source]), 3);
            assert_eq!(ours, theirs, "{source}");
            let rows = objects(&["-tuan", "--source", source]);
            let of = |port: u16| rows.iter().filter(move |row| row["local_port"] == port);
            let devices: BTreeSet<&str> =
                of(22002).filter_map(|row| row["device"].as_str()).collect();
            assert_eq!(devices, BTreeSet::from(DEVICES), "{source}: {rows:#?}");
            let only: BTreeSet<u64> = rows
                .iter()
                .filter(|row| row["v6only"] == true)
                .filter_map(|row| row["local_port"].as_u64())
                .collect();
            // The kernel sets the option on a socket that is bound to one address of IPv6.
            assert_eq!(only, BTreeSet::from([22001, 22003, 22007]), "{source}: {rows:#?}");
            let index = of(22001).next().expect("a row")["interface"].to_string();
            let count = |filter: &str| snapshot(&["-tuanH", "--source", source, filter]).len();
            assert_eq!(count("dev = va"), 3, "{source}");
            assert_eq!(count(&format!("dev = {index}")), 3, "{source}");
            assert_eq!(count("dev = vc"), 2, "{source}");
            assert_eq!(count("dev = lo"), 1, "{source}");
            assert_eq!(count("dev = 0"), rows.len() - 6, "{source}");
            assert_eq!(count("dev != va"), rows.len() - 3, "{source}");
        }
    });
}

/// A device of another namespace has its name there.
#[test]
fn watch_and_a_journal_name_devices() {
    let ways = TwoWays::new();
    let directory = Directory::new();
    let record = Record::start(&directory.0);
    let mut watch = Watch::everywhere(&[&format!("netns = {}", ways.here.inum)]);
    let held = ways.here.run(sockets);
    let opened = |port: u16| {
        move |event: &&Value| event["new_state"] == "LISTEN" && event["local_port"] == port
    };
    let is_done = |event: &Value| event["new_state"] == "ESTABLISHED" && event["device"] == "lo";
    watch.until("the sockets", |events| events.iter().any(is_done));
    let of = |port: u16| watch.events.iter().filter(opened(port));
    let devices: BTreeSet<&str> = of(22002).filter_map(|event| event["device"].as_str()).collect();
    assert_eq!(devices, BTreeSet::from(DEVICES), "{:#?}", watch.events);
    let v6only: Vec<&Value> = of(22003).map(|event| &event["v6only"]).collect();
    let known = if tier() == Tier::Basic { Value::Null } else { true.into() };
    assert!(v6only.contains(&&known) && v6only.contains(&&Value::Null), "{:#?}", watch.events);
    assert_eq!(of(22004).next().map(|event| event.get("v6only")), Some(None));
    std::thread::sleep(slow(Duration::from_millis(700)));
    record.stop();
    let rows =
        |filter: &str| history(&directory.0, &format!("netns = {} and {filter}", ways.here.inum));
    let on_loopback = rows("dev = lo");
    assert_eq!(on_loopback.len(), 1, "{on_loopback:#?}");
    assert_eq!(on_loopback[0]["interface"], 1);
    assert_eq!(rows("dev = 1"), on_loopback);
    assert_eq!(rows("dev != lo").len(), 1, "the other end");
    drop(held);
}

/// Two connections with the same four numbers, on two devices, are two rows, also in TIME_WAIT.
#[test]
fn two_devices_may_have_a_connection_with_the_same_ends() {
    let ways = TwoWays::new();
    let listeners: Vec<TcpListener> = ways
        .peers
        .iter()
        .map(|peer| peer.run(|| TcpListener::bind("10.4.0.2:80").expect("a listener")))
        .collect();
    ways.here.run(|| {
        let mut watch = Watch::start(&[]);
        let mut cookies = Vec::new();
        for (device, listener) in DEVICES.into_iter().zip(&listeners) {
            let client = bound(Domain::IPV4, Type::STREAM, "10.4.0.1:22020", Some(device));
            client.connect(&listener.local_addr().expect("bound").into()).expect("connected");
            let (mut server, _) = listener.accept().expect("accepted");
            cookies.push(cookie(&client));
            let client = TcpStream::from(client);
            client.shutdown(std::net::Shutdown::Write).expect("shut down");
            assert_eq!(server.read(&mut [0]).expect("the end of the stream"), 0);
            drop(server);
            drop(client);
            let in_time_wait =
                |event: &Value| event["device"] == device && event["new_state"] == "TIME_WAIT";
            watch.until("a TIME_WAIT", |events| events.iter().any(in_time_wait));
        }
        watch.during(slow(Duration::from_millis(300)));
        let gone =
            |event: &&Value| event["type"] == "transition" && step(event) == "TIME_WAIT>CLOSE";
        assert_eq!(watch.events.iter().find(gone), None, "neither takes the other's place");
        for source in sources() {
            let rows = objects(&["-tan", "--source", source, "state time-wait"]);
            let listed: BTreeSet<(u64, &str)> = rows
                .iter()
                .filter_map(|row| Some((row["cookie"].as_u64()?, row["device"].as_str()?)))
                .collect();
            let expected = cookies.iter().copied().zip(DEVICES).collect();
            assert_eq!(listed, expected, "{source}: {rows:#?}");
        }
    });
}
