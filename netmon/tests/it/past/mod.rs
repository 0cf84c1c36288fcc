//! Journals, written from the sample events and read without a kernel: this version and later
//! versions show the recorded events again.

mod damaged;
mod escapes;
mod first_table;
mod open;
mod origins;
mod terminal;

use std::{
    collections::{BTreeSet, VecDeque},
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use crate::sample_events::{at_ms, owner, sample_events, socket, transition};
use netmon::testing::{
    Anchor, Change, Connection, ConnectionId, ConnectionTable, Event, HostNames, Journal, Json,
    Limits, Mono, NamedNamespace, Recorder, RecorderHandle, RecorderOptions, Retention,
    SessionScope, Source,
    TcpState::{Close, Established, Listen},
    TimeSpan, Transition, Tuple, View, Wall, run,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::Notify;

/// Noon of 2025-12-18, UTC.
const NOON: Wall = Wall::from_nanos(1_766_059_200_000_000_000);
/// The day of the sample events, and the host that recorded them.
const PARTITION: &str = "date=2025-12-17/host=ended";

/// Events, one after the other as a live source gives them.
struct Script {
    events: VecDeque<Event>,
    /// The number of events left when the recorder begins a segment, and the handle of the
    /// recorder.
    rotate: Option<(usize, RecorderHandle)>,
}

impl Script {
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        Self { events: events.into_iter().collect(), rotate: None }
    }
}

impl Source for Script {
    type Item = Event;

    async fn next(&mut self, events: &mut VecDeque<Event>) -> io::Result<bool> {
        events.extend(self.events.pop_front());
        if let Some((_, handle)) = self.rotate.take_if(|(left, _)| *left == self.events.len()) {
            handle.rotate();
        }
        Ok(!self.events.is_empty())
    }

    async fn finish(&mut self, _: &mut VecDeque<Event>) -> io::Result<()> {
        Ok(())
    }
}

/// A directory for one test, removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("netmon-past-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    /// The files of a dataset, the oldest first.
    fn files(&self, dataset: &str) -> Vec<PathBuf> {
        let partition = self.0.join(dataset).join(PARTITION);
        let files = fs::read_dir(partition).expect("files");
        let mut files: Vec<_> = files.map(|file| file.expect("one").path()).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn play(source: &mut impl Source, view: &mut impl View, scope: &SessionScope) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let stop = Notify::new();
    let session = run(source, view, scope, Limits::default(), &stop);
    runtime.expect("a runtime").block_on(session).expect("played");
}

/// The names on the host that is recorded.
struct Names;

impl HostNames for Names {
    fn user(&mut self, uid: u32) -> Option<String> {
        (uid == 33).then(|| "www-data".to_owned())
    }

    fn namespaces(&mut self) -> Vec<NamedNamespace> {
        let (cookie, name) = (Some(77), Some("blue".to_owned()));
        vec![NamedNamespace { inum: 4_026_532_200, cookie, name }]
    }

    fn process_started(&mut self, pid: u32) -> Option<Wall> {
        (pid == 812).then_some(Wall::from_nanos(1_766_000_000_000_000_000))
    }
}

fn open(directory: &Path, host: &str, boot: &str) -> Recorder {
    let options = RecorderOptions {
        retention: Retention::default(),
        segment_time: Duration::from_secs(3_600),
        boot_id: boot.to_owned(),
        netns: 4_026_531_840,
        names: Box::new(Names),
    };
    Recorder::open(directory, host, options).expect("a recorder")
}

/// Records events in a directory, as a host of that name, in two segments.
fn record(directory: &Path, host: &str, events: Vec<Event>) -> Recorder {
    let mut recorder = open(directory, host, "a boot");
    let rotate = Some((events.len() / 2, recorder.handle()));
    play(&mut Script { rotate, ..Script::new(events) }, &mut recorder, &scope());
    recorder
}

fn scope() -> SessionScope {
    SessionScope { initial: true, include_dumped: true, ..SessionScope::default() }
}

fn json(source: &mut impl Source) -> Vec<String> {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out, Box::new(|_| None));
    play(source, &mut view, &scope());
    drop(view);
    String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
}

fn replayed(directory: &Path) -> Vec<String> {
    let journal = Journal::open(directory, None, |_| true).expect("a journal");
    json(&mut journal.replay(TimeSpan { from: Wall::EPOCH, to: Wall::MAX }))
}

fn netmon(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    command.args(arguments).arg("--journal").arg(directory);
    command.env("TZ", "UTC").output().expect("netmon runs")
}

/// Returns the standard output of netmon, which must succeed, and its standard error after it.
fn all_output(arguments: &[&str], directory: &Path) -> String {
    let output = netmon(arguments, directory);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text") + &errors
}

