//! `netmon record`, and the contents of its journal.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::kernel::{
    harness::{load, patience, slow},
    netns::{Netns, sh},
    recording::{Directory, Record, history, objects, pair, run, settle},
};

pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// The sockets that `ss` lists in this namespace: state and both ends.
pub(crate) fn ss() -> BTreeSet<String> {
    let output = Command::new("ss").args(["-tanH"]).output().expect("ss");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let state = match words[0] {
            "ESTAB" => "ESTABLISHED",
            "FIN-WAIT-2" => "FIN_WAIT2",
            other => &other.replace('-', "_"),
        };
        format!("{state} {} {}", words[3], words[4])
    };
    text.lines().map(row).collect()
}

pub(crate) fn listed(journal: &Path, at: &str, netns: &str) -> BTreeSet<String> {
    let args = ["snapshot", "--at", at, "-tan", "--json", "--netns", netns, "--journal"];
    let row = |row: &Value| {
        let end = |side: &str| {
            let address = row[format!("{side}_addr")].as_str().expect("an address");
            let port = row[format!("{side}_port")].as_u64();
            let port = port.map_or_else(|| "*".to_owned(), |port| port.to_string());
            if address.contains(':') {
                format!("[{address}]:{port}")
            } else {
                format!("{address}:{port}")
            }
        };
        format!("{} {} {}", row["state"].as_str().expect("a state"), end("local"), end("remote"))
    };
    objects(&args, journal).iter().map(row).collect()
}

#[test]
fn a_moment_in_the_past_equals_the_list_of_ss() {
    let directory = Directory::new();
    let netns = Netns::new();
    let moments = netns.run(|| {
        let old = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let older = pair(&old);
        let mut moments = Vec::new();
        let record = Record::start(&directory.0);
        let mut note = || {
            // Earlier changes are well behind the moment, and nothing happens around it.
            thread::sleep(Duration::from_millis(150));
            let (at, rows) = (now(), ss());
            thread::sleep(Duration::from_millis(150));
            assert_eq!(rows, ss(), "the sockets keep still");
            moments.push((at, rows));
        };
        note();
        let listener = TcpListener::bind("[::1]:0").expect("a listener");
        let mut open: Vec<_> = (0..5).map(|_| pair(&listener)).collect();
        note();
        // A connection in CLOSE_WAIT and FIN_WAIT2, one that is reset, one in TIME_WAIT.
        let (client, server) = open.remove(0);
        client.shutdown(std::net::Shutdown::Write).expect("shut down");
        let (reset, _peer) = open.remove(0);
        let linger = socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO));
        linger.expect("SO_LINGER");
        drop(reset);
        drop(open.remove(0));
        note();
        record.signal("HUP");
        drop(older);
        note();
        drop((client, server, open, listener));
        note();
        let stderr = record.stop();
        assert!(stderr.contains(", 0 events lost"), "{stderr}");
        moments
    });
    let inum = netns.inum.to_string();
    for (at, rows) in &moments {
        assert_eq!(&listed(&directory.0, at, &inum), rows, "at {at}");
    }
    assert!(moments[2].1.iter().any(|row| row.starts_with("TIME_WAIT")), "{:?}", moments[2]);
    // SIGHUP began a second segment, and every segment has become Parquet.
    let more = settle(&directory);
    assert_eq!(directory.dataset_files("events", ".parquet").len(), 2 + more);
    // Only the owner and the group of the journal may read its files.
    for file in directory.files() {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        // A process that may open the lock may lock it.
        let expected = if file.ends_with("lock") { 0o600 } else { 0o640 };
        assert_eq!(mode & 0o777, expected, "{} has {mode:o}", file.display());
    }
    // The error about a time outside the journal names the time that the journal covers.
    let output = run(&["snapshot", "--at", "2020-01-01", "--journal"], &directory.0);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("is before the journal, which begins at "), "{stderr}");
}

