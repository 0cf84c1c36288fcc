//! All network namespaces by default, by name, and `self`: the namespace of netmon, and of a
//! journal's recorder.

use std::{
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::kernel::{
    harness::{Watch, close_in_turn, slow},
    journal::now,
    netns::Netns,
    recording::{Directory, Record, history, objects, run},
    tier::{arguments, sources},
};

const NETMON: &str = env!("CARGO_BIN_EXE_netmon");

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

/// Makes a connection to a listener. Both ends are over then, but for a TIME_WAIT.
fn connect(listener: &TcpListener) {
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    close_in_turn(client, listener.accept().expect("accepted").0);
}

/// The lines of a listing, without headings.
fn listed(args: &[&str]) -> Vec<String> {
    let output = Command::new(NETMON).args(["snapshot", "-tlnH"]).args(args).output();
    let output = output.expect("netmon starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The last word of the line about a port.
fn last_word(lines: &[String], port: u16) -> Option<&str> {
    let line = lines.iter().find(|line| line.contains(&format!(":{port} ")))?;
    line.split_whitespace().last()
}

#[test]
fn a_listing_has_every_namespace_with_its_name() {
    let (own, other) = (Netns::new(), Netns::new());
    own.run(|| {
        let (_here, here) = listener();
        let (_there, there) = other.run(listener);
        let ways = sources().iter().map(|source| vec!["--source", *source]);
        for way in ways.chain([Vec::new(), vec!["--netns", "all"]]) {
            let lines = listed(&way);
            assert_eq!(last_word(&lines, here), Some("self"), "{way:?}: {lines:#?}");
            assert_eq!(last_word(&lines, there), Some(other.name()), "{way:?}: {lines:#?}");
            for only in [&["--netns", "self"][..], &["netns = self"], &["netns in self"]] {
                let lines = listed(&[&way, only].concat());
                // Without other namespaces there is nothing to tell apart.
                assert_eq!(lines.len(), 1, "{way:?} {only:?}: {lines:#?}");
                assert_eq!(last_word(&lines, here), Some("LISTEN"), "{way:?} {only:?}");
            }
            let others = listed(&[&way, &["netns != self"][..]].concat());
            assert_eq!(last_word(&others, here), None, "{way:?}: {others:#?}");
            assert_eq!(last_word(&others, there), Some(other.name()), "{way:?}: {others:#?}");
        }
    });
    // In the other namespace it is the other way round.
    other.run(|| {
        let (_here, here) = own.run(listener);
        let (_there, there) = listener();
        let lines = listed(&[]);
        assert_eq!(last_word(&lines, here), Some(own.name()), "{lines:#?}");
        assert_eq!(last_word(&lines, there), Some("self"), "{lines:#?}");
    });
}

#[test]
fn a_watch_of_self_has_no_other_namespace() {
    let (own, other) = (Netns::new(), Netns::new());
    own.run(|| {
        let ((here, port), (there, _)) = (listener(), other.run(listener));
        let mut watch = Watch::everywhere(&["--initial", "netns = self"]);
        other.run(|| (0..30).for_each(|_| connect(&there)));
        connect(&here);
        watch.until("the connection", |events| {
            let is_end = |event: &&Value| event["type"] == "closed" && event["local_port"] == port;
            events.iter().any(|event| is_end(&event))
        });
        let stderr = watch.stop();
        let rows = watch.events.iter().filter(|event| event["netns"].is_number());
        let rows: Vec<_> = rows.collect();
        assert!(rows.len() > 10, "{rows:#?}");
        assert!(rows.iter().all(|row| row["netns"] == own.inum), "{rows:#?}");
        // The kernel program leaves the others out: ten transitions for each connection.
        let seen = stderr.lines().find_map(|line| {
            line.strip_prefix("netmon: ")?.split_once(" transitions seen")?.0.parse::<u64>().ok()
        });
        assert!(seen.is_some_and(|seen| seen < 100), "{stderr}");
    });
}

#[test]
fn lines_of_other_namespaces_have_their_names() {
    let (own, other) = (Netns::new(), Netns::new());
    own.run(|| {
        let (here, there) = (listener().0, other.run(|| listener().0));
        let filter = format!("netns in self,{} and state time-wait", other.name());
        let mut watch = Command::new(NETMON);
        watch.args(["watch", "-n", "--count", "2"]).args(arguments()).arg(filter);
        let watch = thread::scope(|scope| {
            let watch = scope.spawn(|| watch.output().expect("netmon starts"));
            while !watch.is_finished() {
                connect(&here);
                other.run(|| connect(&there));
                thread::sleep(slow(Duration::from_millis(100)));
            }
            watch.join().expect("its output")
        });
        let lines = String::from_utf8_lossy(&watch.stdout).into_owned();
        let named = format!("netns={}", other.name());
        let ends: Vec<_> = lines.lines().filter(|line| line.contains("closed-locally")).collect();
        assert_eq!(ends.len(), 2, "{lines}");
        let is_named = |line: &&&str| line.ends_with(&named);
        let is_own = |line: &&&str| !line.contains("netns=");
        assert!(ends.iter().all(|line| is_named(&line) || is_own(&line)), "{lines}");
        assert!(ends.iter().any(|line| is_named(&line)), "{lines}");
    });
}

#[test]
fn self_in_a_journal_is_the_namespace_of_the_recorder() {
    let directory = Directory::new();
    let (own, other) = (Netns::new(), Netns::new());
    let ((here, port), (there, _)) = (own.run(listener), other.run(listener));
    let at = own.run(|| {
        let record = Record::start(&directory.0);
        own.run(|| connect(&here));
        other.run(|| connect(&there));
        thread::sleep(slow(Duration::from_millis(700)));
        let at = now();
        // The first segment becomes Parquet, the other is a stream.
        record.signal("HUP");
        own.run(|| connect(&here));
        other.run(|| connect(&there));
        thread::sleep(slow(Duration::from_millis(700)));
        record.stop();
        at
    });
    let of = |rows: &[Value], inum: u64| rows.iter().filter(|row| row["netns"] == inum).count();
    // Readers in other namespaces have the same answers.
    for reader in [&own, &other] {
        let check = |args: &[&str]| {
            let rows = objects(args, &directory.0);
            assert!(of(&rows, own.inum) > 0, "{args:?}: {rows:#?}");
            assert_eq!(of(&rows, other.inum), 0, "{args:?}: {rows:#?}");
        };
        reader.run(|| {
            check(&["history", "--json", "netns = self", "--journal"]);
            check(&["watch", "--json", "--from", "1h ago", "netns = self", "--journal"]);
            check(&["snapshot", "--json", "--at", &at, "netns = self", "--journal"]);
            check(&["snapshot", "--json", "--at", &at, "--netns", "self", "--journal"]);
            let all = history(&directory.0, "");
            assert!(of(&all, own.inum) > 0 && of(&all, other.inum) > 0, "{all:#?}");
            let output = run(&["snapshot", "--at", &at, "-tlnH", "--journal"], &directory.0);
            let lines: Vec<_> =
                String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
            assert_eq!(last_word(&lines, port), Some("self"), "{lines:#?}");
            assert!(lines.iter().any(|line| line.ends_with(other.name())), "{lines:#?}");
            let output = run(&["history", "-n", "--no-pager", "--journal"], &directory.0);
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(lines.contains(&format!("netns={}", other.name())), "{lines}");
            assert!(!lines.contains(&format!("netns={}", own.name())), "{lines}");
        });
    }
}
