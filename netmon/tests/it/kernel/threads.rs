//! The privileges of each thread of each command: the table of docs/privileges.md, compared with
//! `/proc/PID/task` while the commands run.
//!
//! A command that would end at once is caught by a standard output that takes no byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{self, PipeReader, Write},
    net::{IpAddr, TcpListener, UdpSocket},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    thread::CapabilitySet,
};

use crate::kernel::{
    harness::{kernel, patience, slow},
    netns::{Netns, sh},
    recording::{Directory, Record, pair},
    tier::sources,
    top::Terminal,
};

/// The name of the main thread, and of short-lived threads that it starts.
const MAIN: &str = "netmon";
/// The page with the table. It is built in, since a machine of `cargo xtask vm` has no documents.
const PAGE: &str = include_str!("../../../../docs/privileges.md");
/// The time for which nothing may change any more.
const SETTLED: Duration = Duration::from_millis(300);
/// The time after the latest new thread, or after the latest change of privileges, at which no
/// further one is expected.
const QUIET: Duration = Duration::from_secs(20);
/// Runs of a command at most: a thread may end between its start and the look at it.
const TRIES: u32 = 3;

/// A thread, as the kernel shows it.
pub(super) struct ThreadStatus {
    pub(super) name: String,
    pub(super) permitted: CapabilitySet,
    /// The thread cannot get more: no_new_privs is set, and no capability is inheritable, ambient,
    /// or permitted without being effective.
    pub(super) is_confined: bool,
}

impl ThreadStatus {
    /// Reads the status of a thread; nothing if the thread has ended.
    pub(super) fn read(task: &Path) -> Option<Self> {
        let status = fs::read_to_string(task.join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a field").trim().to_owned()
        };
        let set = |name| {
            let bits = u64::from_str_radix(&field(name), 16).expect("hexadecimal");
            CapabilitySet::from_bits_retain(bits)
        };
        let permitted = set("CapPrm:");
        let is_confined = field("NoNewPrivs:") == "1"
            && set("CapEff:") == permitted
            && set("CapInh:").is_empty()
            && set("CapAmb:").is_empty();
        Some(Self { name: field("Name:"), permitted, is_confined })
    }

    /// Returns the threads of a process by their ids.
    pub(super) fn all(pid: u32) -> BTreeMap<u32, Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let read = |task: fs::DirEntry| {
            let id = task.file_name().to_str()?.parse().ok()?;
            Some((id, Self::read(&task.path())?))
        };
        tasks.filter_map(read).collect()
    }
}

/// A row of the table.
pub(super) struct Row {
    pub(super) commands: Vec<String>,
    pub(super) threads: Vec<String>,
    held: Held,
    /// The files that the threads may open, in words.
    pub(super) files: String,
}

/// The capabilities that a thread must have, and may have.
#[derive(Clone, Copy)]
struct Held {
    least: CapabilitySet,
    most: CapabilitySet,
}

impl Held {
    /// Returns the capabilities of duties, as the page lists them.
    fn by(duties: &str, page: &str) -> Self {
        let none = CapabilitySet::empty();
        let mut held = Self { least: none, most: none };
        for duty in duties.split(", ").filter(|duty| *duty != "none") {
            let start = format!("- {duty}: ");
            let line = page.lines().find_map(|line| line.strip_prefix(&start)).expect(duty);
            let names = line.split([' ', ',', ';', '.']).filter(|word| word.starts_with("CAP_"));
            let set = names.map(capability).fold(none, |all, set| all | set);
            let is_optional = line.starts_with("before Linux 6.0");
            if !is_optional {
                held.least |= set;
            }
            if !is_optional || kernel() < (6, 0) {
                held.most |= set;
            }
        }
        held
    }
}

/// Returns the rows of the table.
pub(super) fn table() -> Vec<Row> {
    let (_, section) = PAGE.split_once("\n## Threads\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let rows: Vec<_> = rows
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [commands, threads, duties, files] = cells[..] else { panic!("{line}") };
            let (held, files) = (Held::by(duties, section), files.to_owned());
            Row { commands: quoted(commands), threads: quoted(threads), held, files }
        })
        .collect();
    assert!(!rows.is_empty(), "{section}");
    rows
}

fn capability(name: &str) -> CapabilitySet {
    match name {
        "CAP_BPF" => CapabilitySet::BPF,
        "CAP_SYS_ADMIN" => CapabilitySet::SYS_ADMIN,
        "CAP_SYS_PTRACE" => CapabilitySet::SYS_PTRACE,
        "CAP_DAC_READ_SEARCH" => CapabilitySet::DAC_READ_SEARCH,
        other => panic!("{other}: no thread is to keep this capability"),
    }
}

