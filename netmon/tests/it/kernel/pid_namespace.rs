//! netmon in a pid namespace, as in a container: each process has one number, which `ps` there
//! shows too.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::MetadataExt,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::kernel::{
    harness::{Watch, cookie, here},
    netns::{Netns, sh},
    recording::{Directory, Record, history, objects},
    tier::{Tier, arguments, has_types, netns, sources, tier},
};
use crate::schema::object;

const CLIENT: &str = "CLOSE>SYN_SENT SYN_SENT>ESTABLISHED ";

/// A program that listens, and prints its number and its port. For each line of its input it
/// accepts a connection, which for `connect` is one of its own.
const SERVER: &str = r#"
    $| = 1;
    socket my $l, 2, 1, 0 or die;
    bind $l, pack "S n a4 x8", 2, 0, "\x7f\0\0\1" or die;
    listen $l, 9 or die;
    my (undef, $port) = unpack "S n", getsockname $l;
    print "$$ $port\n";
    while (my $line = <STDIN>) {
        if ($line eq "connect\n") {
            socket my $c, 2, 1, 0 or die;
            connect $c, getsockname $l or die;
            push @held, $c;
        }
        accept my $a, $l or die;
        push @held, $a;
        print "accepted\n";
    }
"#;

/// A pid namespace, which its first process holds.
struct PidNamespace {
    holder: Child,
    /// The first process, by its number on the host.
    first: u32,
}

impl PidNamespace {
    /// Makes a namespace with a `/proc` of its own.
    fn new() -> Self {
        Self::of(Command::new("unshare"), &["--mount-proc"])
    }

    fn of(mut unshare: Command, args: &[&str]) -> Self {
        let mut holder = unshare
            .args(["--pid", "--fork", "--kill-child"])
            .args(args)
            .args(["sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux)");
        let stdout = holder.stdout.take().expect("stdout");
        assert_eq!(line(&mut BufReader::new(stdout)), "ready\n", "a pid namespace takes root");
        let first = last_child(holder.id());
        Self { holder, first }
    }

    /// Returns a command that runs a program in the namespace.
    fn enter(&self, program: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        let of_first = |kind| format!("/proc/{}/ns/{kind}", self.first);
        nsenter.arg(format!("--pid={}", of_first("pid")));
        nsenter.arg(format!("--mount={}", of_first("mnt"))).arg(program);
        nsenter
    }

    fn netmon(&self, command: &str) -> Command {
        let mut netmon = self.enter(env!("CARGO_BIN_EXE_netmon"));
        netmon.args(["-v", command]).args(arguments());
        netmon
    }

    /// Watches this thread's network namespace, with the connections of before.
    fn watch(&self, filter: &str) -> Watch {
        let mut command = self.netmon("watch");
        command.args(["--json", "--initial", &format!("netns = {} {filter}", netns())]);
        Watch::spawn(command)
    }

    /// Returns the objects that netmon writes in the namespace.
    fn objects(&self, args: &[&str]) -> Vec<Value> {
        let output = self.enter(env!("CARGO_BIN_EXE_netmon")).args(args).output().expect("netmon");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(object).collect()
    }

    /// Returns the number of a process by `ps` in the namespace, where that process has this name.
    fn number(&self, name: &str) -> u32 {
        let ps = self.enter("ps").args(["-eo", "pid=,comm="]).output().expect("ps");
        let text = String::from_utf8(ps.stdout).expect("text");
        let words = text.lines().filter_map(|line| line.trim().split_once(' '));
        let (pid, _) = words.into_iter().find(|(_, comm)| *comm == name).expect(&text);
        pid.parse().expect("a number")
    }

    fn inum(&self) -> u64 {
        fs::metadata(format!("/proc/{}/ns/pid", self.first)).expect("a namespace").ino()
    }
}

impl Drop for PidNamespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line
}

/// Returns the last of the processes that a process has begun, and so on to the last without one.
fn last_child(parent: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.expect("CONFIG_PROC_CHILDREN");
    let last = children.split_ascii_whitespace().last();
    last.map_or(parent, |child| last_child(child.parse().expect("a number")))
}

/// A running [`SERVER`].
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    /// The number that the server has in its own namespace.
    pid: u32,
    host_pid: u32,
    port: u16,
}