#[test]
fn a_killed_recorder_loses_a_second_at_most() {
    let kills = u64::from(load(20));
    // A second, or longer on a slower machine.
    let second = slow(Duration::from_secs(1)).min(Duration::from_secs(4));
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut closed = Vec::new();
        for kill in 0..kills {
            let record = Record::start(&directory.0);
            // The recorder lives for a different time each time, as if at random.
            let life = second + Duration::from_millis(50 + kill * 397 % 900);
            let end = Instant::now() + life;
            let mut made = Vec::new();
            while Instant::now() < end {
                let (client, server) = pair(&listener);
                let port = client.local_addr().expect("bound").port();
                drop((client, server));
                made.push((Instant::now(), port));
                thread::sleep(Duration::from_millis(5));
            }
            // Taken before the kill, because the kernel needs time to clear up after the process.
            let killed = Instant::now();
            record.kill();
            let before = |(time, _): &&(Instant, u16)| killed - *time > second;
            closed.extend(made.iter().filter(before).map(|(_, port)| *port));
            let seen = history(
                &directory.0,
                &format!("netns = {} and dport = {}", netns.inum, port_of(&listener)),
            );
            let seen: BTreeSet<u64> =
                seen.iter().map(|row| row["local_port"].as_u64().expect("a port")).collect();
            let missing: Vec<_> =
                closed.iter().filter(|port| !seen.contains(&u64::from(**port))).collect();
            assert!(missing.is_empty(), "after kill {kill}: {missing:?} of {}", closed.len());
        }
        // A machine that is busy for a while makes few connections.
        assert!(closed.len() as u64 > 2 * kills, "{}", closed.len());
    });
    // The next recorder takes over the segments of the last one, and reports the missing time.
    let stderr = Record::start(&directory.0).stop();
    assert!(stderr.contains("was not ended in order"), "{stderr}");
    let more = settle(&directory) as u64;
    let gaps = objects(&["watch", "--json", "--journal"], &directory.0);
    let gaps = gaps.iter().filter(|row| row["reason"] == "not_recorded").count();
    assert_eq!(gaps as u64, kills + more, "one for each time without a recorder");
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("bound").port()
}

#[test]
fn a_full_disk_is_survived_and_admitted() {
    let directory = Directory::new();
    let path = directory.0.display().to_string();
    sh(&format!("mount -t tmpfs -o size=64m tmpfs {path}"));
    let _mount = Mount(&directory.0);
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        // The recorder writes the other tests' connections too. 400 kB are left at first;
        // then there is room for whatever they open until the end.
        let filler = directory.0.join("filler");
        fs::write(&filler, vec![1; (64 << 20) - 400_000]).expect("room");
        let mut record = Record::start(&directory.0);
        for _ in 0..3_000 {
            drop(pair(&listener));
        }
        record.until("the journal cannot be written");
        fs::remove_file(&filler).expect("removed");
        record.until("the journal is whole again");
        let after = pair(&listener);
        let port = after.0.local_addr().expect("bound").port();
        drop(after);
        record.signal("TERM");
        let stderr = record.ended_with(1);
        assert!(stderr.contains("events could not be written"), "{stderr}");
        assert!(!stderr.contains(" 0 events lost"), "{stderr}");
        let filter = format!("sport = {port} and netns = {}", netns.inum);
        let found = history(&directory.0, &filter);
        let ended = found.iter().filter(|row| row["type"] == "closed").count();
        assert_eq!(ended, 1, "{found:?}");
        let events = objects(&["watch", "--json", "--journal"], &directory.0);
        let lost: Vec<_> = events.iter().filter(|row| row["reason"] == "unwritten").collect();
        assert!(lost.iter().any(|row| row["lost"].as_u64() > Some(0)), "{lost:?}");
    });
}

/// The mount on a directory, unmounted on drop.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_read_only_journal_is_read_and_not_written() {
    let directory = Directory::new();
    let netns = Netns::new();
    let moment = netns.run(|| {
        let record = Record::start(&directory.0);
        TcpStream::connect("127.0.0.1:9").expect_err("no listener");
        let moment = now();
        record.stop();
        moment
    });
    let path = directory.0.display();
    sh(&format!("mount --bind {path} {path}"));
    let _mount = Mount(&directory.0);
    sh(&format!("mount -o remount,bind,ro {path}"));
    let filter = format!("verdict = refused and netns = {}", netns.inum);
    assert_eq!(history(&directory.0, &filter).len(), 1);
    let snapshot = run(&["snapshot", "--at", &moment, "--journal"], &directory.0);
    assert!(snapshot.status.success(), "{snapshot:?}");
    let record = run(&["record", "--journal"], &directory.0);
    let stderr = String::from_utf8_lossy(&record.stderr);
    assert_eq!(record.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("{path}")) && stderr.contains("Read-only"), "{stderr}");
}

