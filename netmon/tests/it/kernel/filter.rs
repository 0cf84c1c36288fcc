//! `netmon watch FILTER`: the kernel decides the filter where it can, and no wanted event is lost.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    process::Command,
};

use serde_json::Value;

use crate::kernel::{
    harness::{Watch, close_in_turn, here, step},
    netns::Netns,
    tier::{is_listeners, sources},
};
use crate::schema::object;

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

/// The pairs of local and remote port of the transitions.
fn ports(watch: &Watch) -> Vec<(u64, u64)> {
    let port = |event: &Value, side: &str| event[side].as_u64().unwrap_or(0);
    let ports = transitions(watch).into_iter();
    ports.map(|event| (port(event, "local_port"), port(event, "remote_port"))).collect()
}

#[test]
fn a_port_is_of_either_end_and_one_of_a_list() {
    Netns::new().run(|| {
        let [one, two, other] = ["127.0.0.1:8451", "127.0.0.1:8452", "127.0.0.1:8453"]
            .map(|address| TcpListener::bind(address).expect("bound"));
        let mut watch = Watch::start(&["port in 8451,8452 and dir = in and host localhost"]);
        for listener in [&other, &one, &two] {
            connect(listener);
        }
        watch.until("the server's ends", |events| {
            events.iter().filter(|event| event["new_state"] == "CLOSE").count() == 2
        });
        watch.stop();
        let local: Vec<_> = ports(&watch).into_iter().map(|(local, _)| local).collect();
        assert_eq!(local, [[8451; 5], [8452; 5]].concat(), "{:#?}", watch.events);
    });
}

#[test]
fn ends_are_selected_by_their_facts() {
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:8454").expect("bound");
        let filter = "host 127.0.0.1 and ( errno = ECONNREFUSED and failed and lifetime < 1m \
                      or bytes > 10K and dir = out and port = 8454 )";
        let mut watch = Watch::start(&[filter]);
        assert!(TcpStream::connect("127.0.0.1:9").is_err());
        connect(&listener);
        let mut client = TcpStream::connect("127.0.0.1:8454").expect("connected");
        let (mut server, _) = listener.accept().expect("accepted");
        let reader = std::thread::spawn(move || {
            std::io::copy(&mut server, &mut std::io::sink()).expect("read");
        });
        client.write_all(&[0; 20_000]).expect("written");
        drop(client);
        reader.join().expect("the end of the stream");
        watch.until("both ends", |events| {
            events.iter().filter(|event| event["type"] == "closed").count() == 2
        });
        watch.stop();
        let steps: Vec<_> = transitions(&watch).into_iter().map(step).collect();
        assert_eq!(steps[0], "SYN_SENT>CLOSE", "{:#?}", watch.events);
        assert_eq!((steps.len(), ports(&watch)[1].1), (2, 8454), "{:#?}", watch.events);
    });
}

#[test]
fn a_listing_measures_what_its_filter_names() {
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:8455").expect("bound");
        let mut client = TcpStream::connect("127.0.0.1:8455").expect("connected");
        let (_server, _) = listener.accept().expect("accepted");
        client.write_all(&[0; 5000]).expect("written");
        for source in sources() {
            let list = |filter: &str| -> Vec<Value> {
                let mut netmon = Command::new(env!("CARGO_BIN_EXE_netmon"));
                let args = here(&["snapshot", "-ta", "--json", "--source", *source, filter]);
                netmon.args(args);
                let output = netmon.output().expect("netmon starts");
                assert!(output.status.success(), "{output:?}");
                let rows = String::from_utf8(output.stdout).expect("UTF-8");
                rows.lines().map(object).collect()
            };
            let client = &list("dport = 8455")[0]["cookie"];
            for filter in [
                "port = 8455 and sent = 5000".to_owned(),
                "bytes > 4K and rtt < 1m and retrans = 0 and dport = 8455".to_owned(),
                format!("cookie = {client}"),
                format!("cookie = sk:{:x}", client.as_u64().expect("a number")),
                ":8455 and not received > 0 and state established and comm ~ .".to_owned(),
            ] {
                let rows = list(&filter);
                assert_eq!(rows.len(), 1, "{source}: {filter}: {rows:#?}");
                assert_eq!(rows[0]["cookie"], *client, "{source}: {filter}");
            }
            assert_eq!(list("port = 8455").len(), 3, "{source}");
            assert_eq!(list("port = 8455 and bytes > 1M").len(), 0, "{source}");
        }
    });
}
