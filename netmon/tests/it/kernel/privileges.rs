//! netmon with the capabilities of docs/privileges.md, and without each of them.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use netmon::testing::CAPABILITIES;
use rustix::thread::CapabilitySet;
use serde_json::Value;

use crate::kernel::{
    harness::{Watch, cookie, copy_program, here, kernel},
    netns::Netns,
    recording::{Directory, Record, history, run},
    threads::ThreadStatus,
    tier::{Tier, has_iterators, sources, tier},
};

/// The user that owns nothing.
const UNPRIVILEGED: u32 = 65_534;
/// The capabilities that tracing takes.
const TRACING: [&str; 2] = ["bpf", "perfmon"];
/// The capabilities that tracing, owners and other namespaces take.
const ALL: [&str; 5] = ["bpf", "perfmon", "sys_admin", "sys_ptrace", "dac_read_search"];

/// A copy of the program in a directory where every user may run it.
struct Public(Directory);

impl Public {
    fn new() -> Self {
        let directory = Directory::new();
        copy_program(&directory.0.join("netmon"));
        fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).expect("permitted");
        Self(directory)
    }

    /// A command that runs netmon as another user with exactly these capabilities.
    fn with(&self, capabilities: &[&str], args: &[&str]) -> Command {
        let mut command = as_unprivileged(capabilities);
        command.arg(self.0.0.join("netmon")).args(args);
        // netmon must refuse this variable for every user but root.
        command.env_remove("NETMON_EBPF_OBJECT");
        command
    }

    fn output(&self, capabilities: &[&str], args: &[&str]) -> Output {
        self.with(capabilities, args).output().expect("setpriv (util-linux)")
    }

    /// A directory for a journal that belongs to `uid`, and that no other user may look into.
    fn journal(&self, uid: u32) -> PathBuf {
        let path = self.0.0.join(format!("journal-{uid}"));
        fs::create_dir(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("permitted");
        chown(&path, Some(uid), Some(uid)).expect("given away");
        path
    }
}

fn as_unprivileged(capabilities: &[&str]) -> Command {
    let listed: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let mut command = Command::new("prlimit");
    // Before Linux 5.11 the memory of BPF counts as locked memory: see docs/privileges.md.
    if kernel() < (5, 11) {
        command.arg("--memlock=unlimited:unlimited");
    }
    command
        .arg("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(format!("--inh-caps=-all{listed}"))
        .arg(format!("--ambient-caps=-all{listed}"))
        .arg(format!("--bounding-set=-all{listed}"));
    command
}

fn all_but(missing: &str) -> Vec<&'static str> {
    ALL.into_iter().filter(|name| *name != missing).collect()
}

/// The capabilities that a thread may have once hooks are attached, where there are iterators.
fn attached() -> CapabilitySet {
    let set = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE;
    if kernel() < (6, 0) { set | CapabilitySet::BPF | CapabilitySet::DAC_READ_SEARCH } else { set }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The name of each thread, and its capabilities, permitted and effective alike.
fn threads(pid: u32) -> Vec<(String, CapabilitySet)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    // Threads that dump come and go.
    tasks.flatten().filter_map(|task| thread(&task.path())).collect()
}

fn thread(task: &Path) -> Option<(String, CapabilitySet)> {
    let ThreadStatus { name, permitted, is_confined } = ThreadStatus::read(task)?;
    assert!(is_confined, "{name}");
    Some((name, permitted))
}

/// Asserts that no thread of `pid` has more capabilities than its duties take.
fn assert_narrow(pid: u32, journal: CapabilitySet) {
    let threads = threads(pid);
    for (name, held) in &threads {
        let most = match name.as_str() {
            "netmon:signals" => CapabilitySet::empty(),
            "netmon:journal" | "netmon:sync" | "netmon:parquet" => journal,
            _ => attached(),
        };
        assert!(most.contains(*held), "{name} has {held:?}");
    }
    assert!(
        threads.len() > 1 && threads.contains(&("netmon".to_owned(), attached())),
        "{threads:?}"
    );
}