#[test]
fn a_journal_is_read_while_one_recorder_writes_it() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let record = Record::start(&directory.0);
        let second = run(&["record", "--journal"], &directory.0);
        let stderr = String::from_utf8_lossy(&second.stderr);
        assert_eq!(second.status.code(), Some(1));
        assert!(stderr.contains("another netmon records into"), "{stderr}");

        let refused = "127.0.0.1:9";
        for count in 1..=5 {
            TcpStream::connect(refused).expect_err("no listener");
            let filter = format!("verdict = refused and netns = {}", netns.inum);
            let end = Instant::now() + slow(Duration::from_secs(2));
            let mut seen = 0;
            while seen < count && Instant::now() < end {
                seen = history(&directory.0, &filter).len();
            }
            assert_eq!(seen, count);
        }
        record.stop();
    });
}

#[test]
fn damaged_and_foreign_files_are_named_and_left_out() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        for _ in 0..3 {
            let record = Record::start(&directory.0);
            TcpStream::connect("127.0.0.1:9").expect_err("no listener");
            thread::sleep(Duration::from_millis(400));
            record.stop();
        }
    });
    let filter = format!("verdict = refused and netns = {}", netns.inum);
    assert_eq!(history(&directory.0, &filter).len(), 3);
    let files = directory.dataset_files("connections", ".parquet");
    let [truncated, corrupt, whole] = &files[..] else { panic!("{files:?}") };
    let bytes = fs::read(truncated).expect("read");
    fs::write(truncated, &bytes[..bytes.len() / 2]).expect("written");
    let mut bytes = fs::read(corrupt).expect("read");
    let middle = bytes.len() / 2;
    // All the data, in front of the metadata that locates the data. A smaller part might be read as
    // something else.
    bytes[4..middle].fill(0xff);
    fs::write(corrupt, &bytes).expect("written");
    // Neither file is of the journal: one lies in another day's directory, and the name of the
    // other is not that of a segment.
    let foreign = whole.with_file_name("20200101T000000.000000Z.parquet");
    fs::write(&foreign, b"PAR1 this is none").expect("written");
    fs::write(whole.with_file_name("notes.parquet"), b"PAR1 this is none").expect("written");
    let output = run(&["history", "--json", &filter, "--journal"], &directory.0);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let closed = text.lines().filter(|line| line.contains(r#""type":"closed""#)).count();
    assert_eq!(closed, 1, "{text}{stderr}");
    for file in [truncated, corrupt] {
        assert!(stderr.contains(&file.display().to_string()), "{stderr}");
    }

    let nothing = run(&["history", "--journal"], &directory.0.join("nowhere"));
    let stderr = String::from_utf8_lossy(&nothing.stderr);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(stderr.contains("`netmon record` makes a journal"), "{stderr}");
}

#[test]
fn unrecorded_time_is_reported_and_the_oldest_segments_go() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let record = Record::start(&directory.0);
        thread::sleep(Duration::from_millis(300));
        record.stop();
        thread::sleep(Duration::from_millis(200));
        let unrecorded = now();
        thread::sleep(Duration::from_millis(200));
        let record = Record::start(&directory.0);
        thread::sleep(Duration::from_millis(300));
        record.stop();
        let inum = netns.inum.to_string();
        let args = ["snapshot", "--at", &unrecorded, "-tan", "--netns", &inum, "--journal"];
        let output = run(&args, &directory.0);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("nothing was recorded then"), "{stderr}");
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(listed.contains(&listener.local_addr().expect("bound").to_string()), "{listed}");

        // A segment has at least three files of a page each: the smallest size holds five segments.
        let before = directory.dataset_files("events", ".parquet");
        let record = Record::with(&["--max-size", "64K"], &directory.0);
        for _ in 0..8 {
            drop(pair(&listener));
            thread::sleep(Duration::from_millis(400));
            let live = || directory.dataset_files("events", ".arrows").pop();
            let last = live();
            record.signal("HUP");
            let end = Instant::now() + patience();
            while live() == last && Instant::now() < end {
                thread::sleep(Duration::from_millis(20));
            }
        }
        drop(pair(&listener));
        thread::sleep(Duration::from_millis(400));
        record.stop();
        let more = settle(&directory);
        let after = directory.dataset_files("events", ".parquet");
        assert!(before.iter().all(|old| !after.contains(old)), "{before:?} {after:?}");
        assert!((1..8).contains(&(after.len() - more)), "{after:?}");
        assert!(!history(&directory.0, &format!("netns = {inum}")).is_empty());
    });
}
