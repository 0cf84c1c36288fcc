//! The programs behind connections, of processes that are gone by the time anyone asks.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::Value;

use crate::kernel::{
    harness::{Watch, here, load, patience},
    netns::{Netns, sh},
    recording::{Directory, Record, history, settle},
    tier::{Tier, sources, tier},
};
use crate::schema::object;

/// A client of the address that its first argument has: a script of bash.
pub(super) const CONNECTS: &str = "exec 3<>/dev/tcp/${0%:*}/${0##*:}";
/// The same, in a child that has not called exec.
const FORKS: &str = "(exec 3<>/dev/tcp/${0%:*}/${0##*:}; :) & wait";
/// The same, after a line on standard input.
const WAITS: &str = "read line; exec 3<>/dev/tcp/${0%:*}/${0##*:}";

pub(super) fn bash() -> PathBuf {
    fs::canonicalize("/bin/bash").expect("bash")
}

/// Ends a server on drop, also when a test panics: the server waits for a connection.
struct LastConnection<'t> {
    over: &'t AtomicBool,
    address: SocketAddr,
}

impl Drop for LastConnection<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

/// Runs `work` in a namespace with a server that closes each connection at once.
pub(super) fn with_server(work: impl FnOnce(SocketAddr) + Send) {
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    drop(listener.accept().expect("accepted"));
                }
            });
            let _last = LastConnection { over: &over, address };
            work(address);
        });
    });
}

pub(super) fn run(program: &Path, args: &[&str]) {
    assert!(Command::new(program).args(args).status().expect("a process").success());
}

/// Returns the rows of a listing of this thread's namespace.
pub(super) fn listing(args: &[&str]) -> Vec<Value> {
    let args = here(&[&["snapshot", "-lt", "--json"], args].concat());
    let output = Command::new(env!("CARGO_BIN_EXE_netmon")).args(args).output().expect("netmon");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(object).collect()
}

/// Waits for the ends of `count` connections to `address`. Returns the ends at the clients.
pub(super) fn clients(watch: &mut Watch, address: SocketAddr, count: usize) -> Vec<Value> {
    let is_it = |event: &&Value| {
        event["type"] == "closed"
            && event["remote_port"] == address.port()
            && event["direction"] == "outbound"
    };
    watch.until("the clients", |events| events.iter().filter(is_it).count() >= count);
    watch.events.iter().filter(is_it).cloned().collect()
}

/// Asserts the fields of a process. Where netmon follows no processes, none is there.
#[track_caller]
pub(super) fn assert_fields(event: &Value, fields: &[(&str, Value)]) {
    for (name, value) in fields {
        let wanted = if tier() == Tier::Basic { &Value::Null } else { value };
        assert_eq!(&event[*name], wanted, "{name} of {event:#}");
    }
}

#[test]
fn a_process_that_is_gone_is_named_with_its_arguments() {
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        let to = address.to_string();
        run(&bash(), &["-c", CONNECTS, &to, "--password=hunter2", "a b"]);
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        let line = format!("{} -c '{CONNECTS}' {to} --password=*** 'a b'", bash().display());
        assert_fields(
            client,
            &[
                ("exe", bash().to_string_lossy().into()),
                ("args", line.into()),
                ("ppid", process::id().into()),
                ("parent_exe", std::env::current_exe().expect("a path").to_string_lossy().into()),
                ("exe_deleted", Value::Null),
                ("args_cut", Value::Null),
            ],
        );
        let started = client["process_started"].as_str();
        assert_eq!(started.is_some(), tier() != Tier::Basic, "{client}");
        assert!(started <= client["time"].as_str(), "{client}");
        let listener = watch.events.iter().find(|event| event["direction"] == "inbound");
        let exe = std::env::current_exe().expect("a path");
        assert_fields(listener.expect("the server"), &[("exe", exe.to_string_lossy().into())]);
    });
}

#[test]
fn a_copy_of_a_process_has_its_program_and_a_parent() {
    with_server(|address| {
        let mut watch = Watch::start(&["--no-args"]);
        let child = Command::new(bash()).args(["-c", FORKS, &address.to_string()]).spawn();
        let mut child = child.expect("a process");
        assert!(child.wait().expect("its end").success());
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        assert_ne!(client["pid"], child.id(), "{client}");
        let exe = bash().to_string_lossy().into();
        assert_fields(client, &[("exe", exe), ("ppid", child.id().into()), ("args", Value::Null)]);
    });
}