/// Returns the threads that the table has for a command, with their capabilities.
fn documented(command: &str) -> BTreeMap<String, Held> {
    let mut threads = BTreeMap::new();
    for row in table().iter().filter(|row| row.commands.iter().any(|known| known == command)) {
        for name in &row.threads {
            let former = threads.insert(name.clone(), row.held);
            assert!(former.is_none(), "{command}: two rows for {name}");
        }
    }
    assert!(threads.contains_key(MAIN), "the table has no row for {MAIN} of `{command}`");
    threads
}

/// Returns the first difference between the table and the threads of a process.
fn difference(
    pid: u32,
    seen: &BTreeMap<u32, ThreadStatus>,
    documented: &BTreeMap<String, Held>,
) -> Option<String> {
    let names: BTreeSet<_> = seen.values().map(|thread| &thread.name).collect();
    if let Some(name) = names.iter().find(|name| !documented.contains_key(**name)) {
        return Some(format!("the table does not have the thread {name}"));
    }
    if let Some(name) = documented.keys().find(|name| !names.contains(name)) {
        return Some(format!("no thread proves the row of {name}"));
    }
    seen.iter().find_map(|(id, thread)| {
        let ThreadStatus { name, permitted, is_confined } = thread;
        let is_confined = *is_confined;
        let Held { least, most } = documented[name];
        let is_main = *id == pid;
        // A thread that has ended may have been seen before the main thread gave privileges up.
        let is_helper = !is_main && name == MAIN;
        let is_right = is_confined && most.contains(*permitted) && permitted.contains(least);
        (!is_right && !is_helper).then(|| {
            format!("{name} has {permitted:?}, and the table {least:?}; confined: {is_confined}")
        })
    })
}

/// Compares the threads of a running process with the table until both agree, and stay so, or until
/// both differ, and stay so.
fn compare(command: &str, pid: u32) -> Result<(), String> {
    let documented = documented(command);
    let started = Instant::now();
    let mut seen = BTreeMap::new();
    let (mut latest, mut count, mut since) = (None, 0, Instant::now());
    loop {
        seen.extend(ThreadStatus::all(pid));
        let now = difference(pid, &seen, &documented);
        if now != latest || now.is_some() && seen.len() != count {
            (latest, count, since) = (now, seen.len(), Instant::now());
        }
        match &latest {
            None if since.elapsed() > slow(SETTLED) => return Ok(()),
            Some(difference)
                if since.elapsed() > slow(QUIET) || started.elapsed() > 3 * patience() =>
            {
                return Err(format!("{difference}, {:?} after its start", started.elapsed()));
            }
            _ => thread::sleep(Duration::from_micros(500)),
        }
    }
}

/// Both ends of a pipe that takes no byte. A writer waits for as long as the first end is there.
fn full_pipe() -> (PipeReader, OwnedFd) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("non-blocking");
    while writer.write(&[0; 4096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).expect("blocking");
    (reader, writer.into())
}

/// A process that is killed when the test is over.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs netmon with an output that takes nothing, and compares its threads with the table's rows of
/// `command`.
fn stalled(command: &str, arguments: &[&str]) {
    let once = || {
        let (_reader, writer) = full_pipe();
        let mut netmon = Command::new(env!("CARGO_BIN_EXE_netmon"));
        netmon.args(arguments).stdout(writer).stderr(Stdio::null());
        let child = Killed(netmon.spawn().expect("netmon starts"));
        compare(command, child.0.id())
    };
    let mut failed = String::new();
    for _ in 0..TRIES {
        match once() {
            Ok(()) => return,
            Err(difference) => failed = difference,
        }
    }
    panic!("`{command}`: {failed}");
}

