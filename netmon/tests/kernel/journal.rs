//! `netmon record`, and what its journal says afterwards.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::retry_on_intr,
    net::{RecvFlags, recv},
};
use serde_json::Value;

use crate::{
    harness::{load, patience, slow},
    netns::{Netns, sh},
    recording::{Directory, Record, history, netmon, objects, pair, run, settle},
};

/// How often two signals of each kind are sent at once: a wrong end shows in some runs only.
const ROUNDS: usize = 10;

pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// What `ss` lists here: state and both ends.
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
fn a_moment_in_the_past_is_what_ss_saw() {
    let directory = Directory::new();
    let netns = Netns::new();
    let moments = netns.run(|| {
        let old = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let older = pair(&old);
        let mut moments = Vec::new();
        let record = Record::start(&directory.0);
        let mut note = || {
            // What has just happened is behind the moment, and nothing happens around it.
            thread::sleep(Duration::from_millis(150));
            let (at, rows) = (now(), ss());
            thread::sleep(Duration::from_millis(150));
            assert_eq!(rows, ss(), "the scene keeps still");
            moments.push((at, rows));
        };
        note();
        let listener = TcpListener::bind("[::1]:0").expect("a listener");
        let mut open: Vec<_> = (0..5).map(|_| pair(&listener)).collect();
        note();
        // One in CLOSE_WAIT and FIN_WAIT2, one that is reset, one in TIME_WAIT.
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
        let said = record.stop();
        assert!(said.contains(", 0 events lost"), "{said}");
        moments
    });
    let inum = netns.inum.to_string();
    for (at, rows) in &moments {
        assert_eq!(&listed(&directory.0, at, &inum), rows, "at {at}");
    }
    assert!(moments[2].1.iter().any(|row| row.starts_with("TIME_WAIT")), "{:?}", moments[2]);
    // SIGHUP began a second segment; nothing is left as it was written.
    let more = settle(&directory);
    assert_eq!(directory.of("events", ".parquet").len(), 2 + more);
    // Only its owner and group may read it.
    for file in directory.files() {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        // Whoever may open the lock may lock it.
        let expected = if file.ends_with("lock") { 0o600 } else { 0o640 };
        assert_eq!(mode & 0o777, expected, "{} has {mode:o}", file.display());
    }
    // What the journal does not cover is said with what it does.
    let output = run(&["snapshot", "--at", "2020-01-01", "--journal"], &directory.0);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("the journal does not cover that: it goes from "), "{said}");
}

#[test]
fn a_killed_recorder_loses_a_second_at_most() {
    let kills = u64::from(load(20));
    // What a second is on a slower machine.
    let second = slow(Duration::from_secs(1)).min(Duration::from_secs(4));
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut closed = Vec::new();
        for kill in 0..kills {
            let record = Record::start(&directory.0);
            // As if at random, and different each time.
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
            // The kernel takes its time to clear up after it.
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
        assert!(closed.len() > usize::from(load(200)), "{}", closed.len());
    });
    // The next one takes over what the last left, and says what is missing.
    let said = Record::start(&directory.0).stop();
    assert!(said.contains("was not ended in order"), "{said}");
    let more = settle(&directory) as u64;
    let gaps = objects(&["watch", "--json", "--journal"], &directory.0);
    let gaps = gaps.iter().filter(|row| row["reason"] == "not_recorded").count();
    assert_eq!(gaps as u64, kills + more, "one for each time that nobody recorded");
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("bound").port()
}

#[test]
fn a_full_disk_is_survived_and_admitted() {
    let directory = Directory::new();
    let path = directory.0.display().to_string();
    sh(&format!("mount -t tmpfs -o size=1500k tmpfs {path}"));
    let _mount = Mount(&directory.0);
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let filler = directory.0.join("filler");
        fs::write(&filler, vec![1; 1_200_000]).expect("room");
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
        let said = record.ended_with(1);
        assert!(said.contains("events could not be written"), "{said}");
        assert!(!said.contains(" 0 events lost"), "{said}");
        let filter = format!("sport = {port} and netns = {}", netns.inum);
        let found = history(&directory.0, &filter);
        let ended = found.iter().filter(|row| row["type"] == "closed").count();
        assert_eq!(ended, 1, "{found:?}");
        let events = objects(&["watch", "--json", "--journal"], &directory.0);
        let lost: Vec<_> = events.iter().filter(|row| row["reason"] == "unwritten").collect();
        assert!(lost.iter().any(|row| row["count"].as_u64() > Some(0)), "{lost:?}");
    });
}

/// What is mounted on a directory goes with this.
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
        TcpStream::connect("127.0.0.1:9").expect_err("nobody listens");
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
    let said = String::from_utf8_lossy(&record.stderr);
    assert_eq!(record.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{path}")) && said.contains("Read-only"), "{said}");
}

