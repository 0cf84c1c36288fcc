//! Threads that Landlock encloses: the files of the table of docs/privileges.md, compared with the
//! log of the commands, and the work that such threads do.
//!
//! The kernel does not show a thread's domain. The unit tests of `netmon/src/enclosure.rs` try the
//! forbidden on threads that the same function has enclosed.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::kernel::{
    harness::{kernel, slow},
    netns::Netns,
    recording::{Directory, Record, history, netmon, pair},
    threads::table,
};

/// The commands with enclosed threads that end by themselves, and their arguments.
const COMMANDS: [(&str, &[&str]); 6] = [
    ("history", &["history"]),
    ("export", &["export", "--format", "csv"]),
    ("journal check", &["journal", "check"]),
    ("snapshot --at", &["snapshot", "--at", "MOMENT"]),
    ("watch --from", &["watch", "--from", "1h ago"]),
    ("top --at", &["top", "--once", "--at", "MOMENT"]),
];

/// Returns the threads that the log says are enclosed, and the files that they may open.
fn enclosed(log: &str) -> Vec<(String, String)> {
    let lines =
        log.lines().filter_map(|line| line.split_once("] enclosed: ").map(|(_, rest)| rest));
    let words = lines.filter_map(|line| line.split_once(", which may open: "));
    words.map(|(thread, files)| (thread.to_owned(), files.to_owned())).collect()
}

/// Asserts that the log of a command and the table have the same enclosed threads.
fn compare(command: &str, log: &str) {
    let seen = enclosed(log);
    if kernel() < (5, 19) {
        assert!(seen.is_empty() && log.contains("] not enclosed: "), "{command}: {log}");
        return;
    }
    assert!(!log.contains("not enclosed"), "{command}: {log}");
    let rows = table().into_iter().filter(|row| row.commands.iter().any(|name| name == command));
    let rows: Vec<_> = rows.filter(|row| row.files != "all").collect();
    for (name, files) in &seen {
        let row = rows.iter().find(|row| row.threads.contains(name));
        let row = row.unwrap_or_else(|| panic!("{command}: no row of {name}: {log}"));
        assert!(row.files.contains(files), "{command}: {name} may open {}: {log}", row.files);
    }
    // Threads of an enclosed thread are enclosed without a word.
    for row in rows.iter().filter(|row| !row.files.starts_with("as ")) {
        for name in &row.threads {
            let files = row.files.split(", and ");
            for files in files.map(|files| files.rsplit(": ").next().expect("a word")) {
                let is_it = |(thread, seen): &(String, String)| thread == name && seen == files;
                assert!(seen.iter().any(is_it), "{command}: {name} may open {files}: {log}");
            }
        }
    }
}

#[test]
fn threads_of_the_table_are_enclosed_and_work() {
    Netns::new().run(|| {
        let directory = Directory::new();
        let record = Record::start(&directory.0);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        drop(pair(&listener));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let moment = format!("@{}.{:03}", now.as_secs(), now.subsec_millis());
        // The last batch of the recorder is a second later at most.
        thread::sleep(Duration::from_secs(1));
        record.stop();
        // With a journal, the recorder reads the end of the last recording.
        compare("record", &Record::start(&directory.0).stop());
        for (command, arguments) in COMMANDS {
            let mut words = vec!["-v"];
            words.extend(arguments.iter().map(|word| match *word {
                "MOMENT" => &*moment,
                word => word,
            }));
            words.push("--journal");
            let output = netmon(&words, &directory.0).output().expect("netmon starts");
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !output.stdout.is_empty(), "{command}: {log}");
            compare(command, &log);
        }
    });
}

/// Options and variables that name files outside of the journal.
#[test]
fn an_enclosed_reader_writes_where_it_is_sent_and_knows_every_zone() {
    Netns::new().run(|| {
        let (directory, outside) = (Directory::new(), Directory::new());
        let record = Record::start(&directory.0);
        TcpStream::connect("127.0.0.1:22").expect_err("no listener");
        thread::sleep(Duration::from_secs(1));
        record.stop();
        let file = outside.0.join("events.parquet");
        let mut export = netmon(&["export", "--format", "parquet", "--journal"], &directory.0);
        let status = export.stdout(File::create(&file).expect("a file")).status();
        assert!(status.expect("netmon starts").success());
        let written = fs::read(&file).expect("read");
        assert!(written.starts_with(b"PAR1") && written.ends_with(b"PAR1"), "{written:?}");
        // The zone is in a file of the user's own.
        let zone = outside.0.join("zone");
        fs::copy("/usr/share/zoneinfo/Asia/Kolkata", &zone).expect("tzdata");
        let mut own = netmon(&["history", "--from", "1h ago", "--journal"], &directory.0);
        let output = own.env("TZ", format!(":{}", zone.display())).output().expect("netmon starts");
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(stderr.contains("+05:30"), "{stderr}");
        assert!(stdout.contains("127.0.0.1:ssh"), "services have names: {stdout}");
        // The zone is named by the moment.
        let from = "2020-02-02T02:02[Asia/Kolkata]";
        let arguments = ["history", "--utc", "--from", from, "--journal"];
        let output = netmon(&arguments, &directory.0).output();
        let stderr = String::from_utf8_lossy(&output.expect("netmon starts").stderr).into_owned();
        assert!(stderr.contains("from 2020-02-01 20:32:00"), "in UTC: {stderr}");
    });
}

/// A helper cannot make its directory anew: the thread that waits does, and its parents too.
#[test]
fn a_journal_that_is_removed_with_its_parents_is_made_anew_and_enclosed_again() {
    Netns::new().run(|| {
        let directory = Directory::new();
        let (parent, journal) = (directory.0.join("a"), directory.0.join("a/b/journal"));
        let mut record = Record::start(&journal);
        record.until("compared with the kernel's tables");
        fs::remove_dir_all(&parent).expect("removed");
        record.until("is made anew");
        record.until("the journal is whole again");
        TcpStream::connect("127.0.0.1:9").expect_err("no listener");
        thread::sleep(slow(Duration::from_millis(700)));
        record.signal("HUP");
        record.until("a segment of ");
        record.signal("TERM");
        let log = record.ended_with(1);
        assert!(is_parquet(&journal.join("events")), "{log}");
        assert!(!history(&journal, "verdict = refused").is_empty(), "{log}");
        if kernel() >= (5, 19) {
            let helpers = enclosed(&log).into_iter().filter(|(name, _)| name == "netmon:journal");
            assert_eq!(helpers.count(), 2, "{log}");
        }
    });
}

/// Returns whether a directory has a Parquet file at any depth.
fn is_parquet(directory: &Path) -> bool {
    fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        path.extension().is_some_and(|extension| extension == "parquet") || is_parquet(&path)
    })
}