#[test]
fn watch_knows_everything_with_the_documented_capabilities() {
    let public = Public::new();
    let (own, other) = (Netns::new(), Netns::new());
    own.run(|| {
        // Both listeners are older than netmon, and root's.
        let here = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let there = other.run(|| TcpListener::bind("127.0.0.1:0").expect("a listener"));
        let mut watch = Watch::spawn(public.with(&ALL, &["-v", "watch", "--json", "--initial"]));
        assert!(!watch.attach_log.contains("takes CAP_"), "{}", watch.attach_log);
        assert_narrow(watch.id(), CapabilitySet::empty());
        let client = TcpStream::connect(here.local_addr().expect("bound")).expect("connected");
        let (server, _) = here.accept().expect("accepted");
        for socket in [&client, &server] {
            let id = cookie(socket);
            watch.until("the connection", |events| {
                events.iter().filter(|event| event["cookie"] == id).count() >= 2
            });
            let events = watch.transitions(id);
            assert!(events.iter().all(|event| event["pid"] == std::process::id()), "{events:#?}");
        }
        for (listener, netns) in [(&here, own.inum), (&there, other.inum)] {
            let id = cookie(listener);
            let is_it = |event: &&Value| event["type"] == "connection" && event["cookie"] == id;
            let seed = watch.events.iter().find(is_it).expect("it was there");
            assert_eq!((&seed["netns"], &seed["state"]), (&netns.into(), &"LISTEN".into()));
            assert_eq!(seed["pid"], std::process::id(), "{seed:#?}");
        }
        // A connect without an answer has its port from a kernel program that is run on request.
        let _wire = crate::kernel::peer::Wire::new();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_nonblocking(true).expect("non-blocking");
        let absent: std::net::SocketAddr = "10.9.0.77:80".parse().expect("an address");
        assert!(socket.connect(&absent.into()).is_err());
        let events = watch.expect(cookie(&socket), "CLOSE>SYN_SENT");
        assert!(events[0]["local_port"].as_u64() > Some(0), "{events:#?}");
        let stderr = watch.stop();
        assert!(!stderr.contains("WARN") && stderr.contains(" 0 events lost"), "{stderr}");
    });
}

/// The end of the warning about sockets without a cookie.
const NO_COOKIE: &str = "are left out until they change their state";

