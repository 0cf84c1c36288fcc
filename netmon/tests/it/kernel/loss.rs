//! Loss, the end, and limits: events that are not shown are reported.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use crate::kernel::{
    harness::{Watch, kernel, load, slow, step},
    netns::{Netns, sh},
    peer::Wire,
};

/// Makes connections that the client resets: six transitions each.
fn churn(connections: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("bound");
    for _ in 0..connections {
        let client = TcpStream::connect(address).expect("connected");
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(client);
        drop(listener.accept());
    }
}

fn lost(events: &[Value]) -> u64 {
    events
        .iter()
        .filter(|event| event["type"] == "lost")
        .filter_map(|event| event["lost"].as_u64())
        .sum()
}

#[test]
fn a_full_ring_is_reported_and_counted() {
    let netns = Netns::new();
    netns.run(|| {
        // The filter keeps the few records of this ring for this test.
        let mut watch = Watch::start(&["--buffer", "4K", &format!("netns = {}", netns.inum)]);
        // netmon cannot read while it is stopped, so the ring must overflow.
        watch.signal("-STOP");
        churn(200);
        watch.signal("-CONT");
        watch.until("the loss", |events| lost(events) > 0);
        let stderr = watch.stop();
        // Processes of other tests may fill the ring of processes, which is as small.
        let is_it = |event: &Value| event["type"] == "lost" && event["reason"] == "ring_full";
        assert!(watch.events.iter().any(is_it), "{:?}", watch.events);
        assert!(stderr.contains(&format!(" {} events lost", lost(&watch.events))), "{stderr}");
        let shown = watch.events.iter().filter(|event| event["type"] == "transition").count();
        assert!(shown > 0, "the events that fitted are shown: {stderr}{:?}", watch.events);
    });
}

/// The transitions in the namespace.
fn transitions<'w>(watch: &'w Watch, netns: &Netns) -> Vec<&'w Value> {
    let ours = watch.events.iter().filter(|event| event["netns"] == netns.inum);
    ours.filter(|event| event["type"] == "transition").collect()
}

/// Asserts that `ours` has both ends of so many connections that the client resets, and their
/// listener, from beginning to end.
fn assert_whole(ours: &[&Value], connections: usize) {
    let mut paths: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for event in ours {
        paths.entry(event["cookie"].as_u64().expect("a cookie")).or_default().push(step(event));
    }
    assert_eq!(paths.len(), connections * 2 + 1);
    // A path has three steps, or four where the reset came after the other end's FIN.
    for path in paths.values() {
        let ends: Vec<_> = path.iter().filter_map(|step| step.split_once('>')).collect();
        assert!(ends.windows(2).all(|two| two[0].1 == two[1].0), "{path:?}");
        assert!(matches!(ends.first(), Some(("CLOSE" | "LISTEN", _))), "{path:?}");
        assert!(matches!(ends.last(), Some((_, "CLOSE"))), "{path:?}");
    }
}

#[test]
fn churn_loses_nothing_with_the_default_buffer() {
    let netns = Netns::new();
    netns.run(|| {
        let connections = usize::from(load(5_000));
        let mut watch = Watch::start(&[]);
        churn(connections);
        // The last of all events: a slow machine may not write so many in the time that an end has.
        watch.until("the listener's end", |events| {
            events
                .last()
                .is_some_and(|last| last["type"] == "transition" && step(last) == "LISTEN>CLOSE")
        });
        watch.stop();
        assert_eq!(lost(&watch.events), 0);
        let ours = transitions(&watch, &netns);
        assert_whole(&ours, connections);
        assert!(ours.iter().all(|event| event["pid"] == std::process::id()), "owners all along");
        let resets = ours.iter().filter(|event| event["reset"] == "sent").count();
        // Where PREEMPT_LAZY is the only choice, a process may be kept from its reset for longer
        // than netmon waits.
        let late = if kernel() < (7, 0) { 0 } else { connections / 100 };
        assert!((connections - late..=connections).contains(&resets), "{resets} of {connections}");
    });
}

/// Connections of TCP Fast Open wait for their handshakes, and the kernel program keeps 8,192 of
/// their beginnings.
#[test]
fn a_beginning_that_was_not_kept_is_a_loss() {
    const FIRST: u16 = 10_000;
    const LAST: u16 = FIRST + 9_000;
    Netns::new().run(|| {
        sh("echo 1543 > /proc/sys/net/ipv4/tcp_fastopen
            echo 20000 > /proc/sys/net/core/somaxconn
            echo 20000 > /proc/sys/net/ipv4/tcp_max_syn_backlog");
        let mut wire = Wire::new();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address: SocketAddr = "10.9.0.1:80".parse().expect("an address");
        listener.bind(&address.into()).expect("bound");
        listener.listen(20_000).expect("listens");
        let mut watch = Watch::start(&[]);
        wire.open_fast(FIRST, 80);
        let isn = wire.take_syn(FIRST);
        for port in FIRST + 1..=LAST {
            wire.open_fast(port, 80);
            wire.take_syn(port);
        }
        wire.complete(FIRST, 80, isn);
        // The last event is looked at, not all: there are some ten thousand. Other losses are those
        // of a busy machine.
        watch.until("the loss", |events| {
            events.last().is_some_and(|last| last["type"] == "lost" && last["reason"] == "storage")
        });
    });
}

#[test]
fn watch_ends_after_a_count() {
    Netns::new().run(|| {
        let mut watch = Watch::everywhere(&["--count", "7"]);
        churn(10);
        let stderr = watch.ended();
        assert_eq!(watch.events.iter().filter(|event| event["type"] == "transition").count(), 7);
        assert!(stderr.contains(" 7 shown"), "{stderr}");
    });
}

#[test]
fn watch_ends_after_a_time() {
    // The time counts from the start, and must not be over before the start is done.
    let time = format!("{}s", slow(Duration::from_secs(1)).as_secs());
    let mut watch = Watch::start(&["--duration", &time]);
    assert!(watch.ended().contains(" transitions seen"));
}

#[test]
fn signals_flush_the_events_that_were_read() {
    for signal in ["-INT", "-TERM"] {
        let netns = Netns::new();
        netns.run(|| {
            let connections = usize::from(load(50));
            let mut watch = Watch::start(&[]);
            churn(connections);
            // At once: the last events are still on their way.
            watch.signal(signal);
            watch.ended();
            let ours = transitions(&watch, &netns);
            assert_whole(&ours, connections);
            assert_eq!(ours.iter().filter(|event| step(event) == "LISTEN>CLOSE").count(), 1);
        });
    }
}

#[test]
fn a_full_pipe_does_not_keep_netmon_from_ending() {
    Netns::new().run(|| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_netmon"))
            .args(["-v", "watch", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("netmon");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr")).lines();
        assert!(stderr.any(|line| line.expect("a line").contains("attached")));
        // Far more than a pipe holds.
        churn(1_000);
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
        let status = child.wait().expect("its end");
        assert_eq!(status.code(), Some(130));
    });
}
