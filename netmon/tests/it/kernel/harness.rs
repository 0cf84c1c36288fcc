//! A running `netmon watch --json` and its output.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) use crate::kernel::tier::cookie;
use crate::kernel::tier::{arguments, identify_all, netns};
use crate::schema::object;

/// The variable with the factor by which the tests may wait longer than on the machine where they
/// were written. `cargo xtask vm` sets it for emulated machines.
const PATIENCE: &str = "NETMON_TEST_PATIENCE";

static FACTOR: LazyLock<u32> = LazyLock::new(|| {
    let Ok(text) = env::var(PATIENCE) else { return 1 };
    text.parse().unwrap_or_else(|error| panic!("{PATIENCE}={text}: {error}"))
});

/// `time`, or longer on a slower machine.
pub(crate) fn slow(time: Duration) -> Duration {
    time * *FACTOR
}

/// `count` units of load, or fewer on a slower machine, where they take as long.
pub(crate) fn load(count: u16) -> u16 {
    count / u16::try_from(*FACTOR).unwrap_or(u16::MAX).clamp(1, 5)
}

/// A time longer than anything should take, also on a slow and busy machine.
pub(crate) fn patience() -> Duration {
    slow(Duration::from_secs(30))
}

/// A time longer than that between two dumps. Dumps may use 2 % of a core. While other tests hold
/// thousands of sockets, a dump takes 400 ms, and the next dump follows after half a minute.
const BETWEEN_DUMPS: Duration = Duration::from_secs(60);

/// Returns whether every warning is about processes or namespaces of others. Root may not be able
/// to look into a container's first process, nor into a namespace that only a socket of a test
/// beside this one keeps.
pub(crate) fn is_about_others(stderr: &str) -> bool {
    let ends = ["run it on the host", "a security module", "no process, name or mount"];
    stderr.lines().all(|line| ends.iter().any(|end| line.contains(end)))
}

/// Shows the threads of a test that the test is over, also when the test has failed: the threads
/// would keep it from ending.
pub(crate) struct Over<'t>(pub(crate) &'t AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Closes `first`, waits until `second` has read the end of the stream, and closes `second`. A
/// program that another test is starting may hold `first` a moment longer, and a FIN may be on its
/// way for a while.
pub(crate) fn close_in_turn<T>(first: T, mut second: TcpStream) {
    drop(first);
    assert_eq!(second.read(&mut [0]).expect("the end of the stream"), 0);
}

pub(crate) struct Watch {
    child: Child,
    lines: Receiver<String>,
    stderr: Receiver<String>,
    /// A text that is in lines about this namespace only. Empty when all namespaces count.
    own: String,
    /// The standard error of netmon until it was attached.
    pub(crate) attach_log: String,
    pub(crate) events: Vec<Value>,
    /// The number of events that have been identified, and of cookies that were asked for by then.
    identified: (usize, usize),
}

