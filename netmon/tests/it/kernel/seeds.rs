//! Sockets that are older than netmon: found, with the processes that hold them, and followed.

use std::{
    collections::BTreeSet,
    net::{TcpListener, TcpStream},
    process::Command,
};

use serde_json::Value;

use crate::kernel::{
    every_state::HeldSockets,
    harness::{Watch, cookie, here},
    netns::Netns,
    tier::{is_listeners, sources},
};
use crate::schema::object;

#[test]
fn a_listener_older_than_netmon_owns_its_connections() {
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut watch = Watch::start(&[]);
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        let events = watch.expect(cookie(&server), "LISTEN>SYN_RECV SYN_RECV>ESTABLISHED");
        for event in &events {
            assert_eq!(event["pid"], std::process::id(), "{event}");
            assert!(is_listeners(&event["owner_evidence"]), "{event}");
            assert_eq!(event["direction"], "inbound");
        }
        drop(client);
    });
}

/// The identity of a row, and its state.
fn key(row: &Value) -> (Option<u64>, String) {
    (row["cookie"].as_u64(), row["state"].to_string())
}

/// The sockets of this namespace in a listing, but for the last one of the test.
fn listed() -> BTreeSet<(Option<u64>, String)> {
    let listing = Command::new(env!("CARGO_BIN_EXE_netmon"))
        .args(here(&["snapshot", "-tap", "--json", "--source", sources()[0]]))
        .output()
        .expect("netmon");
    let listing = String::from_utf8(listing.stdout).expect("UTF-8");
    let rows = listing.lines().map(object).filter(|row| row["local_port"] != 9999);
    rows.map(|row| key(&row)).collect()
}

#[test]
fn initial_shows_the_sockets_of_a_listing() {
    let netns = Netns::new();
    netns.run(|| {
        let _sockets = HeldSockets::open();
        let before = listed();
        let mut watch = Watch::start(&["--initial"]);
        // A listener that comes after all older sockets.
        let last = TcpListener::bind("127.0.0.1:9999").expect("bound");
        watch.expect(cookie(&last), "CLOSE>LISTEN");
        watch.stop();
        let seeds: Vec<&Value> = watch
            .events
            .iter()
            .filter(|event| event["type"] == "connection" && event["netns"] == netns.inum)
            .collect();
        assert!(seeds.iter().all(|seed| seed["initial"] == true));
        // A half-open connection lives for a minute, which may be over on a slow machine.
        let after = listed();
        let seen: BTreeSet<_> = seeds.iter().map(|seed| key(seed)).collect();
        assert!(before.len() > 15, "{before:?}");
        assert!(before.intersection(&after).all(|row| seen.contains(row)), "{before:?} {seen:?}");
        assert!(seen.iter().all(|row| before.contains(row) || after.contains(row)), "{seen:?}");
        let owned = seeds.iter().filter(|seed| seed["pid"] == std::process::id());
        assert!(owned.count() > 10, "{seeds:#?}");
        // Older sockets come before all other events.
        let first = watch.events.iter().position(|event| event["type"] == "transition");
        let last = watch.events.iter().rposition(|event| event["type"] == "connection");
        assert!(last < first, "{last:?} {first:?}");
    });
}

#[test]
fn a_filter_holds_for_older_sockets_too() {
    let netns = Netns::new();
    netns.run(|| {
        let _sockets = HeldSockets::open();
        let mut watch = Watch::start(&["--initial", "dport = 7001 or sport = 9998"]);
        let last = TcpListener::bind("127.0.0.1:9998").expect("bound");
        watch.expect(cookie(&last), "CLOSE>LISTEN");
        watch.stop();
        // Other tests hold the same sockets.
        let ours = |event: &&Value| event["type"] == "connection" && event["netns"] == netns.inum;
        let seeds: Vec<_> = watch.events.iter().filter(ours).collect();
        let [seed] = seeds.as_slice() else { panic!("{seeds:#?}") };
        assert_eq!((&seed["remote_port"], &seed["state"]), (&7001.into(), &"ESTABLISHED".into()));
    });
}
