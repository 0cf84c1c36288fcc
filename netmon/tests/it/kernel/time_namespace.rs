//! netmon in a time namespace: its own monotonic clock is shifted, the kernel program's is not.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::kernel::{
    harness::{Watch, cookie, slow},
    netns::Netns,
    recording::{Directory, Record, history, objects, pair},
    tier::arguments,
};
use crate::schema::object;

const CLIENT: &str = "CLOSE>SYN_SENT SYN_SENT>ESTABLISHED ";

/// A time namespace, which a process of its own holds.
struct TimeNamespace {
    holder: Child,
    offset: i64,
}

impl TimeNamespace {
    /// Makes a namespace whose clocks are `offset` seconds ahead.
    fn new(offset: i64) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--time", "--monotonic", &offset.to_string()])
            .args(["--boottime", &offset.to_string()])
            .args(["sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux)");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "a time namespace takes Linux 5.6 and root");
        Self { holder, offset }
    }

    /// Returns one whose clocks are a day ahead, and one whose clocks have just begun: most
    /// processes are older.
    fn each() -> [Self; 2] {
        [86_400, -clock_gettime(ClockId::Monotonic).tv_sec].map(Self::new)
    }

    /// Returns a command that runs netmon in the namespace.
    fn netmon(&self, command: &str) -> Command {
        let mut netmon = Command::new("nsenter");
        // Before Linux 6.3 only children of the holder are in the namespace.
        netmon.arg(format!("--time=/proc/{}/ns/time_for_children", self.holder.id()));
        netmon.args([env!("CARGO_BIN_EXE_netmon"), "-v", command]).args(arguments());
        netmon
    }
}

impl Drop for TimeNamespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn time(object: &Value, key: &str) -> Timestamp {
    let text = object[key].as_str().unwrap_or_else(|| panic!("no {key}: {object}"));
    text.parse().unwrap_or_else(|error| panic!("{error}: {object}"))
}

/// Asserts that a time of the object was within a second of `began` and now.
fn assert_recent(object: &Value, key: &str, began: Timestamp) {
    let second = SignedDuration::from_secs(1);
    let (time, now) = (time(object, key), Timestamp::now());
    assert!(began - second < time && time < now + second, "{key}, now {now}: {object}");
}

#[test]
fn events_come_at_their_times() {
    Netns::new().run(|| {
        for namespace in TimeNamespace::each() {
            let mut command = namespace.netmon("watch");
            command.args(["--json", "--initial"]);
            let mut watch = Watch::spawn(command);
            let began = Timestamp::now();
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let (client, _server) = pair(&listener);
            for event in watch.expect(cookie(&client), CLIENT) {
                assert_recent(&event, "time", began);
            }
            let stderr = watch.stop();
            assert!(stderr.contains(" 0 events lost"), "{stderr}");
        }
    });
}

#[test]
fn a_beat_of_the_hooks_is_heard() {
    Netns::new().run(|| {
        let namespaces = TimeNamespace::each();
        let mut watches = namespaces.each_ref().map(|namespace| {
            let mut command = namespace.netmon("watch");
            command.arg("--json");
            Watch::spawn(command)
        });
        // A beat begins after a minute, and has five seconds.
        thread::sleep(Duration::from_secs(66) + slow(Duration::from_secs(1)));
        for watch in &mut watches {
            let stderr = watch.stop();
            assert!(!stderr.contains("silent"), "{stderr}");
            let gaps = watch.events.iter().filter(|event| event["reason"] == "unhooked");
            assert_eq!(gaps.count(), 0, "{stderr}");
        }
    });
}

/// The start of this process, to the second, by the clocks of the initial namespace.
fn own_start() -> Timestamp {
    let field = |text: &str, number: usize| -> i64 {
        let word = text.split_ascii_whitespace().nth(number).expect("a field");
        word.parse().expect("a number")
    };
    let own = fs::read_to_string("/proc/self/stat").expect("/proc");
    let (_, fields) = own.rsplit_once(')').expect("a name");
    let ticks = field(fields, 22 - 3);
    let per_second = i64::try_from(rustix::param::clock_ticks_per_second()).expect("few");
    let host = fs::read_to_string("/proc/stat").expect("/proc");
    let booted = host.lines().find(|line| line.starts_with("btime")).expect("a line");
    Timestamp::from_second(field(booted, 1) + ticks / per_second).expect("a time")
}