/// Returns the standard output of netmon, whatever is on its standard error.
fn stdout(arguments: &[&str], directory: &Path) -> String {
    String::from_utf8(netmon(arguments, directory).stdout).expect("text")
}

/// A line without the names that only a journal adds.
fn unnamed(line: &str) -> String {
    let names = [
        r#","host":"here""#,
        r#","boot_id":"a boot""#,
        r#","netns_name":"blue""#,
        r#","user":"www-data""#,
    ];
    names.iter().fold(line.to_owned(), |line, name| line.replace(name, ""))
}

#[test]
fn recorded_events_are_shown_again() {
    let directory = Directory::new("again");
    let _ = record(&directory.0, "here", sample_events()).close();
    let live = json(&mut Script::new(sample_events()));
    assert!(live.len() > 20, "{live:?}");
    let again = replayed(&directory.0);
    assert!(again.iter().any(|line| line.contains("www-data")), "{again:?}");
    assert!(again.iter().map(|line| unnamed(line)).eq(live), "{again:?}");
}

/// Every command shows the same events, whether their recorder ended in order or was killed.
#[test]
fn every_command_shows_the_recorded_events() {
    let directory = Directory::new("commands");
    let _ = record(&directory.0, "ended", sample_events()).close();
    let mut torn = record(&directory.0, "torn", sample_events());
    std::thread::sleep(Duration::from_secs(1));
    torn.flush(&ConnectionTable::default()).expect("handed over");
    std::thread::sleep(Duration::from_secs(1));
    // As if the recorder was killed here.
    std::mem::forget(torn);
    let asked: [(&str, &[&str]); 8] = [
        ("watch", &["watch", "-n", "--utc", "--from", "2025-12-17"]),
        ("history", &["history", "-n", "--utc"]),
        ("at", &["snapshot", "-tape", "--utc", "--at", "2025-12-17T19:33:20.15Z"]),
        ("events", &["export", "--format", "jsonl"]),
        ("checkpoints", &["export", "--format", "jsonl", "--dataset", "checkpoints"]),
        ("connections", &["export", "--format", "jsonl", "--dataset", "connections"]),
        ("processes", &["export", "--format", "jsonl", "--dataset", "processes"]),
        ("namespaces", &["export", "--format", "jsonl", "--dataset", "namespaces"]),
    ];
    for (name, arguments) in asked {
        let ended = all_output(&[arguments, &["--host", "ended"]].concat(), &directory.0);
        insta::assert_snapshot!(name, ended);
        // The journal of the killed recorder shows the same, but for the time when its recorder was
        // last alive.
        let torn = all_output(&[arguments, &["--host", "t*n"]].concat(), &directory.0);
        assert_eq!(lasting_lines(&torn.replace("torn", "ended")), lasting_lines(&ended), "{name}");
    }
}