/// A journal with one connection, recorded in this namespace, and a moment of the journal.
fn journal() -> (Directory, String) {
    let directory = Directory::new();
    let record = Record::start(&directory.0);
    compare("record", record.id()).unwrap_or_else(|difference| panic!("`record`: {difference}"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    drop(pair(&listener));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    // The last batch of the recorder is a second later at most.
    thread::sleep(Duration::from_secs(1));
    record.stop();
    (directory, format!("@{}.{:03}", now.as_secs(), now.subsec_millis()))
}

/// The commands that the tests below run.
const TRACING: [&str; 4] = ["watch", "record", "verify", "doctor"];
const LISTING: [&str; 5] = [
    "snapshot",
    "snapshot -r",
    "snapshot -c 1 --source bpf",
    "snapshot -c 1 --source proc",
    "snapshot --netns self",
];
const NETWORK: [&str; 8] = [
    "netstat -anp",
    "netstat -anc",
    "netstat -rn",
    "netstat -s",
    "routes",
    "routes --netns all",
    "interfaces",
    "stats",
];
const READING: [&str; 6] =
    ["history", "export", "journal check", "snapshot --at", "watch --from", "services"];
const FULL_SCREEN: [&str; 3] = ["top", "top --journal", "top --at"];

#[test]
fn every_command_of_the_table_is_tried() {
    let rows = table();
    let documented: BTreeSet<&str> =
        rows.iter().flat_map(|row| &row.commands).map(String::as_str).collect();
    let lists = [&TRACING[..], &LISTING, &NETWORK, &READING, &FULL_SCREEN];
    assert_eq!(documented, lists.concat().into_iter().collect());
}

#[test]
fn commands_that_trace_have_the_privileges_of_the_table() {
    Netns::new().run(|| {
        // `record` is tried where a journal is made.
        for command in TRACING.iter().filter(|command| **command != "record") {
            let arguments = [&[*command][..], &["--duration", "600"]].concat();
            stalled(command, if *command == "verify" { &arguments } else { &arguments[..1] });
        }
    });
}

#[test]
fn listings_have_the_privileges_of_the_table() {
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let _pair = pair(&listener);
        let _resolver = silent_resolver();
        for command in LISTING.iter().chain(&NETWORK) {
            let words: Vec<_> = command.split(' ').collect();
            if words.ends_with(&["--source", "bpf"]) && !sources().contains(&"bpf") {
                continue;
            }
            stalled(command, &words);
        }
    });
}

/// A resolver that does not answer, at the address that this host asks.
fn silent_resolver() -> UdpSocket {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let addresses = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    let address = addresses.filter_map(|address| address.trim().parse::<IpAddr>().ok()).next();
    let address = address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    if !address.is_loopback() {
        sh(&format!("ip addr add {address} dev lo"));
    }
    UdpSocket::bind((address, 53)).expect("the port of a resolver")
}

#[test]
fn readers_of_journals_have_the_privileges_of_the_table() {
    Netns::new().run(|| {
        let (journal, moment) = journal();
        let path = journal.0.to_str().expect("a path");
        for command in READING {
            let mut words: Vec<_> = command.split(' ').collect();
            match command {
                "snapshot --at" => words.push(&moment),
                "watch --from" => words.push("1h ago"),
                "export" => words.extend(["--format", "csv"]),
                _ => {}
            }
            if command != "services" {
                words.extend(["--journal", path]);
            }
            if command == "history" {
                stalled_in_terminal(command, &words);
            } else {
                stalled(command, &words);
            }
        }
    });
}

/// Runs netmon as [`stalled`] does, with a terminal as standard error.
fn stalled_in_terminal(command: &str, arguments: &[&str]) {
    let directory = Directory::new();
    let path = directory.0.join("fifo");
    sh(&format!("mkfifo {}", path.display()));
    let mut open = OpenOptions::new();
    open.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let mut fifo = open.open(&path).expect("opened");
    while fifo.write(&[0; 4096]).is_ok() {}
    let netmon = env!("CARGO_BIN_EXE_netmon");
    let script = format!("{netmon} {} >{}", arguments.join(" "), path.display());
    let terminal = Terminal::run(command, &script);
    compare(command, terminal.pid())
        .unwrap_or_else(|difference| panic!("`{command}`: {difference}"));
}

#[test]
fn the_full_screen_has_the_privileges_of_the_table() {
    Netns::new().run(|| {
        let (journal, moment) = journal();
        let path = journal.0.to_str().expect("a path");
        for (number, command) in FULL_SCREEN.into_iter().enumerate() {
            let arguments = match command {
                "top --journal" => format!("--journal {path}"),
                "top --at" => format!("--at {moment} --journal {path}"),
                _ => String::new(),
            };
            let terminal = Terminal::netmon(&format!("threads-{number}"), &arguments);
            terminal
                .until("the screen", |screen| screen.contains("LISTEN") || screen.contains("at"));
            compare(command, terminal.pid())
                .unwrap_or_else(|difference| panic!("`{command}`: {difference}"));
        }
    });
}
