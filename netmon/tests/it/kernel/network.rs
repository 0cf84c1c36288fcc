//! `netmon routes`, `netmon interfaces` and `netmon stats` on a network that the test makes.

use std::{
    io::{BufRead, BufReader},
    net::UdpSocket,
    process::{Command, Stdio},
};

use crate::{
    kernel::{
        netns::{Netns, sh},
        netstat::Network,
    },
    schema::object,
};

const NETMON: &str = env!("CARGO_BIN_EXE_netmon");

fn netmon(args: &[&str]) -> String {
    let output = Command::new(NETMON).args(args).output().expect("netmon");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn routes_devices_and_counters_are_json_too() {
    let netns = Netns::new();
    let name = netns.name();
    let _network = netns.run(Network::new);
    let rows = |args: &[&str]| -> Vec<_> { netmon(args).lines().map(object).collect() };
    let routes = rows(&["routes", "--json", "--netns", name]);
    assert!(routes.iter().all(|row| row["netns"] == netns.inum && row["netns_name"] == name));
    assert_eq!(netns.run(|| rows(&["routes", "--json"])).len(), routes.len());
    let everywhere = rows(&["routes", "--json", "--netns", "all"]);
    let here = everywhere.iter().filter(|row| row["netns"] == netns.inum);
    assert_eq!(here.count(), routes.len());
    let route = |destination: &str| {
        let found = routes.iter().find(|route| route["destination"] == destination);
        found.unwrap_or_else(|| panic!("{destination}: {routes:?}"))
    };
    assert_eq!(route("10.7.0.0")["hops"][0]["gateway"], "10.1.2.9");
    let metrics = (&route("10.7.0.0")["metric"], &route("10.7.0.0")["rtt_ms"]);
    assert_eq!(metrics, (&7.into(), &300.into()));
    assert_eq!(route("10.8.0.0")["hops"].as_array().map(Vec::len), Some(2));
    assert_eq!(route("10.9.0.0")["kind"], "unreachable");
    assert_eq!(route("10.77.0.0")["table"], 77);
    assert_eq!(route("fd00:8::")["hops"][0]["device"], "a0");
    let devices = netns.run(|| rows(&["interfaces", "--json"]));
    let device = devices.iter().find(|device| device["device"] == "a0").expect("a0");
    assert_eq!(device["addresses"][0]["addr"], "10.1.2.3");
    assert_eq!(device["hardware_addr"], "02:00:00:00:00:0a");
    let counters = netns.run(|| rows(&["stats", "tcp", "--json"]));
    let opens = counters.iter().find(|counter| counter["name"] == "ActiveOpens");
    assert_eq!(opens.expect("a counter")["value"], 8, "three and a refusal, of both families");
}

#[test]
fn changes_follow_the_first_listing() {
    let netns = Netns::new();
    let mut command = Command::new(NETMON);
    command.args(["interfaces", "-c", "--json", "--netns", netns.name()]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("netmon");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || object(&lines.next().expect("a line").expect("UTF-8"));
    let first = next();
    assert_eq!((&first["device"], first.get("change")), (&"lo".into(), None));
    netns.run(|| sh("ip link add a0 type veth peer name a1"));
    let mut added = [next(), next()].map(|row| {
        assert_eq!(row["change"], "added");
        row["device"].as_str().expect("a name").to_owned()
    });
    added.sort();
    assert_eq!(added, ["a0", "a1"]);
    netns.run(|| UdpSocket::bind("127.0.0.1:0")?.send_to(&[0; 100], "127.0.0.1:9")).expect("sent");
    let counted = next();
    assert_eq!((&counted["device"], &counted["change"]), (&"lo".into(), &"changed".into()));
    assert!(counted["increases"]["tx_bytes"].as_u64() >= Some(128), "{counted}");
    netns.run(|| sh("ip link del a0"));
    assert_eq!([next(), next()].map(|row| row["change"].clone()), ["removed", "removed"]);
    child.kill().and_then(|()| child.wait()).expect("ended");
}

#[test]
fn tables_for_people_have_the_same_rows() {
    Netns::new().run(|| {
        let _network = Network::new();
        for (args, row) in [
            (&["routes"][..], "10.1.2.8,10.1.2.9"),
            (&["interfaces"], "10.1.2.3/24,fd00:7::1/64"),
            (&["stats", "tcp"], "active connection openings"),
        ] {
            let text = netmon(args);
            let json = netmon(&[args, &["--json"]].concat());
            assert_eq!(text.lines().count(), json.lines().count() + 1, "{text}");
            assert!(text.contains(row), "{text}");
        }
    });
}