/// The lines of a text that do not depend on the end of the journal.
fn lasting_lines(text: &str) -> BTreeSet<&str> {
    let depends = [r#""type":"anchor""#, "netmon: ", "open, "];
    text.lines().filter(|line| !depends.iter().any(|word| line.contains(word))).collect()
}

/// A journal of the sample events that ended in order, for a test to damage, and its files of
/// events.
fn copy(name: &str) -> (Directory, Vec<PathBuf>) {
    let directory = Directory::new(name);
    let _ = record(&directory.0, "ended", sample_events()).close();
    let events = directory.files("events");
    (directory, events)
}

/// A late event is in its place, also in a segment that is being written.
#[test]
fn a_late_event_was_there_in_time() {
    let directory = Directory::new("late");
    let listens = |ms, cookie| {
        let at = (&*format!("0.0.0.0:100{cookie}"), "0.0.0.0:0");
        let opening = owner(1, b"sshd");
        Event::Transition(Transition { opening, ..transition(ms, cookie, at, Close, Listen) })
    };
    let anchor = Event::Anchor(Anchor { monotonic: Mono::BOOT, wall: NOON });
    let mut recorder = record(&directory.0, "here", vec![anchor.clone(), listens(1_000, 1)]);
    for events in [vec![anchor.clone(), listens(2_100, 2)], vec![anchor, listens(1_900, 3)]] {
        play(&mut Script::new(events), &mut recorder, &scope());
        // Each round is a batch.
        std::thread::sleep(Duration::from_secs(1));
        recorder.flush(&ConnectionTable::default()).expect("recorded");
    }
    std::thread::sleep(Duration::from_secs(1));
    let ports = || {
        let at = "2025-12-18T12:00:02Z";
        let out = all_output(&["snapshot", "-tnlH", "--utc", "--at", at], &directory.0);
        let ports = out.lines().filter_map(|line| line.split_once(":100")?.1.get(..1));
        ports.collect::<String>()
    };
    assert_eq!(ports(), "13");
    let _ = recorder.close();
    assert_eq!(ports(), "13");
}

#[test]
fn an_export_has_its_heading_and_a_reader_may_leave() {
    let (directory, _) = copy("export");
    for (format, dataset) in [
        ("csv", "events"),
        ("csv", "connections"),
        ("csv", "checkpoints"),
        ("parquet", "events"),
        ("parquet", "connections"),
        ("parquet", "checkpoints"),
        ("jsonl", "events"),
    ] {
        let arguments = ["export", "--format", format, "--dataset", dataset, "--utc"];
        let never =
            ["--from", "2025-12-17T19:33:20.1500001Z", "--to", "2025-12-17T19:33:20.1500001Z"];
        let output = netmon(&[&arguments[..], &never].concat(), &directory.0);
        assert!(output.status.success(), "{output:?}");
        match format {
            "csv" => {
                let text = String::from_utf8(output.stdout).expect("text");
                assert!(text.starts_with("host,"), "{text}");
                assert_eq!(text.lines().count(), 1, "{text}");
            }
            "parquet" => {
                let file = bytes::Bytes::from(output.stdout);
                let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
                assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
            }
            _ => assert!(output.stdout.is_empty()),
        }
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
        let command = command.args(arguments).arg("--journal").arg(&directory.0);
        let output = command.stdout(writer).output().expect("netmon runs");
        assert!(output.status.success(), "{format}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.is_empty() || stderr == "netmon: 2 gaps in the journal\n",
            "{format}: {stderr}"
        );
    }
}

/// Statistics of row groups leave out no row that a filter lets pass, and leave out a row group
/// without such rows. Row groups that cannot be read any more show it.
#[test]
fn a_filter_leaves_out_row_groups_without_its_rows() {
    let (directory, _) = copy("pruned");
    let history = |filter: &str| {
        let output = netmon(&["history", "--json", "-n", filter], &directory.0);
        assert!(output.status.success(), "{output:?}");
        let rows = String::from_utf8(output.stdout).expect("text");
        let ended = rows.lines().filter(|row| row.contains(r#""type":"closed""#)).count();
        (ended, String::from_utf8_lossy(&output.stderr).matches("is left out").count())
    };
    let there = [
        "dport = 443",
        "sport = 43210",
        "dst 93.184.216.34",
        "src [::1]",
        "sport = 22 or dport = 80",
        "sport < 1",
        "not dport = 443",
        "not ( sport != 43210 or dport != 443 )",
        ":443",
        "host 93.184.216.34:443",
        "bytes > 4M and bytes < 4322505",
        "sent = 517",
        "retrans > 1",
        "rtt = 15400us",
        "lifetime = 60ms",
        "errno = ECONNREFUSED",
        "failed",
        "verdict = closed-locally",
        "comm ~ ^cur",
        "comm = c?rl",
        "user = www-* and dir = out and dport = 443",
        "cookie = sk:2",
    ];
    let absent = [
        "dport = 444",
        "dst 93.184.216.35",
        "sport = 1",
        "sport = 43210 and dport = 83",
        "port in 23,444",
        "sent > 517",
        "received < 1M",
        "retrans in 1,3",
        "rtt > 16ms",
        "errno = ETIMEDOUT",
        "verdict = timed-out",
        "cookie = 99",
    ];
    let found: Vec<_> = there.iter().map(|filter| history(filter)).collect();
    assert_eq!(
        found,
        [1, 1, 1, 1, 2, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1].map(|n| (n, 0))
    );
    for file in directory.files("connections") {
        let mut bytes = fs::read(&file).expect("a file");
        // The first pages, which every reader must look at.
        bytes[4..200].fill(0xff);
        fs::write(&file, bytes).expect("written");
    }
    for filter in there {
        assert!(history(filter).1 > 0, "{filter}");
    }
    for filter in absent {
        assert_eq!(history(filter), (0, 0), "{filter}");
    }
}

#[test]
fn a_history_is_ordered_limited_and_counted() {
    let (directory, _) = copy("ordered");
    let asked: [(&str, &[&str]); 6] = [
        ("history_by_lifetime", &["history", "-n", "--utc", "--sort", "lifetime"]),
        ("history_reversed", &["history", "-n", "--utc", "--reverse", "--limit", "2"]),
        ("history_limited", &["history", "-n", "--utc", "--limit", "4"]),
        ("history_summary", &["history", "-n", "--summary"]),
        ("history_summary_json", &["history", "-n", "--summary", "--json"]),
        ("at_summary", &["snapshot", "-tap", "--summary", "--at", "2025-12-17T19:33:20.15Z"]),
    ];
    for (name, arguments) in asked {
        insta::assert_snapshot!(name, all_output(arguments, &directory.0));
    }
}
