//! The past, as a journal has it, after damage to the journal and for every reader.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::kernel::{
    harness::{patience, slow},
    journal::{listed, now, ss},
    netns::Netns,
    recording::{Directory, Record, history, objects, pair, run, settle},
    tier::{Tier, tier},
};

/// A recorder that starts again knows the process that opened a connection that is still there, and
/// reports a connection that has ended meanwhile.
#[test]
fn a_recorder_that_starts_again_remembers() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let record = Record::start(&directory.0);
        let (stays, goes) = (pair(&listener), pair(&listener));
        let port = |stream: &TcpStream| stream.local_addr().expect("bound").port();
        let (stays_at, goes_at) = (port(&stays.0), port(&goes.0));
        thread::sleep(Duration::from_millis(400));
        record.stop();
        let filter = |port: u16| format!("sport = {port} and netns = {}", netns.inum);
        let before = history(&directory.0, &filter(stays_at));
        drop(goes);
        let mut record = Record::start(&directory.0);
        record.until("compared with the kernel's tables");
        thread::sleep(slow(Duration::from_millis(700)));
        record.stop();
        let [was] = &before[..] else { panic!("{before:#?}") };
        let after = history(&directory.0, &filter(stays_at));
        if tier() == Tier::Basic {
            // Without cookies, nothing proves that the connection is that of before.
            let [was, is] = &after[..] else { panic!("{after:#?}") };
            assert_eq!((&was["verdict"], &is["type"]), (&"vanished".into(), &"connection".into()));
        } else {
            let [is] = &after[..] else { panic!("{after:#?}") };
            for field in ["cookie", "opened", "direction", "pid", "comm", "owner_evidence"] {
                assert_eq!(was[field], is[field], "{field} of {after:#?}");
            }
            assert_eq!(is["owner_evidence"], "connect");
        }
        let ended = history(&directory.0, &filter(goes_at));
        let [ended] = &ended[..] else { panic!("{ended:#?}") };
        assert_eq!((&ended["type"], &ended["inferred"]), (&"closed".into(), &true.into()));
        assert_eq!(ended["owner_evidence"], "connect");
        drop(stays);
    });
}

/// Connections between attaching and the first dump are in the journal, and `history` shows them
/// with and without a time to begin at.
#[test]
fn the_journal_begins_with_its_first_event() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let to = listener.local_addr().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let churn = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                drop((TcpStream::connect(to), listener.accept()));
                thread::sleep(Duration::from_millis(1));
            }
        });
        let record = Record::with(&["--duration", "1s"], &directory.0);
        record.ended();
        stop.store(true, Ordering::Relaxed);
        churn.join().expect("it ends");
    });
    let filter = format!("netns = {}", netns.inum);
    let all = history(&directory.0, &filter);
    let since =
        objects(&["history", "--json", "--from", "1h ago", &filter, "--journal"], &directory.0);
    let count = |rows: &[Value]| rows.iter().filter(|row| row["type"] == "closed").count();
    assert!(count(&all) > 100, "{}", count(&all));
    assert_eq!(count(&all), count(&since));
}

