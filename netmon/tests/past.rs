//! Journals, written from a scene and read without a kernel: what was seen is seen again, by this version and
//! by those to come.

mod scene;

use std::{
    collections::{BTreeSet, VecDeque},
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use netmon::{
    core::{
        connection::{Change, Connection},
        event::{Anchor, ConnectionId, Event, Transition, Tuple},
        table::ConnectionTable,
        tcp::TcpState::{Close, Established, Listen},
    },
    journal::{Handle, Journal, Recorder, Retention, Span},
    session::{Limits, Scope, Source, View, run},
    view::json::Json,
};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use scene::{MS, owner, scene, transition};
use tokio::sync::Notify;

/// Where the files of the fixture are that was ended in order.
const HOUR: &str = "host=ended/date=2025-12-17/hour=19";

/// Events, one after the other as a live source gives them.
struct Script {
    events: VecDeque<Event>,
    /// Whoever records them begins a segment when so many are left.
    rotate: Option<(usize, Handle)>,
}

impl Script {
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        Self { events: events.into_iter().collect(), rotate: None }
    }
}

impl Source for Script {
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

/// A directory of its own, gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("netmon-past-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    /// The files of the fixture's only hour whose names begin so, the oldest first.
    fn files(&self, name: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.0.join(HOUR)).expect("files").map(|file| file.expect("one"));
        let is_one = |path: &PathBuf| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
        };
        let mut files: Vec<_> = files.map(|file| file.path()).filter(is_one).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn play(source: &mut impl Source, view: &mut impl View, scope: &Scope) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let stop = Notify::new();
    let session = run(source, view, scope, Limits::default(), &stop);
    runtime.expect("a runtime").block_on(session).expect("played");
}

/// Records events in a directory, as a host of that name, in two segments.
fn record(directory: &Path, host: &str, events: Vec<Event>) -> Recorder {
    let recorder = Recorder::open(directory, host, Retention::default());
    let mut recorder = recorder.expect("a recorder");
    let rotate = Some((events.len() / 2, recorder.handle()));
    play(&mut Script { rotate, ..Script::new(events) }, &mut recorder, &scope());
    recorder
}

fn scope() -> Scope {
    Scope { initial: true, found: true, ..Scope::default() }
}

fn json(source: &mut impl Source) -> Vec<String> {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out);
    play(source, &mut view, &scope());
    drop(view);
    String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
}

fn replayed(directory: &Path) -> Vec<String> {
    let journal = Journal::open(directory, None).expect("a journal");
    json(&mut journal.replay(Span { from: 0, to: i64::MAX }))
}

fn netmon(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    command.args(arguments).arg("--journal").arg(directory);
    command.env("TZ", "UTC").output().expect("netmon runs")
}

/// What it prints and says, when all is well.
fn said(arguments: &[&str], directory: &Path) -> String {
    let output = netmon(arguments, directory);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text") + &errors
}

#[test]
fn what_was_seen_is_seen_again() {
    let directory = Directory::new("again");
    let _ = record(&directory.0, "here", scene()).close();
    let live = json(&mut Script::new(scene()));
    assert!(live.len() > 20, "{live:?}");
    assert_eq!(replayed(&directory.0), live);
}

/// What this version wrote is kept, for versions to come to read. `JOURNAL=write` writes it, which is
/// right only together with a new version of the journal, beside those that there are.
#[test]
fn a_journal_of_version_1_is_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/v1");
    if env::var_os("JOURNAL").is_some_and(|value| value == "write") {
        write(&directory);
    }
    let asked: [(&str, &[&str]); 6] = [
        ("watch", &["watch", "-n", "--utc", "--from", "2025-12-17"]),
        ("history", &["history", "-n", "--utc"]),
        ("at", &["snapshot", "-tanpe", "--utc", "--at", "2025-12-17T19:33:20.15Z"]),
        ("events", &["export", "--format", "jsonl"]),
        ("checkpoints", &["export", "--format", "jsonl", "--dataset", "checkpoints"]),
        ("connections", &["export", "--format", "jsonl", "--dataset", "connections"]),
    ];
    for (name, arguments) in asked {
        let ended = said(&[arguments, &["--host", "ended"]].concat(), &directory);
        insta::assert_snapshot!(format!("v1_{name}"), ended);
        // The other was not ended in order: it says the same, but for when its recorder was last alive.
        let torn = said(&[arguments, &["--host", "torn"]].concat(), &directory);
        assert_eq!(told(&torn.replace("on torn at", "on ended at")), told(&ended), "{name}");
    }
}