#[test]
fn a_missing_capability_is_reported_once_by_name() {
    let public = Public::new();
    let other = Netns::new();
    let run = |missing: &str, args: &[&str]| {
        let output = public.output(&all_but(missing), args);
        (output.status.code(), text(&output.stderr))
    };
    Netns::new().run(|| {
        let _there = other.run(|| TcpListener::bind("127.0.0.1:0").expect("a listener"));
        // netmon traces nothing without CAP_BPF and CAP_PERFMON. CAP_SYS_ADMIN contains both.
        for missing in TRACING {
            let held: Vec<_> = TRACING.into_iter().filter(|name| *name != missing).collect();
            let output = public.output(&held, &["watch", "--duration", "1"]);
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            let name = format!("CAP_{}", missing.to_uppercase());
            assert!(stderr.contains(&format!("takes {name}, which")), "{stderr}");
            let (code, stderr) = run(missing, &["watch", "--duration", "1"]);
            assert_eq!(code, Some(0), "{stderr}");
        }
        for missing in ["sys_admin", "sys_ptrace"] {
            let name = format!("CAP_{}", missing.to_uppercase());
            for args in [
                // Long enough for three dumps.
                &["watch", "--duration", "6"][..],
                &["snapshot", "-t", "--netns", "all", "--source", sources()[0]],
                &["snapshot", "-t", "--netns", "all", "--source", "proc"],
            ] {
                let (code, stderr) = run(missing, args);
                if tier() == Tier::Basic && args[0] == "watch" && missing == "sys_admin" {
                    // The classic tracepoints take tracefs, which is not mounted.
                    assert_eq!(code, Some(1), "{stderr}");
                    assert!(stderr.contains("mount -t tracefs"), "{stderr}");
                    continue;
                }
                assert_eq!(code, Some(0), "{args:?}: {stderr}");
                let sentences = stderr.lines().filter(|line| line.contains("that takes"));
                // A walk over the kernel's tables needs no way into a namespace, and Linux 6.18
                // opens a namespace without a look at its processes.
                let walks = has_iterators() && kernel() >= (6, 1) && !args.contains(&"proc");
                let opens = kernel() >= (6, 18) && missing == "sys_ptrace";
                // Half-open connections and orphans have no cookie, and take a way into their
                // namespace. Other programs may have some.
                let sentences = sentences.filter(|line| !walks || !line.contains(NO_COOKIE));
                if walks && (args[0] == "watch" || opens) {
                    assert_eq!(sentences.count(), 0, "{args:?}: {stderr}");
                    continue;
                }
                // Where owners come from `/proc`, a watch misses owners as well, and reports that.
                let is_about = |line: &&str| has_iterators() || line.contains("network namespace");
                let sentences: Vec<_> = sentences.filter(is_about).collect();
                // Processes that hide their namespaces name none. A namespace without a name may be
                // another test's.
                let least = usize::from(missing == "sys_admin");
                assert!((least..=1).contains(&sentences.len()), "{args:?}: {stderr}");
                for sentence in sentences {
                    assert!(sentence.contains("network namespace"), "{sentence}");
                    assert!(
                        sentence.contains(&format!("that takes {name}: use sudo")),
                        "{sentence}"
                    );
                }
            }
        }
        for missing in ["sys_ptrace", "dac_read_search"] {
            let (code, stderr) = run(missing, &["snapshot", "-tap", "--source", "proc"]);
            assert_eq!(code, Some(0), "{stderr}");
            let name = format!("CAP_{}", missing.to_uppercase());
            assert!(stderr.contains("no owner here, since"), "{stderr}");
            assert!(stderr.contains(&format!("that takes {name}: use sudo")), "{stderr}");
        }
        if !has_iterators() {
            return;
        }
        // With iterators these commands see everything.
        for args in [&["snapshot", "-tap", "--source", "bpf"][..], &["watch", "--duration", "1"]] {
            let (code, stderr) = run("dac_read_search", args);
            assert_eq!(code, Some(0), "{stderr}");
            assert!(!stderr.contains("that takes"), "{stderr}");
        }
    });
}

#[test]
fn a_listing_has_the_owners_of_others_either_way() {
    let public = Public::new();
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("bound").port();
        let owner = format!(" {}/", std::process::id());
        for (held, source) in [(&TRACING[..], "bpf"), (&["sys_ptrace", "dac_read_search"], "proc")]
        {
            if !sources().contains(&source) {
                continue;
            }
            let output = public.output(held, &here(&["snapshot", "-tanpH", "--source", source]));
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert!(!text(&output.stderr).contains("that takes"), "{}", text(&output.stderr));
            let listed = text(&output.stdout);
            let line = listed.lines().find(|line| line.contains(&format!(":{port} ")));
            assert!(line.is_some_and(|line| line.contains(&owner)), "{source}: {listed}");
        }
    });
}