/// Gaps are rows of every command: the gap of a killed recorder, the gap of a removed segment.
#[test]
fn every_gap_is_named() {
    let directory = Directory::new();
    let netns = Netns::new();
    let port = netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let refuse = || drop(TcpStream::connect("127.0.0.1:9").expect_err("no listener"));
        let segment = |record: &Record| {
            let files = || directory.dataset_files("events", ".parquet").len();
            let before = files();
            refuse();
            thread::sleep(slow(Duration::from_millis(400)));
            record.signal("HUP");
            let end = Instant::now() + patience();
            while files() == before {
                assert!(Instant::now() < end, "no segment in time");
                thread::sleep(Duration::from_millis(20));
            }
        };
        let record = Record::start(&directory.0);
        refuse();
        thread::sleep(slow(Duration::from_millis(1500)));
        record.kill();
        let record = Record::start(&directory.0);
        let end = Instant::now() + patience();
        // The segment of the recorder that was killed.
        while directory.dataset_files("events", ".parquet").is_empty() {
            assert!(Instant::now() < end, "no segment in time");
            thread::sleep(Duration::from_millis(20));
        }
        segment(&record);
        // The connection is open when the segment begins that will be missing, and ends within it.
        let open = pair(&listener);
        let port = open.0.local_addr().expect("bound").port();
        segment(&record);
        drop(open);
        segment(&record);
        segment(&record);
        record.stop();
        port
    });
    settle(&directory);
    let gaps = |command: &str| {
        let mut rows = objects(&[command, "--json", "--journal"], &directory.0);
        rows.retain(|row| row["type"] == "lost");
        let words = rows.iter().map(|row| row["reason"].as_str().expect("a reason").to_owned());
        words.collect::<Vec<_>>()
    };
    let before = gaps("history");
    assert!(before.iter().all(|reason| reason == "not_recorded"), "{before:?}");
    let events = directory.dataset_files("events", ".parquet");
    let removed = &events[3];
    let name = removed.file_name().expect("a name").to_owned();
    for file in directory.files().iter().filter(|file| file.file_name() == Some(&name)) {
        fs::remove_file(file).expect("removed");
    }
    for command in ["history", "watch"] {
        let after = gaps(command);
        let missing = after.iter().filter(|reason| *reason == "missing").count();
        assert_eq!((after.len(), missing), (before.len() + 1, 1), "{command}: {after:?}");
    }
    // A connection that was open before the gap, and is not there after the gap, ended within it.
    let both = format!("( sport = {port} or dport = {port} ) and netns = {}", netns.inum);
    let mut ended = history(&directory.0, &both);
    ended.retain(|row| row["type"] == "closed" && row["inferred"] == true);
    assert_eq!(ended.len(), 2, "both ends: {ended:#?}");
    let check = run(&["journal", "check", "--journal"], &directory.0);
    let stdout = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("is missing"), "{stdout}");
    // A snapshot at a moment within the gap reports the gap as well.
    let at = removed.file_stem().expect("a name").to_string_lossy().into_owned();
    let snapshot = run(&["snapshot", "-tan", "--utc", "--at", &at, "--journal"], &directory.0);
    let stderr = String::from_utf8_lossy(&snapshot.stderr);
    assert!(stderr.contains("a part of the journal is missing there"), "at {at}: {stderr}");
}

/// A recorder notices that its journal was removed, and makes the journal again.
#[test]
fn a_removed_journal_is_noticed() {
    let directory = Directory::new();
    let journal = directory.0.join("journal");
    let mut record = Record::start(&journal);
    thread::sleep(Duration::from_millis(500));
    fs::remove_dir_all(&journal).expect("removed");
    record.until("the journal was removed or replaced");
    record.until("the journal is whole again");
    TcpStream::connect("127.0.0.1:9").expect_err("no listener");
    thread::sleep(slow(Duration::from_millis(700)));
    record.signal("TERM");
    let stderr = record.ended_with(1);
    assert!(stderr.contains("is made anew"), "{stderr}");
    let lost = objects(&["history", "--json", "--journal"], &journal);
    assert!(lost.iter().any(|row| row["reason"] == "unwritten"), "{lost:#?}");
    // Another directory in its place is another journal.
    let other = directory.0.join("other");
    let mut record = Record::start(&journal);
    thread::sleep(Duration::from_millis(500));
    fs::rename(&journal, &other).expect("moved");
    fs::create_dir(&journal).expect("a directory");
    record.until("the journal was removed or replaced");
    record.until("the journal is whole again");
    record.signal("TERM");
    record.ended_with(1);
    assert!(!history(&other, "").is_empty());
}

