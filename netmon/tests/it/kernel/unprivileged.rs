//! `netmon snapshot` for every user, and its errors when it cannot list.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    kernel::{
        every_state::HeldSockets,
        harness::{Over, copy_program, here, load},
        netns::Netns,
        tier::sources,
    },
    schema::object,
};

/// The user that owns nothing.
const UNPRIVILEGED: u32 = 65_534;

/// A copy of the program in a place where every user may run it, removed on drop.
struct Public(PathBuf);

impl Public {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netmon-{name}-{}", std::process::id()));
        copy_program(&path);
        Self(path)
    }

    fn run(&self, args: &[&str]) -> Output {
        as_unprivileged(Command::new(&self.0).arg("snapshot").args(here(args)))
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn as_unprivileged(command: &mut Command) -> Output {
    command.uid(UNPRIVILEGED).gid(UNPRIVILEGED).output().expect("it starts")
}

fn netmon(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    command.arg("snapshot").args(here(args)).output().expect("netmon")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// State, queues and both ends, as words.
fn words(state: &str, rest: &[&str]) -> String {
    let state = match state {
        "ESTAB" => "ESTABLISHED",
        "FIN-WAIT-1" => "FIN_WAIT1",
        "FIN-WAIT-2" => "FIN_WAIT2",
        other => other,
    };
    // ss writes `*` for an IPv6 socket that takes IPv4 too, and keeps the form of mapped addresses.
    let rest = rest.join(" ").replace('*', "[::]").replace("[::ffff:127.0.0.1]", "127.0.0.1");
    format!("{} {rest}", state.replace('-', "_"))
}

#[test]
fn a_listing_equals_ss_run_without_privileges() {
    let public = Public::new("unprivileged");
    Netns::new().run(|| {
        let _sockets = HeldSockets::open();
        let ours = public.run(&["-tanH"]);
        assert!(ours.status.success() && ours.stderr.is_empty(), "{}", stderr(&ours));
        let ours: BTreeSet<String> = stdout(&ours)
            .lines()
            .map(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                words(columns[5], &columns[1..5]).replace('*', "[::]")
            })
            .collect();
        let theirs = as_unprivileged(Command::new("ss").arg("-tanHO"));
        let theirs: BTreeSet<String> = stdout(&theirs)
            .lines()
            .map(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                words(columns[0], &columns[1..5])
            })
            .collect();
        assert!(theirs.len() > 15, "{theirs:#?}");
        assert_eq!(ours, theirs);
    });
}