#[test]
fn a_service_manager_is_told() {
    let directory = Directory::new();
    let path = directory.0.join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(patience())).expect("a timeout");
    let said = || {
        let mut news = [0; 200];
        let receive = || recv(&manager, news.as_mut_slice(), RecvFlags::empty());
        let (length, _) = retry_on_intr(receive).expect("news");
        String::from_utf8_lossy(&news[..length]).trim().to_owned()
    };
    let mut record = netmon(&["record", "--journal"], &directory.0)
        .env("NOTIFY_SOCKET", &path)
        .stderr(Stdio::null())
        .spawn()
        .expect("netmon starts");
    assert_eq!(said(), "READY=1");
    // One that is done has two files for a moment.
    let segments = || {
        let files = directory.of("events", "");
        files.iter().filter_map(|path| path.file_stem()).collect::<BTreeSet<_>>().len()
    };
    let until = |count| {
        let end = Instant::now() + patience();
        while segments() < count && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(segments(), count);
    };
    until(1);
    sh(&format!("kill -HUP {}", record.id()));
    until(2);
    sh(&format!("kill -TERM {}", record.id()));
    let mut last = said();
    while last.starts_with("STATUS=") {
        last = said();
    }
    assert_eq!(last, "STOPPING=1");
    assert!(record.wait().expect("it ends").success());
    let more = settle(&directory);
    assert_eq!(directory.of("events", ".parquet").len(), 2 + more);
}

/// As timeout(1) does: it signals its child, and then its group.
#[test]
fn two_signals_at_once_are_one() {
    let directory = Directory::new();
    // Two of the same kind may be one to the kernel already; two kinds are always two.
    for signals in [["TERM", "TERM"], ["TERM", "INT"]].repeat(ROUNDS) {
        let record = Record::start(&directory.0);
        let id = record.id();
        sh(&signals.map(|signal| format!("kill -{signal} {id}")).join("; "));
        let said = record.ended();
        assert!(said.contains("events recorded"), "{signals:?}: {said}");
    }
}

#[test]
fn it_is_read_while_it_is_written_and_written_by_one() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let record = Record::start(&directory.0);
        let second = run(&["record", "--journal"], &directory.0);
        let said = String::from_utf8_lossy(&second.stderr);
        assert_eq!(second.status.code(), Some(1));
        assert!(said.contains("another netmon records into"), "{said}");

        let refused = "127.0.0.1:9";
        for count in 1..=5 {
            TcpStream::connect(refused).expect_err("nobody listens");
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
fn what_is_no_journal_is_named_and_left_out() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        for _ in 0..3 {
            let record = Record::start(&directory.0);
            TcpStream::connect("127.0.0.1:9").expect_err("nobody listens");
            thread::sleep(Duration::from_millis(400));
            record.stop();
        }
    });
    let filter = format!("verdict = refused and netns = {}", netns.inum);
    assert_eq!(history(&directory.0, &filter).len(), 3);
    let files = directory.of("connections", ".parquet");
    let [truncated, corrupt, whole] = &files[..] else { panic!("{files:?}") };
    let bytes = fs::read(truncated).expect("read");
    fs::write(truncated, &bytes[..bytes.len() / 2]).expect("written");
    let mut bytes = fs::read(corrupt).expect("read");
    let middle = bytes.len() / 2;
    // All the data, in front of what says where it is; less of it might be read as something else.
    bytes[4..middle].fill(0xff);
    fs::write(corrupt, &bytes).expect("written");
    // Neither is of the journal: one lies in another day's directory, one has nothing of a segment.
    let foreign = whole.with_file_name("20200101T000000.000000Z.parquet");
    fs::write(&foreign, b"PAR1 this is none").expect("written");
    fs::write(whole.with_file_name("notes.parquet"), b"PAR1 this is none").expect("written");
    let output = run(&["history", "--json", &filter, "--journal"], &directory.0);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let closed = text.lines().filter(|line| line.contains(r#""type":"closed""#)).count();
    assert_eq!(closed, 1, "{text}{said}");
    for file in [truncated, corrupt] {
        assert!(said.contains(&file.display().to_string()), "{said}");
    }

    let nothing = run(&["history", "--journal"], &directory.0.join("nowhere"));
    let said = String::from_utf8_lossy(&nothing.stderr);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(said.contains("`netmon record` makes a journal"), "{said}");
}

#[test]
fn what_was_not_recorded_is_said_and_the_oldest_goes() {
    let directory = Directory::new();
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let record = Record::start(&directory.0);
        thread::sleep(Duration::from_millis(300));
        record.stop();
        thread::sleep(Duration::from_millis(200));
        let nobody_looked = now();
        thread::sleep(Duration::from_millis(200));
        let record = Record::start(&directory.0);
        thread::sleep(Duration::from_millis(300));
        record.stop();
        let inum = netns.inum.to_string();
        let args = ["snapshot", "--at", &nobody_looked, "-tan", "--netns", &inum, "--journal"];
        let output = run(&args, &directory.0);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("nothing was recorded then"), "{said}");
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(listed.contains(&listener.local_addr().expect("bound").to_string()), "{listed}");

        // A segment has three files of a page each at least: the least size holds five of them.
        let before = directory.of("events", ".parquet");
        let record = Record::with(&["--max-size", "64K"], &directory.0);
        for _ in 0..8 {
            drop(pair(&listener));
            thread::sleep(Duration::from_millis(400));
            let live = || directory.of("events", ".arrows").pop();
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
        let after = directory.of("events", ".parquet");
        assert!(before.iter().all(|old| !after.contains(old)), "{before:?} {after:?}");
        assert!((1..8).contains(&(after.len() - more)), "{after:?}");
        assert!(!history(&directory.0, &format!("netns = {inum}")).is_empty());
    });
}
