//! Journals, written from a scene and read without a kernel: what was seen is seen again, by this
//! version and by those to come.

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
    journal::{
        HostNames, Journal, NamedNamespace, Recorder, RecorderHandle, RecorderOptions, Retention,
        TimeSpan,
    },
    session::{Limits, Scope, Source, View, run},
    view::json::Json,
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::metadata::KeyValue,
};
use scene::{MS, owner, scene, transition};
use tokio::sync::Notify;

/// The day of the scene, and the host that recorded it.
const PARTITION: &str = "date=2025-12-17/host=ended";

/// Events, one after the other as a live source gives them.
struct Script {
    events: VecDeque<Event>,
    /// Whoever records them begins a segment when so many are left.
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

/// A directory of its own, gone with the test.
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

fn play(source: &mut impl Source, view: &mut impl View, scope: &Scope) {
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

    fn cgroup(&mut self, id: u64) -> Option<String> {
        (id == 5).then(|| "/web.slice".to_owned())
    }

    fn namespaces(&mut self) -> Vec<NamedNamespace> {
        let (cookie, name) = (Some(77), Some("blue".to_owned()));
        vec![NamedNamespace { inum: 4_026_532_200, cookie, name }]
    }

    fn process_started(&mut self, pid: u32) -> Option<i64> {
        (pid == 812).then_some(1_766_000_000_000_000_000)
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
    let journal = Journal::open(directory, None, |_| true).expect("a journal");
    json(&mut journal.replay(TimeSpan { from: 0, to: i64::MAX }))
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

/// A line without the names that only a journal adds.
fn unnamed(line: &str) -> String {
    let mut line = line.to_owned();
    for name in [r#","netns_name":"blue""#, r#","user":"www-data""#, r#","cgroup":"/web.slice""#] {
        line = line.replace(name, "");
    }
    line
}

#[test]
fn what_was_seen_is_seen_again() {
    let directory = Directory::new("again");
    let _ = record(&directory.0, "here", scene()).close();
    let live = json(&mut Script::new(scene()));
    assert!(live.len() > 20, "{live:?}");
    let again = replayed(&directory.0);
    assert!(again.iter().any(|line| line.contains("www-data")), "{again:?}");
    assert_eq!(again.iter().map(|line| unnamed(line)).collect::<Vec<_>>(), live);
}

/// Every command shows the same scene, whether its recorder was ended in order or killed.
#[test]
fn every_command_shows_what_was_recorded() {
    let directory = Directory::new("commands");
    let _ = record(&directory.0, "ended", scene()).close();
    let mut torn = record(&directory.0, "torn", scene());
    std::thread::sleep(Duration::from_secs(1));
    torn.flush(&ConnectionTable::default()).expect("handed over");
    std::thread::sleep(Duration::from_secs(1));
    // As if it was killed after that.
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
        let ended = said(&[arguments, &["--host", "ended"]].concat(), &directory.0);
        insta::assert_snapshot!(name, ended);
        // The other was not ended in order: it says the same, but for when its recorder was last
        // alive.
        let torn = said(&[arguments, &["--host", "t*n"]].concat(), &directory.0);
        assert_eq!(told(&torn.replace("torn", "ended")), told(&ended), "{name}");
    }
}

/// Its lines, but for those that depend on how far the journal goes.
fn told(text: &str) -> BTreeSet<&str> {
    let depends = [r#""type":"anchor""#, "netmon: ", "open, "];
    text.lines().filter(|line| !depends.iter().any(|word| line.contains(word))).collect()
}

/// A journal of the scene that was ended in order, to be spoilt; and its files of events.
fn copy(name: &str) -> (Directory, Vec<PathBuf>) {
    let directory = Directory::new(name);
    let _ = record(&directory.0, "ended", scene()).close();
    let events = directory.files("events");
    (directory, events)
}

#[test]
fn another_version_is_named() {
    let (directory, events) = copy("version");
    let file = File::open(&events[1]).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let mut schema = reader.schema().as_ref().clone();
    schema.metadata.insert("netmon.version".to_owned(), "3".to_owned());
    let batches: Vec<_> = reader.build().expect("a reader").collect();
    let to = File::create(&events[1]).expect("a file");
    let mut writer = ArrowWriter::try_new(to, schema.clone().into(), None).expect("a writer");
    for batch in batches {
        let batch = batch.expect("a batch").with_schema(schema.clone().into());
        writer.write(&batch.expect("the same columns")).expect("written");
    }
    let (key, value) = ("netmon.version".to_owned(), "3".to_owned());
    writer.append_key_value_metadata(KeyValue::new(key, value));
    writer.close().expect("written");
    let output = netmon(&["watch", "-n", "--json"], &directory.0);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let name = events[1].display().to_string();
    let reason = "is left out: it is of version 3 of the journal, and this netmon reads version 2";
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
        fs::write(&events[0], bytes).expect("written");
        let output = netmon(&["watch", "-n", "--json"], &directory.0);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{number}: {said}");
        assert!(said.contains(&format!("{} is left out", events[0].display())), "{number}: {said}");
        assert!(!said.contains("panicked"), "{number}: {said}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("transition"), "{number}: the other segment is read");
        assert!(text.contains(r#""reason":"missing""#), "{number}: {text}");
        // The connections beside it are there.
        let history = said_of(&["history", "-n", "--json"], &directory.0);
        assert!(history.contains(r#""verdict":"refused""#), "{number}: {history}");
    }
}

/// Whichever segment cannot be read, the last among them: all that show the past name as many gaps.
#[test]
fn every_command_names_the_same_gaps() {
    let (directory, events) = copy("gaps");
    assert!(events.len() > 1, "{events:?}");
    let gaps = |arguments: &[&str]| {
        said_of(arguments, &directory.0).matches(r#""reason":"missing""#).count()
    };
    for file in &events {
        let good = fs::read(file).expect("a file");
        fs::write(file, b"no journal at all").expect("written");
        let watched = gaps(&["watch", "--json"]);
        assert_eq!(watched, 1, "{}", file.display());
        assert_eq!(gaps(&["history", "--json"]), watched, "{}", file.display());
        fs::write(file, good).expect("written");
    }
}

/// Its output, whatever stands on stderr.
fn said_of(arguments: &[&str], directory: &Path) -> String {
    String::from_utf8(netmon(arguments, directory).stdout).expect("text")
}

/// A bit that is flipped anywhere in any file is noticed by whoever reads it, and by the check.
#[test]
fn a_flipped_bit_is_said() {
    const FLIPS: usize = 40;
    let (directory, _) = copy("flipped");
    let whole = said(&["journal", "check"], &directory.0);
    assert!(whole.contains("whole"), "{whole}");
    for dataset in ["events", "connections", "checkpoints", "processes", "namespaces"] {
        let files = directory.files(dataset);
        let file = files.last().expect("a file");
        let good = fs::read(file).expect("a file");
        let read = |name: &str| {
            let output = netmon(&["export", "--format", "csv", "--dataset", name], &directory.0);
            assert!(output.status.success(), "{output:?}");
            (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (before, _) = read(dataset);
        for flip in 0..FLIPS {
            let mut bytes = good.clone();
            // Spread over the whole file, each bit in turn.
            let at = (flip * good.len() + flip * 7_919) / FLIPS % good.len();
            bytes[at] ^= 1 << (flip % 8);
            fs::write(file, bytes).expect("written");
            let (after, said) = read(dataset);
            let is_said = said.contains(&file.display().to_string());
            assert!(is_said || after == before, "{dataset} at {at}: {said}");
            let check = netmon(&["journal", "check"], &directory.0);
            // The first bytes of a file are its format's name, which nobody needs.
            assert!(check.status.code() == Some(1) || at < 4, "{dataset} at {at}: {check:?}");
        }
        fs::write(file, good).expect("written");
    }
}

/// A segment that another version writes stays as it is; one that never got as far as a row goes.
#[test]
fn only_what_can_be_read_is_taken_over() {
    let directory = Directory::new("foreign");
    let live = directory.0.join("_live/host=here");
    fs::create_dir_all(&live).expect("a directory");
    let foreign = live.join("events-20251216T120000.000000Z.arrows");
    let empty = live.join("events-20251216T130000.000000Z.arrows");
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
    let lock = File::create(directory.0.join("_live/host=ended/lock")).expect("a lock");
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
                assert!(text.starts_with("host,time,"), "{text}");
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
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.is_empty() || said == "netmon: 2 gaps in the journal\n", "{format}: {said}");
    }
}

/// What a file says of its row groups leaves out nothing that a filter lets pass, and something
/// that it does not: seen by a row group that cannot be read any more.
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

/// Of a recorder's clock that is set back by an hour nothing is lost, and both hours can be asked
/// for.
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
    let mut recorder = open(&directory.0, "here", "a boot");
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

/// Listeners of a host, each with the cookie and port of its number.
fn listeners(boot: &str, numbers: std::ops::Range<u64>, wall: i64) -> Vec<Event> {
    let mut events = vec![Event::Anchor(Anchor { monotonic: 0, wall })];
    events.extend(numbers.map(|number| {
        let at = format!("0.0.0.0:{}", 1000 + number);
        // The process tells whose it is: all have the same cookies.
        let opening = owner(1, boot.as_bytes());
        let transition = transition(number, number, (&at, "0.0.0.0:0"), Close, Listen);
        Event::Transition(Transition { opening, ..transition })
    }));
    let later = 10_000 * MS;
    let wall = wall + later.cast_signed();
    events.push(Event::Anchor(Anchor { monotonic: later, wall }));
    events
}

/// Two hosts with the same cookies: each has its own table, and lines say whose they are.
#[test]
fn hosts_are_told_apart() {
    let directory = Directory::new("hosts");
    let noon = 1_766_059_200_000_000_000;
    for (host, numbers) in [("web1", 1..4), ("web2", 2..6), ("db1", 1..2)] {
        let mut recorder = open(&directory.0, host, host);
        let events = listeners(host, numbers, noon);
        play(&mut Script::new(events), &mut recorder, &scope());
        let _ = recorder.close();
    }
    let at = "2025-12-18T12:00:05Z";
    let ports = |host: &str| {
        let list = ["snapshot", "-tnlp", "--json", "--utc", "--at", at, "--host", host];
        let text = said_of(&list, &directory.0);
        let mut rows: Vec<(String, u64, String)> = text
            .lines()
            .map(|line| {
                let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
                let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
                (
                    text(&row["host"]),
                    row["local_port"].as_u64().expect("a port"),
                    text(&row["owners"][0]["comm"]),
                )
            })
            .collect();
        rows.sort();
        rows
    };
    let of = |host: &str, numbers: std::ops::Range<u64>| {
        numbers.map(|number| (host.to_owned(), 1000 + number, host.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(ports("web*"), [of("web1", 1..4), of("web2", 2..6)].concat());
    assert_eq!(ports("*"), [of("db1", 1..2), of("web1", 1..4), of("web2", 2..6)].concat());
    // In the order of time, whosever they are, each with its host; `watch` and `history` alike.
    let lines = said_of(&["watch", "-n", "--utc", "--from", "2025-12-18"], &directory.0);
    let listening: Vec<&str> = lines.lines().filter(|line| line.contains("LISTEN")).collect();
    assert_eq!(listening.len(), 3 + 4 + 1, "{lines}");
    assert!(listening.is_sorted_by_key(|line| line.get(..26)), "{lines}");
    assert_eq!(listening.iter().filter(|line| line.contains(" web2 ")).count(), 4, "{lines}");
    let json = said_of(&["watch", "--json"], &directory.0);
    assert_eq!(json.matches(r#""host":"db1""#).count(), 1, "{json}");
    // One host's journal says nothing of hosts.
    assert!(!said_of(&["watch", "--json", "--host", "db1"], &directory.0).contains("host"));
    let output = netmon(&["watch", "--host", "db2"], &directory.0);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no journal of db2, but of db1, web1, web2"), "{said}");
}

/// Two boots with the same cookies: what the first left open has ended, and the second's rows are
/// its own.
#[test]
fn boots_are_told_apart() {
    let directory = Directory::new("boots");
    let noon = 1_766_059_200_000_000_000;
    for (boot, wall) in [("first", noon), ("second", noon + 3_600_000_000_000)] {
        let mut recorder = open(&directory.0, "web1", boot);
        let mut events = listeners(boot, 1..4, wall);
        events.insert(4, Event::Reconciled { time: 5 * MS });
        let scope = scope();
        let mut session = netmon::session::Session::new(&scope);
        session.remember(recorder.former_rows(Anchor { monotonic: 0, wall }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let stop = Notify::new();
        let mut script = Script::new(events);
        let played = async {
            session.follow(&mut script, &mut recorder, Limits::default(), &stop).await?;
            session.finish(&mut script, &mut recorder).await
        };
        runtime.expect("a runtime").block_on(played).expect("played");
        let _ = recorder.close();
    }
    let owners = |at: &str| {
        let text = said_of(&["snapshot", "-tnlpH", "--utc", "--at", at], &directory.0);
        text.lines()
            .filter_map(|line| line.split('/').nth(1))
            .map(|name| name.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(owners("2025-12-18T12:00:00.5Z"), ["first"; 3]);
    assert_eq!(owners("2025-12-18T13:00:00.005Z"), ["second"; 3]);
    let text = said_of(&["export", "--format", "jsonl"], &directory.0);
    let closed: Vec<&str> =
        text.lines().filter(|line| line.contains(r#""new_state":"CLOSE""#)).collect();
    assert_eq!(closed.len(), 3, "{text}");
    // With the boot, cookie and opening of the first.
    assert!(closed.iter().all(|line| line.contains(r#""boot_id":"first""#)), "{closed:?}");
    assert!(closed.iter().all(|line| line.contains(r#""opened":"2025-12-18T12:00:00"#)));
}