#[test]
fn hidden_owners_of_others_are_reported() {
    let public = Public::new("owners");
    Netns::new().run(|| {
        let _sockets = HeldSockets::open();
        let output = public.run(&["-tanpH"]);
        assert!(output.status.success());
        let errors = stderr(&output);
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains("sockets have no owner here, since their processes"), "{errors}");
        assert!(stdout(&output).lines().all(|line| line.ends_with(" -")), "{}", stdout(&output));
        let other = Netns::new();
        let output = public.run(&["-tan", "--netns", other.name()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("CAP_SYS_ADMIN"), "{}", stderr(&output));
        let output = public.run(&["-tan", "--source", "bpf"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("CAP_BPF"), "{}", stderr(&output));
        assert!(stderr(&output).contains("with sudo"), "{}", stderr(&output));
    });
}

/// A namespace that has a name is known to every user.
#[test]
fn a_namespace_that_is_left_out_is_named() {
    let public = Public::new("left-out");
    let (own, other) = (Netns::new(), Netns::new());
    own.run(|| {
        let _here = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let _there = other.run(|| TcpListener::bind("127.0.0.1:0").expect("a listener"));
        let advice = "that takes CAP_SYS_ADMIN and CAP_SYS_PTRACE: use sudo";
        for filter in [format!("netns = {}", other.name()), format!("netns = {}", other.inum)] {
            let output = public.run(&["-tln", &filter]);
            assert!(output.status.success());
            let left_out = format!("network namespace {} is left out; {advice}", other.name());
            assert_eq!(stderr(&output), format!("netmon: {left_out}\n"));
        }
        let both = format!("netns in self,{}", other.name());
        let output = public.run(&["-tlnH", &both]);
        assert_eq!(stdout(&output).lines().count(), 1, "{}", stdout(&output));
        assert!(stderr(&output).contains(other.name()), "{}", stderr(&output));
        // Other tests may have namespaces too, of which three are named.
        for all in [&["-tln", "--netns", "all"][..], &["-tln", "netns != 1"]] {
            let output = public.run(all);
            let errors = stderr(&output);
            assert_eq!(errors.lines().count(), 1, "{errors}");
            let end = format!("left out; {advice}, or ask for --netns self\n");
            assert!(errors.contains("network namespace") && errors.ends_with(&end), "{errors}");
        }
        // Processes that hide are not mentioned, nor is anything else.
        for own in [&["-tln", "--netns", "self"][..], &["-tln", "netns = self"]] {
            let output = public.run(own);
            assert_eq!(stdout(&output).lines().count(), 3, "{}", stdout(&output));
            assert!(output.stderr.is_empty(), "{}", stderr(&output));
        }
    });
}

#[test]
fn errors_name_their_cause() {
    for (args, code, word) in [
        (&["--netns", "no-such-netns"][..], 1, "`ip netns` lists names"),
        (&["--netns", "../../etc/passwd"], 1, "no name of a namespace"),
        (&["--netns", "4194305"], 1, "there is no process 4194305"),
        (&["state", "sideways"], 2, "unknown state 'sideways'"),
        (&["dport", "=", ":nowhere"], 2, "nowhere"),
        (&["(", "pid", "=", "1"], 2, "^"),
        (&["uid = \u{1b}[31mred"], 2, "\\u{1b}[31mred"),
        (&["netns", "=", "nope"], 2, "nope"),
        (&["--sort", "colour"], 2, "possible values"),
        (&["-c", "0"], 2, "0"),
        (&["--no-such-flag"], 2, "snapshot has no --no-such-flag"),
        (&["--no-\u{9b}2J\u{202e}flag"], 2, "--no-\\u{9b}2J\\u{202e}flag"),
        (&["--netns", "a\u{202e}b"], 1, "'a\\u{202e}b'"),
    ] {
        let output = netmon(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(word), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{args:?}: {}", stdout(&output));
        assert!(!stderr(&output).contains('\u{1b}'), "{args:?}");
    }
}

#[test]
fn without_iterators_netmon_reads_proc_and_reports_it() {
    let path = |name| std::env::temp_dir().join(format!("netmon-{name}-{}", std::process::id()));
    let (object, files) = (path("no-object"), path("file-nr"));
    fs::write(&object, b"no object").expect("written");
    // A host with few open files is not worth loading iterators for.
    fs::write(&files, b"1000000\t0\t2000000\n").expect("written");
    Netns::new().run(|| {
        let _sockets = HeldSockets::open();
        let list = |flags: &str| {
            let script = format!(
                "mount --bind {} /proc/sys/fs/file-nr && \
                 exec {} snapshot -tanH --netns self {flags}",
                files.display(),
                env!("CARGO_BIN_EXE_netmon")
            );
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-ec", &script]).env("NETMON_EBPF_OBJECT", &object);
            command.output().expect("unshare (util-linux)")
        };
        let output = list("");
        assert!(output.status.success());
        assert!(stderr(&output).contains("reading /proc instead"), "{}", stderr(&output));
        assert!(stdout(&output).lines().count() > 15, "{}", stdout(&output));
        let output = list("--source bpf");
        assert_eq!(output.status.code(), Some(1));
        assert!(stdout(&output).is_empty());
    });
    [object, files].iter().for_each(|path| fs::remove_file(path).expect("removed"));
}

#[test]
fn processes_that_vanish_do_no_harm() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(Command::new("true").status().expect("true").success());
            }
        });
        for _ in 0..load(20) {
            for source in sources() {
                let output = netmon(&["-tuap", "--netns", "all", "--source", source]);
                assert!(output.status.success(), "{}", stderr(&output));
            }
        }
    });
}