#[test]
fn a_journal_has_the_times_of_the_host() {
    Netns::new().run(|| {
        for namespace in TimeNamespace::each() {
            let directory = Directory::new();
            let mut command = namespace.netmon("record");
            command.arg("--journal").arg(&directory.0);
            let mut record = Record::spawn(command);
            record.until("compared with the kernel's tables");
            let began = Timestamp::now();
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let (client, server) = pair(&listener);
            let port = client.local_addr().expect("bound").port();
            drop((client, server));
            record.stop();
            let rows = history(&directory.0, &format!("sport = :{port}"));
            let row = rows.first().unwrap_or_else(|| panic!("no row: {}", namespace.offset));
            for key in ["time", "opened"] {
                assert_recent(row, key, began);
            }
            let processes = ["export", "--format", "jsonl", "--dataset", "processes", "--journal"];
            let processes = objects(&processes, &directory.0);
            let own = processes.iter().find(|row| row["pid"] == std::process::id());
            let own = own.unwrap_or_else(|| panic!("not this process: {processes:#?}"));
            let off = time(own, "process_started").duration_since(own_start()).abs();
            assert!(off < SignedDuration::from_secs(2), "off by {off}: {own}");
        }
    });
}

#[test]
fn a_frame_has_the_connections_that_open_and_their_age() {
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        for namespace in TimeNamespace::each() {
            let mut top = namespace.netmon("top");
            let filter = format!("dport = :{}", address.port());
            top.args(["--once", "--numeric", &filter]).env("COLUMNS", "160").env("LINES", "200");
            let mut top = top.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("netmon");
            let mut held = Vec::new();
            while top.try_wait().expect("its status").is_none() {
                let client = TcpStream::connect(address).expect("connected");
                held.push((client, listener.accept().expect("accepted")));
                // Some of them come in the second that the frame is about, also on a slow machine.
                thread::sleep(Duration::from_millis(100));
            }
            let output = top.wait_with_output().expect("its end");
            let frame = String::from_utf8(output.stdout).expect("text");
            // The time in this state in seconds, the direction, the age in seconds.
            let is_known = |line: &str| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.windows(4).any(|words| match words {
                    ["ESTABLISHED", time, "out", age] => time.ends_with('s') && age.ends_with('s'),
                    _ => false,
                })
            };
            assert!(frame.lines().any(is_known), "{}: {frame}", namespace.offset);
        }
    });
}

#[test]
fn doctor_names_the_namespace_and_its_self_test_comes_out() {
    for namespace in TimeNamespace::each() {
        let mut doctor = namespace.netmon("doctor");
        let output = doctor.arg("--json").output().expect("netmon");
        let stdout = String::from_utf8(output.stdout).expect("text");
        let findings = stdout.lines().map(object);
        let findings: Vec<Value> = findings.collect();
        let finding = |what: &str| findings.iter().find(|finding| finding["what"] == what);
        let found = finding("time namespace").unwrap_or_else(|| panic!("none: {stdout}"));
        assert_eq!(found["state"], "ok", "{found}");
        assert_eq!(found["offset_s"], namespace.offset.to_string(), "{found}");
        let detail = found["detail"].as_str().expect("text");
        assert!(detail.contains(&format!("offset by {} s", namespace.offset)), "{detail}");
        assert_eq!(finding("self-test").expect("a test")["state"], "ok", "{stdout}");
    }
    let doctor = Command::new(env!("CARGO_BIN_EXE_netmon")).args(["doctor", "--json"]).output();
    let stdout = String::from_utf8(doctor.expect("netmon").stdout).expect("text");
    assert!(!stdout.contains("time namespace"), "netmon is in no other: {stdout}");
}
