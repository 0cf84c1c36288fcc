//! A running `netmon watch --json` and what it says.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::SockRef;

/// Longer than anything should take, on a slow and busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Watch {
    child: Child,
    lines: Receiver<String>,
    stderr: Receiver<String>,
    /// What a line about another namespace does not contain; nothing where all count.
    own: String,
    /// What it said until it was attached.
    pub(crate) said: String,
    pub(crate) events: Vec<Value>,
}

impl Watch {
    /// Starts `netmon -v watch --json` with more arguments, and waits until it is attached. Of what it
    /// says of sockets, that of this thread's namespace is kept: other tests make thousands.
    pub(crate) fn start(args: &[&str]) -> Self {
        let inum = fs::metadata("/proc/thread-self/ns/net").expect("a namespace").ino();
        let mut watch = Self::everywhere(args);
        watch.own = format!("\"netns\":{inum},");
        watch
    }

    /// The same, and everything is kept.
    pub(crate) fn everywhere(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
        command.args(["-v", "watch", "--json"]).args(args);
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
            said: String::new(),
            events: Vec::new(),
        };
        watch.said = watch.until_stderr("attached");
        watch
    }

    fn until_stderr(&mut self, word: &str) -> String {
        let mut said = String::new();
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => {
                    said += &line;
                    said += "\n";
                    if line.contains(word) {
                        return said;
                    }
                }
                Err(error) => panic!(
                    "netmon did not say '{word}' ({error}; kernel tests need root); it said: {said}"
                ),
            }
        }
    }

    fn take(&mut self, line: &str) {
        if line.contains(&self.own) || !line.contains("\"netns\":") {
            self.events.push(parse(line));
        }
    }

    /// Reads events until `done` holds of them.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&[Value]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(&self.events) {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line),
                Err(error) => panic!("waiting for {what}: {error}; events: {:#?}", self.events),
            }
        }
    }

    /// Reads what comes within `time`.
    pub(crate) fn during(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => panic!("netmon ended"),
            }
        }
    }

    /// Waits until the socket's transitions are exactly these: `OLD>NEW` words.
    pub(crate) fn expect(&mut self, cookie: u64, path: &str) -> Vec<Value> {
        let wanted: Vec<&str> = path.split_whitespace().collect();
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.path(cookie);
            if found == wanted {
                let events = self.of(cookie);
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
                Err(_) => panic!("socket {cookie}: expected {wanted:?}, found only {found:?}"),
            }
        }
    }

    /// The socket's transitions so far.
    pub(crate) fn of(&self, cookie: u64) -> Vec<Value> {
        let is_transition = |event: &&Value| event["type"] == "transition";
        let of_it = self.events.iter().filter(|event| event["cookie"] == cookie);
        of_it.filter(is_transition).cloned().collect()
    }

    /// What is said of the socket's last connection, once it has ended.
    pub(crate) fn closed(&mut self, cookie: u64) -> Value {
        let is_it = |event: &&Value| event["type"] == "closed" && event["cookie"] == cookie;
        self.until("a verdict", |events| events.iter().any(|event| is_it(&event)));
        self.events.iter().rfind(is_it).cloned().expect("just seen")
    }

    pub(crate) fn path(&self, cookie: u64) -> Vec<String> {
        self.of(cookie).iter().map(step).collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    }

    /// Ends it with SIGINT; what it said on stderr. Its last events are in `events`.
    pub(crate) fn stop(&mut self) -> String {
        self.signal("-INT");
        self.ended()
    }

    /// Waits for its end, which must be a success; what it said on stderr.
    pub(crate) fn ended(&mut self) -> String {
        let said: Vec<String> = drain(&self.stderr);
        for line in drain(&self.lines) {
            self.take(&line);
        }
        let status = self.child.wait().expect("its status");
        assert!(status.success(), "netmon: {status}: {said:?}");
        said.join("\n")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies the program to where others may run it. By a process of its own: what one of the tests' starts while this one
/// writes would have the file open too, and a file that is open to be written to cannot be run.
pub(crate) fn copy_program(to: &Path) {
    crate::netns::sh(&format!("cat {} > {}", env!("CARGO_BIN_EXE_netmon"), to.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("permitted");
}

fn drain(lines: &Receiver<String>) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
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

/// Every line must be a JSON object that keeps the promises made of all of them.
fn parse(line: &str) -> Value {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    assert!(event["type"].is_string() && event["time"].is_string(), "{line}");
    if event["type"] == "transition" {
        assert_ne!(event["old_state"], event["new_state"], "a same-state event: {line}");
        assert_ne!(event["pid"], 0, "{line}");
    }
    event
}

/// `OLD>NEW`.
pub(crate) fn step(event: &Value) -> String {
    let name = |key: &str| event[key].as_str().expect("a state").to_owned();
    format!("{}>{}", name("old_state"), name("new_state"))
}

pub(crate) fn cookie<'s>(socket: impl Into<SockRef<'s>>) -> u64 {
    socket.into().cookie().expect("SO_COOKIE")
}