#[test]
fn a_repeated_listing_ends_without_a_reader() {
    Netns::new().run(|| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_netmon"))
            .args(["snapshot", "-ta", "-c", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("netmon");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let headings = lines.map_while(Result::ok).filter(|line| line.starts_with("Active"));
        assert_eq!(headings.take(3).count(), 3);
        // The pipe is closed by now.
        assert!(child.wait().expect("ended").success());
    });
}

#[test]
fn a_silent_resolver_does_not_hold_the_listing_up() {
    let configuration = std::env::temp_dir().join(format!("netmon-resolv-{}", std::process::id()));
    // The fake peer answers nothing. The resolver would wait ten seconds for each address.
    fs::write(&configuration, "nameserver 10.9.0.2\noptions timeout:5 attempts:2\n")
        .expect("written");
    Netns::new().run(|| {
        let _sockets = HeldSockets::open();
        let list = |flags: &str| {
            let script = format!(
                "mount --bind {} /etc/resolv.conf && exec {} snapshot --netns self {flags}",
                configuration.display(),
                env!("CARGO_BIN_EXE_netmon")
            );
            let begun = Instant::now();
            let output = Command::new("unshare").args(["-m", "sh", "-ec", &script]).output();
            let (output, took) = (output.expect("unshare (util-linux)"), begun.elapsed());
            assert!(output.status.success(), "{}", stderr(&output));
            (stdout(&output), took)
        };
        // The time that a listing without names takes.
        let (_, fast) = list("-tanH");
        let (listed, took) = list("-tarH");
        assert!(listed.contains("10.9.0.2:7011"), "{listed}");
        assert!(listed.contains("localhost:8001"), "{listed}");
        assert!(took.as_secs() >= 2 && took < fast + Duration::from_secs(9), "{took:?}, {fast:?}");
    });
    fs::remove_file(&configuration).expect("removed");
}

fn bytes_of(row: &Value) -> Option<u64> {
    Some(row["bytes_sent"].as_u64()? + row["bytes_received"].as_u64()?)
}

#[test]
fn a_listing_has_names_of_hosts_and_an_order() {
    Netns::new().run(|| {
        let _sockets = HeldSockets::open();
        // No resolver can be reached from here: only /etc/hosts is left.
        let output = netmon(&["-tarH"]);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
        assert!(stdout(&output).contains("localhost:8001"), "{}", stdout(&output));
        assert!(stdout(&output).contains("10.9.0.2:7011"), "{}", stdout(&output));
        let column = |args: &[&str], index: usize| -> Vec<String> {
            let text = stdout(&netmon(args));
            let cell = |line: &str| line.split_whitespace().nth(index).map(str::to_owned);
            text.lines().filter_map(cell).collect()
        };
        let numbers = |cells: Vec<String>| -> Vec<u64> {
            cells.iter().map(|cell| cell.parse().expect("a number")).collect()
        };
        let recv_q = numbers(column(&["-tanH", "--sort", "recvq"], 1));
        assert!(recv_q.is_sorted_by(|a, b| a >= b) && recv_q[0] > 0, "{recv_q:?}");
        let send_q = numbers(column(&["-tanH", "--sort", "sendq"], 2));
        assert!(send_q.is_sorted_by(|a, b| a >= b) && send_q[0] > 0, "{send_q:?}");
        // A bare --sort shows the measurements too; a socket without them comes last.
        let measured = stdout(&netmon(&["-tan", "--json", "--sort", "bytes"]));
        let bytes: Vec<_> = measured.lines().map(object).map(|row| bytes_of(&row)).collect();
        assert!(bytes.is_sorted_by(|a, b| a >= b) && bytes[0] > Some(0), "{bytes:?}");
        let states = column(&["-tanH", "--sort", "state"], 5);
        let runs = states.chunk_by(|a, b| a == b).count();
        assert_eq!(runs, states.iter().collect::<BTreeSet<_>>().len(), "{states:?}");
        let counts = stdout(&netmon(&["-ta", "--summary"]));
        let total: Vec<_> = counts.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(total, ["Total", &states.len().to_string()], "{counts}");
    });
}