#[test]
fn each_of_many_short_processes_is_the_right_one() {
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        let (to, count) = (address.to_string(), usize::from(load(600)));
        let numbers: Vec<_> = (0..count).map(|number| format!("number-{number}")).collect();
        // Some at a time, so that numbers of processes and CPUs mix.
        for some in numbers.chunks(10) {
            let start =
                |number: &String| Command::new(bash()).args(["-c", CONNECTS, &to, number]).spawn();
            let children: Vec<_> = some.iter().map(start).collect();
            for child in children {
                assert!(child.expect("a process").wait().expect("its end").success());
            }
        }
        let mut named: Vec<_> = clients(&mut watch, address, count)
            .iter()
            .filter_map(|client| client["args"].as_str()?.rsplit(' ').next().map(str::to_owned))
            .collect();
        named.sort();
        let mut wanted = if tier() == Tier::Basic { Vec::new() } else { numbers };
        wanted.sort();
        assert_eq!(named, wanted);
        assert!(watch.stop().contains(" 0 events lost"));
    });
}

#[test]
fn lost_records_of_processes_are_said_and_looked_for() {
    if tier() == Tier::Basic {
        return;
    }
    with_server(|address| {
        let mut watch = Watch::start(&["--buffer", "64K"]);
        let mut child = Command::new("sh");
        let script = format!("read line; exec {} -c '{WAITS}' {address}", bash().display());
        child.args(["-c", &script]).stdin(Stdio::piped());
        let mut child = child.spawn().expect("a process");
        // netmon cannot read while it is stopped, so the ring must overflow before this exec.
        watch.signal("-STOP");
        for _ in 0..200 {
            run(Path::new("/bin/true"), &[]);
        }
        let mut stdin = child.stdin.take().expect("piped");
        writeln!(stdin).expect("written");
        let end = Instant::now() + patience();
        let exe = format!("/proc/{}/exe", child.id());
        while fs::read_link(&exe).expect("its program") != bash() {
            assert!(Instant::now() < end, "sh does not call exec");
            thread::sleep(Duration::from_millis(20));
        }
        watch.signal("-CONT");
        watch.until("the loss", |events| {
            events.iter().any(|event| event["type"] == "lost" && event["reason"] == "processes")
        });
        watch.dumps(1);
        writeln!(stdin).expect("written");
        assert!(child.wait().expect("its end").success());
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        assert_fields(client, &[("exe", bash().to_string_lossy().into())]);
    });
}

#[test]
fn an_executable_in_no_directory_is_named() {
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        let memfd = memfd_create("netmon test", MemfdFlags::empty()).expect("a memfd");
        let mut file = fs::File::from(memfd);
        file.write_all(&fs::read(bash()).expect("bash")).expect("written");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        run(Path::new(&path), &["-c", CONNECTS, &address.to_string()]);
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        assert_fields(client, &[("exe", "memfd:netmon test".into()), ("exe_deleted", true.into())]);
    });
}

#[test]
fn a_path_leads_over_mounts_and_may_be_long() {
    let directory = Directory::new();
    let mount = directory.0.join("mount");
    // The last names fill what the kernel program keeps of a path.
    let long = format!("{}/{}", "d".repeat(200), "e".repeat(200));
    fs::create_dir(&mount).expect("a directory");
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        let (mount, bash) = (mount.display(), bash());
        sh(&format!(
            "unshare --mount sh -ec 'mount -t tmpfs none {mount}; mkdir -p {mount}/{long}; \
             cp {bash} {mount}/{long}/p; cp {bash} {mount}/p; \
             {mount}/p -c \"{CONNECTS}\" {address}; {mount}/{long}/p -c \"{CONNECTS}\" {address}'",
            bash = bash.display(),
            CONNECTS = CONNECTS.replace('$', "\\$"),
        ));
        let ends = clients(&mut watch, address, 2);
        assert_fields(&ends[0], &[("exe", format!("{mount}/p").into())]);
        assert_fields(&ends[1], &[("exe", format!("…/{long}/p").into())]);
    });
}

