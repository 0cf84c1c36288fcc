//! A `netmon record` under test, and its journal.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::kernel::{
    netns::sh,
    tier::{arguments, identify},
};
use crate::schema::object;

/// A directory that is removed on drop.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("netmon-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    /// The path of every file below the directory.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        fn walk(path: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(path).expect("a directory").flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), found);
                } else {
                    found.push(entry.path());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.0, &mut found);
        found.sort();
        found
    }

    /// The files of a dataset, of one kind: `.parquet`, or `.arrows` of the segment that is being
    /// written.
    pub(crate) fn dataset_files(&self, dataset: &str, kind: &str) -> Vec<PathBuf> {
        let is_it = |path: &PathBuf| {
            let below = path.strip_prefix(&self.0).unwrap_or(path).to_string_lossy().into_owned();
            let live = below.strip_prefix("_live/").and_then(|name| name.rsplit('/').next());
            live.unwrap_or(&below).starts_with(dataset) && below.ends_with(kind)
        };
        self.files().into_iter().filter(is_it).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `netmon record`.
pub(crate) struct Record {
    child: Child,
    stderr: BufReader<ChildStderr>,
    log: String,
}

impl Record {
    pub(crate) fn start(journal: &Path) -> Self {
        Self::with(&[], journal)
    }

    pub(crate) fn with(args: &[&str], journal: &Path) -> Self {
        let forced = arguments();
        let forced: Vec<&str> = forced.iter().map(String::as_str).collect();
        let args = [&["-v", "record"], &*forced, args, &["--journal"]].concat();
        Self::spawn(netmon(&args, journal))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("netmon starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr"));
        let mut record = Self { child, stderr, log: String::new() };
        record.until("attached");
        record
    }

    /// Reads the standard error of netmon until `word` comes.
    pub(crate) fn until(&mut self, word: &str) {
        let begin = self.log.len();
        while !self.log[begin..].contains(word) {
            let read = self.stderr.read_line(&mut self.log).expect("UTF-8");
            assert!(read > 0, "netmon ended before it printed '{word}': {}", self.log);
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        sh(&format!("kill -{signal} {}", self.child.id()));
    }

    pub(crate) fn stop(self) -> String {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for the end of netmon, which must be a success. Returns its standard error.
    pub(crate) fn ended(self) -> String {
        self.ended_with(0)
    }

    /// Waits for the end of netmon with that exit code. Returns its standard error.
    pub(crate) fn ended_with(mut self, code: i32) -> String {
        while self.stderr.read_line(&mut self.log).expect("UTF-8") > 0 {}
        assert_eq!(self.child.wait().expect("it ends").code(), Some(code), "{}", self.log);
        self.log
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
    }
}

/// Runs recorders until every segment that recorders have left is Parquet. Returns the number of
/// recorders that it took. A recorder has a limited time for Parquet when it ends. On a busy
/// machine the recorder leaves the rest to the next one.
pub(crate) fn settle(directory: &Directory) -> usize {
    for more in 0..20 {
        if directory.dataset_files("", ".arrows").is_empty() {
            return more;
        }
        Record::start(&directory.0).stop();
    }
    panic!("segments are left: {:?}", directory.files());
}

pub(crate) fn netmon(args: &[&str], journal: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    command.args(args).arg(journal);
    command
}

pub(crate) fn run(args: &[&str], journal: &Path) -> Output {
    netmon(args, journal).output().expect("netmon starts")
}

pub(crate) fn objects(args: &[&str], journal: &Path) -> Vec<Value> {
    let output = run(args, journal);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut objects: Vec<_> = text.lines().map(object).collect();
    objects.iter_mut().for_each(identify);
    objects
}

/// The connections that `netmon history` lists; gaps are left out.
pub(crate) fn history(journal: &Path, filter: &str) -> Vec<Value> {
    let mut rows = objects(&["history", "--json", filter, "--journal"], journal);
    rows.retain(|row| row["type"] == "closed" || row["type"] == "connection");
    rows
}

/// Both ends of a connection to a listener.
pub(crate) fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    (client, listener.accept().expect("accepted").0)
}