impl Server {
    fn start(namespace: &PidNamespace) -> Self {
        let mut child = namespace
            .enter("perl")
            .args(["-e", SERVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl");
        let mut output = BufReader::new(child.stdout.take().expect("stdout"));
        let words = line(&mut output);
        let (pid, port) = words.trim().split_once(' ').expect("two numbers");
        let (pid, port) = (pid.parse().expect("a number"), port.parse().expect("a port"));
        let host_pid = last_child(child.id());
        assert_ne!(pid, host_pid, "another number than on the host");
        Self { child, output, pid, host_pid, port }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.child.stdin.as_ref().expect("stdin"), "{order}").expect("it listens");
        assert_eq!(line(&mut self.output), "accepted\n");
    }

    /// Returns a connection of this process to the server.
    fn client(&mut self) -> TcpStream {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("connected");
        self.order("accept");
        client
    }

    /// Returns an event of the server's end of a connection, or of its end of the other side.
    fn is_established(&self, event: &Value, side: &str) -> bool {
        event["new_state"] == "ESTABLISHED" && event[side] == self.port
    }

    fn is_listener(&self, event: &Value) -> bool {
        let is_listening = event["state"] == "LISTEN" || event["new_state"] == "LISTEN";
        is_listening && event["local_port"] == self.port
    }

    /// Waits for the event, which must name the server by `pid` and, where that is known, by its
    /// number on the host.
    fn assert_named(&self, watch: &mut Watch, pid: u32, is_it: impl Fn(&Value) -> bool) {
        watch.until("the server's event", |events| events.iter().any(&is_it));
        for event in watch.events.iter().filter(|event| is_it(event)) {
            assert_eq!((&event["pid"], &event["comm"]), (&pid.into(), &"perl".into()), "{event}");
            // `/proc`, which the basic tier reads, does not show the number on the host.
            let is_unknown = tier() == Tier::Basic && event["host_pid"].is_null();
            assert!(is_unknown || event["host_pid"] == self.host_pid, "{event}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts that an event names a process outside of netmon's namespace.
fn assert_outside(event: &Value, host_pid: u32, comm: &str) {
    assert!(event["pid"].is_null() && event["host_pid"] == host_pid, "{event}");
    // Without types, a process outside has the name of its thread.
    let name = event["comm"].as_str().expect("a name");
    assert!(name == comm || !has_types() && !name.is_empty(), "{event}");
}

fn own_name() -> String {
    fs::read_to_string("/proc/self/comm").expect("a name").trim().to_owned()
}

/// Returns the owners of a row without their programs.
fn numbers(owners: &Value) -> Value {
    let owners = owners.as_array().into_iter().flatten();
    owners.map(|owner| json!([owner["pid"], owner["host_pid"], owner["comm"]])).collect()
}

#[test]
fn a_process_has_the_number_that_ps_shows() {
    Netns::new().run(|| {
        let namespace = PidNamespace::new();
        let mut server = Server::start(&namespace);
        assert_eq!(server.pid, namespace.number("perl"));
        let mut watch = namespace.watch("");
        server.assert_named(&mut watch, server.pid, |event| server.is_listener(event));
        server.order("connect");
        for side in ["local_port", "remote_port"] {
            let is_it = |event: &Value| server.is_established(event, side);
            server.assert_named(&mut watch, server.pid, is_it);
        }
    });
}

#[test]
fn a_process_outside_has_its_name_and_its_number_on_the_host() {
    Netns::new().run(|| {
        let namespace = PidNamespace::new();
        let mut server = Server::start(&namespace);
        let mut watch = namespace.watch("");
        let client = server.client();
        for event in watch.expect(cookie(&client), CLIENT) {
            assert_outside(&event, std::process::id(), &own_name());
        }
        let is_it = |event: &Value| server.is_established(event, "local_port");
        server.assert_named(&mut watch, server.pid, is_it);
        let (pid, port) = (server.pid, server.port);
        drop((client, server));
        let is_end = |event: &&Value| event["type"] == "closed" && event["local_port"] == port;
        watch.until("the server's end", |events| events.iter().any(|event| is_end(&event)));
        let end = watch.events.iter().find(is_end).expect("just seen");
        assert!(end["pid"] == pid && end["comm"] == "perl", "{end}");
    });
}

#[test]
fn a_filter_takes_the_number_there() {
    Netns::new().run(|| {
        let namespace = PidNamespace::new();
        let mut server = Server::start(&namespace);
        let filter = format!("pid = {}", server.pid);
        let mut watch = namespace.watch(&filter);
        let _client = server.client();
        server.order("connect");
        let is_it = |event: &Value| server.is_established(event, "remote_port");
        server.assert_named(&mut watch, server.pid, is_it);
        let is_other = |event: &&Value| !event["pid"].is_null() && event["pid"] != server.pid;
        assert_eq!(watch.events.iter().find(is_other), None);
        for source in sources() {
            let rows = namespace
                .objects(&here(&["snapshot", "--json", "-tap", "--source", source, &filter]));
            let ours = rows.iter().filter(|row| row["owners"].is_array());
            let owners: Vec<_> = ours.map(|row| numbers(&row["owners"])).collect();
            // The listener, both ends of the own connection, one of the other.
            assert_eq!(owners.len(), 4, "{source}: {rows:#?}");
            let host_pid = (*source == "bpf").then_some(server.host_pid);
            let owner = json!([[server.pid, host_pid, "perl"]]);
            assert!(owners.iter().all(|owners| *owners == owner), "{source}: {owners:#?}");
        }
    });
}

#[test]
fn of_two_levels_each_has_its_own_numbers() {
    Netns::new().run(|| {
        let outer = PidNamespace::new();
        let inner = PidNamespace::of(outer.enter("unshare"), &["--mount-proc"]);
        let mut server = Server::start(&inner);
        let number = outer.number("perl");
        assert_eq!(server.pid, inner.number("perl"));
        let [mut from_outer, mut from_inner] =
            [&outer, &inner].map(|namespace| namespace.watch(""));
        for (watch, pid) in [(&mut from_outer, number), (&mut from_inner, server.pid)] {
            server.assert_named(watch, pid, |event| server.is_listener(event));
        }
        server.order("connect");
        let is_it = |event: &Value| server.is_established(event, "remote_port");
        server.assert_named(&mut from_inner, server.pid, is_it);
        // Without types, the kernel knows only the processes of the very namespace.
        if has_types() {
            server.assert_named(&mut from_outer, number, is_it);
        }
        let other = Server::start(&outer);
        let is_it = |event: &Value| other.is_listener(event);
        other.assert_named(&mut from_outer, other.pid, is_it);
        from_inner.until("the listener outside", |events| events.iter().any(is_it));
        let event = from_inner.events.iter().find(|event| is_it(event)).expect("just seen");
        assert_outside(event, other.host_pid, "perl");
    });
}

#[test]
fn where_proc_is_the_hosts_so_are_the_numbers() {
    Netns::new().run(|| {
        let namespace = PidNamespace::of(Command::new("unshare"), &[]);
        let mut server = Server::start(&namespace);
        let mut watch = namespace.watch("");
        let client = server.client();
        for event in watch.expect(cookie(&client), CLIENT) {
            assert_eq!(event["pid"], std::process::id(), "{event}");
        }
        let is_it =
            |event: &Value| server.is_listener(event) || server.is_established(event, "local_port");
        watch.until("the listener", |events| events.iter().any(|event| server.is_listener(event)));
        for event in watch.events.iter().filter(|event| is_it(event)) {
            assert_eq!(event["pid"], server.host_pid, "{event}");
            assert!(event["host_pid"].is_null(), "{event}");
        }
        for source in sources() {
            let port = format!("sport = :{}", server.port);
            let rows = namespace
                .objects(&here(&["snapshot", "--json", "-tlp", "--source", source, &port]));
            let owners = json!([[server.host_pid, null, "perl"]]);
            assert!(
                rows.iter().any(|row| numbers(&row["owners"]) == owners),
                "{source}: {rows:#?}"
            );
        }
    });
}

#[test]
fn a_journal_has_the_numbers_there() {
    Netns::new().run(|| {
        let namespace = PidNamespace::new();
        let mut server = Server::start(&namespace);
        let directory = Directory::new();
        let mut command = namespace.netmon("record");
        command.arg("--journal").arg(&directory.0);
        let mut record = Record::spawn(command);
        record.until("compared with the kernel's tables");
        server.order("connect");
        drop(server.client());
        let (pid, filter) = (server.pid, format!("dport = :{}", server.port));
        drop(server);
        record.until("compared with the kernel's tables");
        sh(&format!("kill -TERM {}", last_child(record.id())));
        record.ended();
        let rows = history(&directory.0, &filter);
        let of = |rows: &[Value], pid: &Value| {
            let row = rows.iter().find(|row| row["pid"] == *pid && row["comm"].is_string());
            row.unwrap_or_else(|| panic!("none of {pid}: {rows:#?}")).clone()
        };
        assert_eq!(of(&rows, &pid.into())["comm"], "perl");
        let outside = of(&rows, &Value::Null);
        assert!(outside["comm"] == own_name().as_str() || !has_types(), "{outside}");
        let processes = ["export", "--format", "jsonl", "--dataset", "processes", "--journal"];
        let processes = objects(&processes, &directory.0);
        assert!(of(&processes, &pid.into())["process_started"].is_string(), "{processes:#?}");
    });
}

#[test]
fn doctor_names_the_namespace() {
    let finding = |mut doctor: Command| {
        let output = doctor.args(["doctor", "--json"]).args(arguments()).output().expect("netmon");
        let text = String::from_utf8(output.stdout).expect("text");
        let findings = text.lines().map(object);
        findings.into_iter().find(|finding: &Value| finding["what"] == "pid namespace")
    };
    let netmon = env!("CARGO_BIN_EXE_netmon");
    for (args, word) in [(&["--mount-proc"][..], "ps"), (&[], "host's")] {
        let namespace = PidNamespace::of(Command::new("unshare"), args);
        let found = finding(namespace.enter(netmon)).expect("a finding");
        assert_eq!(found["state"], "degraded", "{found}");
        assert_eq!(found["inum"], namespace.inum(), "{found}");
        assert!(found["detail"].as_str().expect("text").contains(word), "{found}");
        assert!(found["advice"].as_str().expect("text").contains("--pid=host"), "{found}");
    }
    assert_eq!(finding(Command::new(netmon)), None, "the host's namespace is no finding");
}