#[test]
fn a_journal_is_recorded_and_read_by_another_user() {
    let public = Public::new();
    let journal = public.journal(UNPRIVILEGED);
    let path = journal.to_str().expect("a path");
    Netns::new().run(|| {
        let record = Record::spawn(public.with(&ALL, &["-v", "record", "--journal", path]));
        assert_narrow(record.id(), CapabilitySet::empty());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let to = listener.local_addr().expect("bound");
        let client = TcpStream::connect(to).expect("connected");
        drop((listener.accept().expect("accepted"), client));
        let stderr = record.stop();
        assert!(stderr.contains(" 0 events lost"), "{stderr}");
        let filter = format!("dport = :{}", to.port());
        let output = public.output(&[], &["history", "--json", &filter, "--journal", path]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let row: Value = serde_json::from_slice(&output.stdout).expect("one connection");
        assert_eq!(row["pid"], std::process::id(), "{row:#?}");
    });
}

#[test]
fn a_journal_is_written_by_its_owner_only_and_without_privileges() {
    let public = Public::new();
    let journal = public.journal(0).join("new");
    // The second recorder finds a journal.
    for _ in 0..2 {
        let record = Record::start(&journal);
        assert_narrow(record.id(), CapabilitySet::empty());
        let all = threads(record.id());
        let writes = all.iter().filter(|(name, _)| name == "netmon:journal").map(|(_, held)| *held);
        // One waits for the other, its helper.
        assert_eq!(writes.collect::<Vec<_>>(), [CapabilitySet::empty(); 2], "{all:?}");
        let stderr = record.stop();
        assert!(!stderr.contains("WARN"), "{stderr}");
    }
    history(&journal, "");
    let theirs = public.journal(UNPRIVILEGED);
    let output = run(&["record", "--duration", "1", "--journal"], &theirs);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("belongs to user {UNPRIVILEGED}")), "{stderr}");
    assert_eq!(fs::read_dir(&theirs).expect("theirs").count(), 0);
    let journal = public.0.0.join("roots");
    let path = journal.to_str().expect("a path");
    let output = public.output(&ALL, &["record", "--duration", "1", "--journal", path]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("may not write there: choose another --journal"), "{stderr}");
}

#[test]
fn threads_of_root_have_no_more_than_is_documented() {
    let mut watch = Watch::start(&[]);
    assert_narrow(watch.id(), CapabilitySet::empty());
    watch.stop();
    // The table documents the same capabilities.
    for known in &CAPABILITIES {
        let is_kept = known.kept == "throughout";
        assert_eq!(is_kept, ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"].contains(&known.name));
    }
}

#[test]
fn no_process_gets_in_through_a_thread_that_has_given_everything_up() {
    let public = Public::new();
    let watch = Watch::spawn(public.with(&ALL, &["-v", "watch", "--json"]));
    let open = |task: &Path| {
        let script = format!("exec 3<>{}/mem", task.display());
        let output = as_unprivileged(&[]).args(["bash", "-c", &script]).output().expect("bash");
        (output.status.success(), text(&output.stderr))
    };
    let tasks = fs::read_dir(format!("/proc/{}/task", watch.id())).expect("its threads");
    let is_idle = |task: &PathBuf| thread(task).is_some_and(|(_, held)| held.is_empty());
    let idle: Vec<PathBuf> = tasks.flatten().map(|task| task.path()).filter(is_idle).collect();
    assert!(!idle.is_empty());
    for task in idle {
        let (is_open, stderr) = open(&task);
        assert!(!is_open && stderr.contains("ermission denied"), "{}: {stderr}", task.display());
    }
    let (is_open, stderr) = open(Path::new("/proc/self"));
    assert!(is_open, "{stderr}");
}

#[test]
fn a_limit_on_locked_memory_matters_before_linux_5_11_only_and_then_is_named() {
    let public = Public::new();
    let args = ["watch", "--duration", "1"];
    let permitted = public.with(&ALL, &args);
    // This limit replaces the limit of `permitted`, if there is one.
    let setpriv = permitted.get_args().skip_while(|argument| *argument != "setpriv");
    let mut command = Command::new("prlimit");
    command.arg("--memlock=0").args(setpriv);
    let output = command.env_remove("NETMON_EBPF_OBJECT").output().expect("prlimit (util-linux)");
    let stderr = text(&output.stderr);
    if rustix::system::uname().release().to_bytes().starts_with(b"5.10.") {
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("`ulimit -l unlimited`"), "{stderr}");
    } else {
        assert!(output.status.success(), "{stderr}");
    }
}
