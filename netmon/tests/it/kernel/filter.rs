//! `netmon watch FILTER`: the kernel decides the filter where it can, and no wanted event is lost.

use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use crate::kernel::{
    harness::{Watch, close_in_turn, step},
    netns::Netns,
    tier::is_listeners,
};

/// Makes a connection to `listener`, which accepts it. The client closes first.
fn connect(listener: &TcpListener) {
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (server, _) = listener.accept().expect("accepted");
    close_in_turn(client, server);
}

/// The number of transitions of all namespaces that reached user space.
fn seen(stderr: &str) -> u64 {
    let before = stderr.split(" transitions seen").next().expect("a summary");
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn transitions(watch: &Watch) -> Vec<&Value> {
    watch.events.iter().filter(|event| event["type"] == "transition").collect()
}

#[test]
fn the_kernel_leaves_out_unwanted_transitions() {
    Netns::new().run(|| {
        let netns = std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
        let netns = netns.to_string_lossy();
        let netns = netns.trim_matches(|c: char| !c.is_ascii_digit());
        let wanted = TcpListener::bind("127.0.0.1:8443").expect("bound");
        let other = TcpListener::bind("127.0.0.1:8080").expect("bound");
        let filter = format!("netns = {netns} and ( dport = :8443 or sport = :8443 )");
        let mut watch = Watch::start(&[&filter]);
        for _ in 0..50 {
            connect(&other);
        }
        connect(&wanted);
        watch.until("both ends of the connection", |events| {
            events.iter().filter(|event| event["new_state"] == "CLOSE").count() == 1
                && events.iter().any(|event| event["new_state"] == "TIME_WAIT")
        });
        let stderr = watch.stop();
        let ports = |event: &Value| (event["local_port"].as_u64(), event["remote_port"].as_u64());
        for event in transitions(&watch) {
            let (local, remote) = ports(event);
            assert!(local == Some(8443) || remote == Some(8443), "{event}");
        }
        assert_eq!(transitions(&watch).len(), 10, "{:#?}", watch.events);
        // Of fifty unwanted connections with ten transitions each, user space gets SYN_SENT, which
        // has no port yet, and CLOSE. Listeners of other tests come as well.
        let seen = seen(&stderr);
        assert!((10..300).contains(&seen), "{stderr}");
    });
}

#[test]
fn owners_and_times_survive_a_filter_on_the_state() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&["state established and ( sport = 8444 or dport = 8444 )"]);
        let listener = TcpListener::bind("127.0.0.1:8444").expect("bound");
        connect(&listener);
        watch.until("both ends", |events| {
            events.iter().filter(|event| event["type"] == "transition").count() == 2
        });
        watch.stop();
        let events = transitions(&watch);
        assert_eq!(events.len(), 2, "{events:#?}");
        for event in &events {
            assert_eq!(event["new_state"], "ESTABLISHED");
            assert_eq!(event["pid"], std::process::id(), "{event}");
            assert!(event["in_state_us"].is_u64(), "{event}");
        }
        let evidence: Vec<&Value> = events.iter().map(|event| &event["owner_evidence"]).collect();
        assert!(evidence.contains(&&"connect".into()));
        assert!(evidence.iter().any(|evidence| is_listeners(evidence)));
    });
}

#[test]
fn a_filter_selects_by_process() {
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:8445").expect("bound");
        let mine = format!("pid = {} and sport = 8445", std::process::id());
        let mut watch = Watch::start(&[&mine]);
        let _second = TcpListener::bind("127.0.0.1:8446").expect("bound");
        drop(listener);
        let listener = TcpListener::bind("127.0.0.1:8445").expect("bound");
        connect(&listener);
        watch.until("the server's end", |events| {
            events
                .iter()
                .any(|event| event["type"] == "transition" && event["new_state"] == "CLOSE")
        });
        watch.stop();
        let events = transitions(&watch);
        assert!(events.iter().all(|event| event["local_port"] == 8445), "{events:#?}");
        let steps: Vec<String> = events.iter().map(|event| step(event)).collect();
        assert_eq!(
            steps,
            [
                // The listener is older than netmon, and so is its owner.
                "LISTEN>CLOSE",
                "CLOSE>LISTEN",
                "LISTEN>SYN_RECV",
                "SYN_RECV>ESTABLISHED",
                "ESTABLISHED>CLOSE_WAIT",
                "CLOSE_WAIT>LAST_ACK",
                "LAST_ACK>CLOSE"
            ]
        );
    });
}
