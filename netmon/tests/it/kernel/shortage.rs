//! A process or a host that runs out of descriptors or threads: netmon goes on, and catches up.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::kernel::{
    harness::{Watch, cookie, slow},
    netns::{Netns, sh},
    recording::{Directory, Record},
};

const OPENED: &str = "CLOSE>SYN_SENT SYN_SENT>ESTABLISHED ";
const FAILED: &str = "cannot compare with the kernel's tables: ";

/// Lets the process have `most` descriptors, or as many as this process may have.
fn limit_descriptors(process: u32, most: Option<u64>) {
    let process = Pid::from_raw(process.try_into().expect("a process id"));
    let own = getrlimit(Resource::Nofile);
    let current = most.or(own.current);
    prlimit(process, Resource::Nofile, Rlimit { current, ..own }).expect("prlimit");
}

/// One more than the highest descriptor of the process.
fn descriptors(process: u32) -> u64 {
    let files = fs::read_dir(format!("/proc/{process}/fd")).expect("/proc").flatten();
    let numbers = files.filter_map(|file| file.file_name().to_str()?.parse::<u64>().ok());
    numbers.max().expect("some") + 1
}

/// Opens a connection, which must be reported. Returns both of its ends.
fn connection(watch: &mut Watch) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    watch.expect(cookie(&client), OPENED);
    (client, listener.accept().expect("accepted").0)
}

#[test]
fn a_process_without_a_descriptor_is_followed_and_dumps_resume() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        watch.dumps(1);
        limit_descriptors(watch.id(), Some(3));
        let _first = connection(&mut watch);
        let log = watch.until_stderr(FAILED, slow(Duration::from_secs(60)));
        assert!(log.contains("this process may open no more files (EMFILE): raise"), "{log}");
        let _second = connection(&mut watch);
        // Meanwhile the output must not look as if the table were compared.
        watch.during(Duration::from_secs(10));
        watch.until("word that comparisons are rare", |events| {
            let distances = events.iter().filter_map(|event| event["distance_us"].as_u64());
            distances.into_iter().any(|distance| distance > 10_000_000)
        });
        limit_descriptors(watch.id(), None);
        watch.dumps(1);
        let _third = connection(&mut watch);
        let stderr = watch.stop();
        assert!(!stderr.contains("cannot read the counts"), "{stderr}");
    });
}

#[test]
fn a_dump_has_descriptors_of_its_own() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&["-v"]);
        watch.dumps(1);
        limit_descriptors(watch.id(), Some(descriptors(watch.id())));
        let _connection = connection(&mut watch);
        watch.dumps(2);
        let stderr = watch.stop();
        assert!(!stderr.contains(FAILED), "{stderr}");
    });
}

/// A cgroup that limits the number of threads, removed on drop.
struct ThreadLimit(PathBuf);

impl ThreadLimit {
    /// Makes a cgroup where the host has the controller, or in a hierarchy of its own.
    fn new(scratch: &Path) -> Self {
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc");
        let place = |is_it: &dyn Fn(&[&str]) -> bool| {
            let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            words.filter(|words| is_it(words)).map(|words| PathBuf::from(words[1])).next()
        };
        let old = |words: &[&str]| words[2] == "cgroup" && words[3].split(',').any(|w| w == "pids");
        let has_pids = |words: &[&str]| {
            let controllers = Path::new(words[1]).join("cgroup.controllers");
            let controllers = fs::read_to_string(controllers).unwrap_or_default();
            words[2] == "cgroup2" && controllers.split_whitespace().any(|word| word == "pids")
        };
        let root = place(&old).or_else(|| place(&has_pids)).unwrap_or_else(|| {
            sh(&format!("mount -t cgroup2 none {}", scratch.display()));
            scratch.to_owned()
        });
        if root.join("cgroup.subtree_control").exists() {
            fs::write(root.join("cgroup.subtree_control"), "+pids").expect("the controller");
        }
        let path = root.join(scratch.file_name().expect("a name of its own"));
        fs::create_dir(&path).expect("a cgroup");
        Self(path)
    }

    fn take(&self, process: u32) {
        fs::write(self.0.join("cgroup.procs"), process.to_string()).expect("moved");
    }

    /// Permits so many threads more than there are.
    fn permit(&self, more: Option<u64>) {
        let now = fs::read_to_string(self.0.join("pids.current")).expect("a number");
        let now: u64 = now.trim().parse().expect("a number");
        let most = more.map_or_else(|| "max".to_owned(), |more| (now + more).to_string());
        fs::write(self.0.join("pids.max"), most).expect("a limit");
    }
}

impl Drop for ThreadLimit {
    fn drop(&mut self) {
        // The kernel may still be ending the threads of the cgroup.
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_recorder_that_may_start_no_thread_goes_on_and_dumps_resume() {
    Netns::new().run(|| {
        let (journal, scratch) = (Directory::new(), Directory::new());
        let limit = ThreadLimit::new(&scratch.0);
        let mut record = Record::start(&journal.0);
        record.until("compared with the kernel's tables");
        limit.take(record.id());
        limit.permit(Some(0));
        record.until(FAILED);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("bound").port();
        drop(TcpStream::connect(("127.0.0.1", port)).expect("connected"));
        limit.permit(None);
        record.until("compared with the kernel's tables");
        let stderr = record.stop();
        assert!(stderr.contains("no more threads can start (EAGAIN): raise pids.max"), "{stderr}");
        let warnings = stderr.lines().filter(|line| line.contains(FAILED) && line.contains("WARN"));
        assert_eq!(warnings.count(), 1, "once: {stderr}");
        let history = Command::new(env!("CARGO_BIN_EXE_netmon"))
            .args(["history", "--journal"])
            .arg(&journal.0)
            .arg(format!("dport = :{port}"))
            .output()
            .expect("netmon");
        let text = String::from_utf8_lossy(&history.stdout).into_owned();
        assert!(text.contains(&format!(":{port}")), "{text}");
    });
}

#[test]
fn an_error_at_the_start_says_what_ran_out() {
    let limited = |limit: &str| {
        let netmon = env!("CARGO_BIN_EXE_netmon");
        let script = format!("{limit}; exec {netmon} watch --duration 1s");
        let output = Command::new("sh").args(["-c", &script]).output().expect("sh");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // Enough for tokio, which panics with fewer, and too few for the programs of any tier.
    for most in 9..24 {
        let stderr = limited(&format!("ulimit -n {most}"));
        assert!(stderr.contains("may open no more files (EMFILE): raise its limit"), "{stderr}");
        assert!(!stderr.contains("needs Linux"), "{stderr}");
    }
    let scratch = Directory::new();
    let limit = ThreadLimit::new(&scratch.0);
    for most in 1..4 {
        limit.permit(Some(most));
        let stderr = limited(&format!("echo $$ > {}/cgroup.procs", limit.0.display()));
        assert!(stderr.contains("no more threads can start (EAGAIN): raise pids.max"), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}