impl Watch {
    /// Starts `netmon -v watch --json` with more arguments, and waits until it is attached. Keeps
    /// only lines about sockets of this thread's namespace: other tests make thousands of sockets.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut watch = Self::everywhere(args);
        watch.own = format!("\"netns\":{},", netns());
        watch
    }

    /// Starts netmon like [`Self::start`], and keeps all lines.
    pub(crate) fn everywhere(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
        command.args(["-v", "watch", "--json"]).args(arguments()).args(args);
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("netmon starts");
        let lines = follow(child.stdout.take().expect("stdout"));
        let stderr = follow(child.stderr.take().expect("stderr"));
        let mut watch = Self {
            child,
            lines,
            stderr,
            own: String::new(),
            attach_log: String::new(),
            events: Vec::new(),
            identified: (0, 0),
        };
        watch.attach_log = watch.until_stderr("attached", patience());
        watch
    }

    /// Reads the standard error of netmon until a line has `word`. Returns the lines so far.
    pub(crate) fn until_stderr(&mut self, word: &str, patience: Duration) -> String {
        let mut log = String::new();
        loop {
            match self.stderr.recv_timeout(patience) {
                Ok(line) => {
                    log += &line;
                    log += "\n";
                    if line.contains(word) {
                        return log;
                    }
                }
                Err(error) => panic!(
                    "netmon did not print '{word}' ({error}; kernel tests need root), but: {log}"
                ),
            }
        }
    }

    /// Waits for `count` dumps that begin from now on, and for the events that they lead to.
    pub(crate) fn dumps(&mut self, count: usize) {
        while self.stderr.try_recv().is_ok() {}
        // The first dump to end may have begun before.
        for _ in 0..=count {
            self.until_stderr("compared with the kernel's tables", BETWEEN_DUMPS);
        }
        self.during(slow(Duration::from_millis(100)));
    }

    fn take(&mut self, line: &str) {
        if line.contains(&self.own) || !line.contains("\"netns\":") {
            self.events.push(parse(line));
        }
    }

    /// Reads events until `done` holds of them.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&[Value]) -> bool) {
        let end = Instant::now() + patience();
        while {
            self.identify();
            !done(&self.events)
        } {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line),
                Err(error) => panic!(
                    "waiting for {what}: {error}; of {} events the last: {:#?}",
                    self.events.len(),
                    self.events.iter().rev().take(20).collect::<Vec<_>>()
                ),
            }
        }
    }

    /// Reads the events that come within `time`.
    pub(crate) fn during(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line),
                Err(RecvTimeoutError::Timeout) => return self.identify(),
                Err(RecvTimeoutError::Disconnected) => panic!("netmon ended"),
            }
        }
    }

    fn identify(&mut self) {
        identify_all(&mut self.events, &mut self.identified);
    }

    /// Waits until the socket's transitions are exactly `path`, words such as `OLD>NEW`. Returns
    /// the transitions.
    pub(crate) fn expect(&mut self, cookie: u64, path: &str) -> Vec<Value> {
        let wanted: Vec<&str> = path.split_whitespace().collect();
        let end = Instant::now() + patience();
        loop {
            self.identify();
            let found = self.path(cookie);
            if found == wanted {
                let events = self.transitions(cookie);
                let has_port = |event: &Value| event["local_port"].as_u64() > Some(0);
                assert!(events.iter().all(has_port), "{events:#?}");
                return events;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                wanted.iter().zip(&found).all(|(a, b)| a == b) && found.len() < wanted.len(),
                "socket {cookie}: expected {wanted:?}, found {found:?}"
            );
            match self.lines.recv_timeout(left) {
                Ok(line) => self.take(&line),
                Err(_) => panic!(
                    "socket {cookie}: expected {wanted:?}, found only {found:?}; netmon: {:#?}",
                    self.stderr.try_iter().collect::<Vec<_>>()
                ),
            }
        }
    }

    /// The socket's transitions so far.
    pub(crate) fn transitions(&self, cookie: u64) -> Vec<Value> {
        let is_transition = |event: &&Value| event["type"] == "transition";
        let events = self.events.iter().filter(|event| event["cookie"] == cookie);
        events.filter(is_transition).cloned().collect()
    }

    /// Returns whether a connection of the socket has ended.
    pub(crate) fn has_closed(&self, cookie: u64) -> bool {
        self.events.iter().any(|event| event["type"] == "closed" && event["cookie"] == cookie)
    }

    /// Waits for the end of the socket's last connection. Returns the event of type `closed`.
    pub(crate) fn closed(&mut self, cookie: u64) -> Value {
        let is_it = |event: &&Value| event["type"] == "closed" && event["cookie"] == cookie;
        self.until("a verdict", |events| events.iter().any(|event| is_it(&event)));
        self.events.iter().rfind(is_it).cloned().expect("just seen")
    }

    pub(crate) fn path(&self, cookie: u64) -> Vec<String> {
        self.transitions(cookie).iter().map(step).collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    }

    /// Ends netmon with SIGINT. Returns its standard error. Its last events are in `events`.
    pub(crate) fn stop(&mut self) -> String {
        self.signal("-INT");
        self.ended()
    }

    /// Waits for the end of netmon, which must be a success. Returns its standard error.
    pub(crate) fn ended(&mut self) -> String {
        let stderr: Vec<String> = drain(&self.stderr);
        for line in drain(&self.lines) {
            self.take(&line);
        }
        self.identify();
        let status = self.child.wait().expect("its status");
        assert!(status.success(), "netmon: {status}: {stderr:?}");
        stderr.join("\n")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the arguments of a listing that has this thread's namespace alone, unless the arguments
/// choose namespaces: other tests make thousands of sockets.
pub(crate) fn here<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let chooses = args.iter().any(|arg| arg.contains("netns"));
    let own: &[&str] = if chooses { &[] } else { &["--netns", "self"] };
    [args, own].concat()
}

/// Copies the program to a place where other users may run it. A process of its own writes the
/// copy: a program that a test starts while this process writes would have the file open too, and a
/// file that is open for writing cannot be run.
pub(crate) fn copy_program(to: &Path) {
    crate::kernel::netns::sh(&format!("cat {} > {}", env!("CARGO_BIN_EXE_netmon"), to.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("permitted");
}

fn drain(lines: &Receiver<String>) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(patience()) {
            Ok(line) => all.push(line),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => panic!("netmon does not end; so far: {all:?}"),
        }
    }
}

fn follow(from: impl Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            if to.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Parses a line, which must be a JSON object that keeps the promises about all lines.
fn parse(line: &str) -> Value {
    let event = object(line);
    if event["type"] == "transition" {
        assert_ne!(event["old_state"], event["new_state"], "a same-state event: {line}");
        assert_ne!(event["pid"], 0, "{line}");
    }
    event
}

/// The transition of an event as `OLD>NEW`.
pub(crate) fn step(event: &Value) -> String {
    let name = |key: &str| event[key].as_str().expect("a state").to_owned();
    format!("{}>{}", name("old_state"), name("new_state"))
}

/// The kernel's version, which decides the events that it reports.
pub(crate) fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().expect("a number"));
    (numbers.next().expect("a version"), numbers.next().expect("a minor one"))
}