/// Its lines, but for those that only tie the clocks, in an order that does not depend on the table's.
fn told(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| !line.contains(r#""type":"anchor""#)).collect()
}

fn write(directory: &Path) {
    fs::create_dir_all(directory).expect("a directory");
    let _ = record(directory, "ended", scene()).close();
    // As if it was killed after that.
    std::mem::forget(record(directory, "torn", scene()));
    std::thread::sleep(Duration::from_secs(2));
    for host in ["ended", "torn"] {
        fs::remove_file(directory.join(format!("host={host}/lock"))).expect("removed");
    }
}

/// A copy of the journal of version 1 that was ended in order, to be spoilt; and its files of events.
fn copy(name: &str) -> (Directory, Vec<PathBuf>) {
    let directory = Directory::new(name);
    fs::create_dir_all(directory.0.join(HOUR)).expect("a directory");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/v1").join(HOUR);
    for file in fs::read_dir(from).expect("a journal") {
        let file = file.expect("a file");
        fs::copy(file.path(), directory.0.join(HOUR).join(file.file_name())).expect("copied");
    }
    let events = directory.files("events-");
    (directory, events)
}

#[test]
fn another_version_is_named() {
    let (directory, events) = copy("version");
    let file = File::open(&events[1]).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let mut schema = reader.schema().as_ref().clone();
    schema.metadata.insert("netmon.version".to_owned(), "2".to_owned());
    let batches: Vec<_> = reader.build().expect("a reader").collect();
    let to = File::create(&events[1]).expect("a file");
    let mut writer = ArrowWriter::try_new(to, schema.clone().into(), None).expect("a writer");
    for batch in batches {
        let batch = batch.expect("a batch").with_schema(schema.clone().into());
        writer.write(&batch.expect("the same columns")).expect("written");
    }
    writer.close().expect("written");
    let output = netmon(&["watch", "-n", "--json"], &directory.0);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let name = events[1].display().to_string();
    let reason = "is left out: it is of version 2 of the journal, and this netmon reads version 1";
    assert!(said.contains(&format!("{name} {reason}")), "{said}");
    // The rest is answered.
    assert!(said.contains("netmon: 10 transitions seen"), "{said}");
}

#[test]
fn what_is_torn_or_foreign_is_named() {
    let (directory, events) = copy("torn");
    let whole = fs::read(&events[0]).expect("a file");
    for (number, bytes) in
        [&b""[..], b"PAR1", &whole[..whole.len() / 2], b"no journal at all"].into_iter().enumerate()
    {
        for file in [&events[0], &events[0].with_extension("arrows")] {
            fs::write(file, bytes).expect("written");
        }
        let output = netmon(&["watch", "-n", "--json"], &directory.0);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{number}: {said}");
        assert!(said.contains(&format!("{} is left out", events[0].display())), "{number}: {said}");
        assert!(!said.contains("panicked"), "{number}: {said}");
        assert!(!output.stdout.is_empty(), "{number}: the other segment is read");
    }
}

/// A segment that another version writes stays as it is; one that never got as far as a row goes.
#[test]
fn only_what_can_be_read_is_taken_over() {
    let directory = Directory::new("foreign");
    let live = directory.0.join("host=here/live");
    fs::create_dir_all(&live).expect("a directory");
    let foreign = live.join("events-20251216T120000.000000000Z.arrows");
    let empty = live.join("events-20251216T130000.000000000Z.arrows");
    fs::write(&foreign, b"no journal, at least none of today").expect("written");
    fs::write(&empty, b"").expect("written");
    let _ = record(&directory.0, "here", scene()).close();
    assert!(foreign.exists());
    assert!(!empty.exists());
    assert!(!replayed(&directory.0).is_empty());
}

/// A recorder that hangs is not believed to have seen that nothing happened.
#[test]
fn a_silent_recorder_is_told() {
    let (directory, _) = copy("silent");
    let lock = File::create(directory.0.join("host=ended/lock")).expect("a lock");
    lock.lock().expect("locked");
    let soon = netmon(&["snapshot", "-tan", "--utc", "--at", "2025-12-17T19:33:40Z"], &directory.0);
    assert!(soon.status.success(), "{soon:?}");
    let later = netmon(&["snapshot", "-tan", "--utc", "--at", "2025-12-17T20:00Z"], &directory.0);
    let said = String::from_utf8_lossy(&later.stderr);
    assert_eq!(later.status.code(), Some(1), "{said}");
    assert!(said.contains("its recorder runs, but has not written since"), "{said}");
}

/// What comes late is in its place, also of a segment that is being written.
#[test]
fn a_late_event_was_there_in_time() {
    let directory = Directory::new("late");
    let listens = |ms, cookie| {
        let at = (&*format!("0.0.0.0:100{cookie}"), "0.0.0.0:0");
        let opening = owner(1, b"sshd");
        Event::Transition(Transition { opening, ..transition(ms, cookie, at, Close, Listen) })
    };
    let noon = 1_766_059_200_000_000_000;
    let anchor = Event::Anchor(Anchor { monotonic: 0, wall: noon });
    let mut recorder = record(&directory.0, "here", vec![anchor.clone(), listens(1_000, 1)]);
    for events in [vec![anchor.clone(), listens(2_100, 2)], vec![anchor, listens(1_900, 3)]] {
        play(&mut Script::new(events), &mut recorder, &scope());
        // A batch each.
        std::thread::sleep(Duration::from_secs(1));
        recorder.flush(&ConnectionTable::default()).expect("recorded");
    }
    std::thread::sleep(Duration::from_secs(1));
    let ports = || {
        let at = "2025-12-18T12:00:02Z";
        let out = said(&["snapshot", "-tnlH", "--utc", "--at", at], &directory.0);
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
                assert!(text.starts_with("time,clock_offset"), "{text}");
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
        assert!(output.stderr.is_empty(), "{format}: {output:?}");
    }
}

/// What a file says of its row groups leaves out nothing that a filter lets pass, and something that it does
/// not: seen by a row group that cannot be read any more.
#[test]
fn a_filter_leaves_out_what_need_not_be_read() {
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
    ];
    let absent = ["dport = 444", "dst 93.184.216.35", "sport = 1", "sport = 43210 and dport = 83"];
    let found: Vec<_> = there.iter().map(|filter| history(filter)).collect();
    assert_eq!(found, [(1, 0), (1, 0), (1, 0), (1, 0), (2, 0), (1, 0), (3, 0), (1, 0)]);
    for file in directory.files("connections-") {
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

/// Of a recorder's clock that is set back by an hour nothing is lost, and both hours can be asked for.
#[test]
fn a_clock_is_set_back() {
    let directory = Directory::new("back");
    let listens = |ms, cookie, port: &str| {
        let at = (&*format!("0.0.0.0:{port}"), "0.0.0.0:0");
        let opening = owner(1, b"sshd");
        Event::Transition(Transition { opening, ..transition(ms, cookie, at, Close, Listen) })
    };
    let noon = 1_766_059_200_000_000_000;
    let hour = 3_600_000_000_000;
    let anchor = |ms: i64, wall| {
        Event::Anchor(Anchor { monotonic: ms.cast_unsigned() * MS, wall: wall + ms * 1_000_000 })
    };
    let events = vec![
        anchor(0, noon),
        listens(1_000, 1, "1001"),
        anchor(60_000, noon),
        anchor(61_000, noon - hour),
        listens(62_000, 2, "1002"),
        anchor(122_000, noon - hour),
    ];
    let _ = record(&directory.0, "here", events).close();
    let ports = |at: &str| {
        let out = said(&["snapshot", "-tnlH", "--utc", "--at", at], &directory.0);
        let lines = out.lines().filter(|line| line.starts_with("tcp"));
        lines
            .filter_map(|line| Some(line.split_once(":100")?.1.get(..1)?.to_owned()))
            .collect::<String>()
    };
    assert_eq!(ports("2025-12-18T12:00:30Z"), "1");
    assert_eq!(ports("2025-12-18T11:01:30Z"), "12");
    assert_eq!(replayed(&directory.0).iter().filter(|line| line.contains("transition")).count(), 2);
}

/// More than may wait otherwise: it comes at once.
#[test]
fn all_that_was_there_in_the_beginning_is_recorded() {
    const SOCKETS: u64 = 600_000;
    let directory = Directory::new("many");
    let recorder = Recorder::open(&directory.0, "here", Retention::default());
    let mut recorder = recorder.expect("a recorder");
    let mut show = |change: Change<'_>| {
        recorder.change(&change).expect("recorded");
    };
    show(Change::Anchor(Anchor { monotonic: 0, wall: 1_766_059_200_000_000_000 }));
    let (local, remote) = (([10, 0, 0, 1], 443).into(), ([10, 0, 0, 2], 40_000).into());
    for cookie in 1..=SOCKETS {
        let id = ConnectionId { cookie, epoch: 0 };
        let row = Connection::new(id, Tuple { netns: 1, local, remote }, Established);
        show(Change::Found { time: 1, connection: &row, initial: true });
    }
    recorder.flush(&ConnectionTable::default()).expect("recorded");
    let health = recorder.close();
    assert_eq!(health.unwritten, 0, "{health:?}");
    assert!(health.written > SOCKETS, "{health:?}");
}