#[test]
fn processes_from_before_are_known() {
    let directory = Directory::new();
    let copy = directory.0.join("copy of bash");
    sh(&format!("cp {} '{}'", bash().display(), copy.display()));
    with_server(|address| {
        let start = |program: &Path| -> Child {
            let mut command = Command::new(program);
            command.args(["-c", WAITS, &address.to_string()]).stdin(Stdio::piped());
            command.spawn().expect("a process")
        };
        let mut children = [start(&bash()), start(&copy)];
        fs::remove_file(&copy).expect("removed");
        let mut watch = Watch::start(&[]);
        for child in &mut children {
            writeln!(child.stdin.take().expect("piped")).expect("written");
            assert!(child.wait().expect("its end").success());
        }
        let ends = clients(&mut watch, address, 2);
        let of = |child: &Child| {
            ends.iter().find(|end| end["pid"] == child.id()).expect("its connection")
        };
        let ppid = || ("ppid", process::id().into());
        let deleted = ("exe_deleted", true.into());
        let path = |path: &Path| ("exe", path.to_string_lossy().into());
        assert_fields(of(&children[0]), &[path(&bash()), ppid(), ("exe_deleted", Value::Null)]);
        assert_fields(of(&children[1]), &[path(&copy), ppid(), deleted]);
    });
}

#[test]
fn filters_take_programs_and_arguments() {
    with_server(|address| {
        let filters = [
            format!("dir = out and exe = {} and args ~ wanted", bash().display()),
            "dir = out and (exe = /no/* or args ~ ^no)".to_owned(),
        ];
        let mut watches = filters.each_ref().map(|filter| Watch::start(&[filter]));
        let to = address.to_string();
        run(&bash(), &["-c", CONNECTS, &to, "other"]);
        run(&bash(), &["-c", CONNECTS, &to, "wanted"]);
        if tier() != Tier::Basic {
            clients(&mut watches[0], address, 1);
        }
        let [found, nothing] = watches.each_mut().map(|watch| {
            watch.stop();
            watch.events.iter().filter(|event| event["type"] == "closed").count()
        });
        assert_eq!((found, nothing), (usize::from(tier() != Tier::Basic), 0));
    });
}

#[test]
fn listings_have_the_programs_of_holders() {
    with_server(|address| {
        let filter = format!("sport = :{}", address.port());
        for source in sources() {
            let rows = listing(&["-p", "--source", source, &filter]);
            let [row] = &rows[..] else { panic!("{rows:#?}") };
            let exe = std::env::current_exe().expect("a path");
            for process in [row, &row["owners"][0]] {
                assert_eq!(process["exe"], exe.to_string_lossy().as_ref(), "{row:#}");
                assert_eq!(process["ppid"], std::os::unix::process::parent_id(), "{row:#}");
                assert!(process["parent_exe"].is_string(), "{row:#}");
                assert!(process["args"].is_string() && process["process_started"].is_string());
            }
            let by_program = format!("{filter} and exe = {}", exe.display());
            assert_eq!(listing(&["--source", source, &by_program]).len(), 1);
            let by_parent =
                format!("{filter} and parent = {}", std::os::unix::process::parent_id());
            assert_eq!(listing(&["--source", source, &by_parent]).len(), 1);
            let without = listing(&["-p", "--source", source, "--no-args", &filter]);
            assert_eq!(without[0]["args"], Value::Null, "{without:#?}");
        }
    });
}

#[test]
fn a_journal_keeps_programs() {
    let directory = Directory::new();
    with_server(|address| {
        let record = Record::start(&directory.0);
        run(&bash(), &["-c", CONNECTS, &address.to_string(), "x"]);
        record.stop();
        settle(&directory);
        let exe = format!("exe = {}", bash().display());
        let by = if tier() == Tier::Basic { "comm = bash" } else { &*exe };
        let by = format!("{by} and not parent = /no/*");
        let filter = format!("dport = :{} and dir = out and {by}", address.port());
        let rows = history(&directory.0, &filter);
        let [row] = &rows[..] else { panic!("{rows:#?}") };
        let line = format!("{} -c '{CONNECTS}' {address} x", bash().display());
        assert_fields(
            row,
            &[
                ("exe", bash().to_string_lossy().into()),
                ("args", line.into()),
                ("ppid", process::id().into()),
            ],
        );
        assert!(row["pid"].is_u64());
    });
}