/// Links that other users plant lead nowhere.
#[test]
fn a_planted_link_is_not_followed() {
    let directory = Directory::new();
    let outside = directory.0.join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("passwd"), "theirs").expect("written");
    for planted in ["_live", "events", "connections"] {
        let journal = directory.0.join(format!("journal-{planted}"));
        fs::create_dir(&journal).expect("a directory");
        std::os::unix::fs::symlink(&outside, journal.join(planted)).expect("a link");
        let output = run(&["record", "--duration", "1s", "--journal"], &journal);
        let stderr = String::from_utf8_lossy(&output.stderr);
        // Without a place for live segments nothing is recorded. Otherwise live segments stay as
        // they are.
        assert_eq!(output.status.success(), planted != "_live", "{planted}: {stderr}");
    }
    let journal = directory.0.join("journal-lock");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let live = journal.join(format!("_live/host={host}"));
    fs::create_dir_all(&live).expect("directories");
    std::os::unix::fs::symlink(outside.join("passwd"), live.join("lock")).expect("a link");
    let output = run(&["record", "--duration", "1s", "--journal"], &journal);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read_dir(&outside).expect("names").count(), 1);
    assert_eq!(fs::read(outside.join("passwd")).expect("read"), b"theirs");
}

/// Readers in every namespace get the same bytes: names, namespaces and users are those at the time
/// of the recording.
#[test]
fn a_journal_reads_the_same_in_another_network_namespace() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let record = Record::start(&directory.0);
        let open = pair(&listener);
        TcpStream::connect("127.0.0.1:9").expect_err("no listener");
        thread::sleep(slow(Duration::from_millis(700)));
        record.stop();
        drop(open);
    });
    let listed = history(&directory.0, "");
    let at = listed.last().expect("a row")["time"].as_str().expect("a time").to_owned();
    let name = netns.name();
    let commands: [&[&str]; 4] = [
        &["history", "-n", "--utc"],
        &["watch", "-n", "--utc", "--from", "1d ago"],
        &["snapshot", "-tape", "--utc", "--at", &at],
        &["history", "--json", &format!("netns = {name}")],
    ];
    for command in commands {
        let read = || {
            let output = run(&[command, &["--journal"]].concat(), &directory.0);
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        let here = read();
        let elsewhere = Netns::new().run(read);
        assert_eq!(here, elsewhere, "{command:?}");
        assert!(here.len() > 200, "{command:?}: {}", String::from_utf8_lossy(&here));
    }
}

/// Every second of six namespaces equals the list of `ss` at that time.
#[test]
fn each_of_six_namespaces_equals_the_list_of_ss() {
    const SECONDS: usize = 4;
    let directory = Directory::new();
    let namespaces: Vec<Netns> = (0..6).map(|_| Netns::new()).collect();
    let record = Record::start(&directory.0);
    let mut held = Vec::new();
    let mut moments = Vec::new();
    for second in 0..SECONDS {
        for (number, netns) in namespaces.iter().enumerate() {
            // More of everything each second, different in each namespace.
            let more = netns.run(|| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
                let mut open: Vec<_> = (0..=number).map(|_| pair(&listener)).collect();
                drop(open.pop());
                for _ in 0..second {
                    drop(pair(&listener));
                }
                (listener, open)
            });
            held.push(more);
        }
        if second == 1 {
            record.signal("HUP");
        }
        // Earlier changes are well behind the moment, and nothing happens around it.
        thread::sleep(slow(Duration::from_millis(400)));
        let at = now();
        let rows: Vec<_> = namespaces.iter().map(|netns| netns.run(ss)).collect();
        moments.push((at, rows));
        thread::sleep(slow(Duration::from_millis(400)));
    }
    let stderr = record.stop();
    assert!(stderr.contains(", 0 events lost"), "{stderr}");
    for (at, rows) in &moments {
        for (netns, rows) in namespaces.iter().zip(rows) {
            let by_number = listed(&directory.0, at, &netns.inum.to_string());
            assert_eq!(&by_number, rows, "{} at {at}", netns.name());
            // The name of the namespace at that time does as well.
            assert_eq!(&listed(&directory.0, at, netns.name()), rows);
        }
    }
    drop(held);
}
