//! Connections that fail, and requests that netmon refuses.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use crate::kernel::{
    harness::{Watch, cookie, copy_program, patience},
    netns::Netns,
    tier::{Tier, arguments, has_types, tier},
};

const OPENED: &str = "CLOSE>SYN_SENT SYN_SENT>ESTABLISHED ";
const ACCEPTED: &str = "LISTEN>SYN_RECV SYN_RECV>ESTABLISHED ";

#[test]
fn refused() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let closed_port: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        assert!(socket.connect(&closed_port.into()).is_err());
        let events = watch.expect(cookie(&socket), "CLOSE>SYN_SENT SYN_SENT>CLOSE");
        assert_eq!(events[1]["errno"], "ECONNREFUSED");
        assert_eq!(events[1]["reset"], "received");
        assert_eq!(events[0]["local_port"], events[1]["local_port"]);
    });
}

#[test]
fn unreachable() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let _wire = crate::kernel::peer::Wire::new();
        // On the wire's network, with no neighbour: ARP gives up after some three seconds.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let absent: SocketAddr = "10.9.0.77:80".parse().expect("an address");
        assert!(socket.connect(&absent.into()).is_err());
        let events = watch.expect(cookie(&socket), "CLOSE>SYN_SENT SYN_SENT>CLOSE");
        assert_eq!(events[1]["errno"], "EHOSTUNREACH", "{events:#?}");
    });
}

#[test]
fn reset_by_either_side() {
    for client_resets in [true, false] {
        Netns::new().run(|| {
            let mut watch = Watch::start(&[]);
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let client =
                TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let (server, _) = listener.accept().expect("accepted");
            let ids = (cookie(&client), cookie(&server));
            let (resets, other) = if client_resets { (client, server) } else { (server, client) };
            SockRef::from(&resets).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
            drop(resets);
            let (sent, received) =
                if client_resets { ("sent", "received") } else { ("received", "sent") };
            let client = watch.expect(ids.0, &format!("{OPENED} ESTABLISHED>CLOSE"));
            assert_eq!(client[2]["reset"], sent, "{client:#?}");
            let server = watch.expect(ids.1, &format!("{ACCEPTED} ESTABLISHED>CLOSE"));
            assert_eq!(server[2]["reset"], received, "{server:#?}");
            let by_peer = if client_resets { &server[2] } else { &client[2] };
            assert_eq!(by_peer["errno"], "ECONNRESET");
            drop(other);
        });
    }
}

#[test]
fn unread_data_resets() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        let ids = (cookie(&client), cookie(&server));
        client.write_all(b"unread data").expect("sent");
        drop(server);
        let events = watch.expect(ids.1, &format!("{ACCEPTED} ESTABLISHED>CLOSE"));
        assert_eq!(events[2]["reset"], "sent", "{events:#?}");
        let events = watch.expect(ids.0, &format!("{OPENED} ESTABLISHED>CLOSE"));
        assert_eq!(
            (&events[2]["errno"], &events[2]["reset"]),
            (&"ECONNRESET".into(), &"received".into())
        );
    });
}

#[test]
fn timed_out_by_user_timeout() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
        let mut wire = crate::kernel::peer::Wire::new();
        let connection = crate::kernel::peer::Connection::new(&mut wire, 7000);
        connection
            .socket
            .set_tcp_user_timeout(Some(Duration::from_millis(600)))
            .expect("TCP_USER_TIMEOUT");
        (&connection.socket).write_all(b"no answer").expect("sent");
        let events =
            watch.expect(cookie(&connection.socket), &format!("{OPENED} ESTABLISHED>CLOSE"));
        assert_eq!(events[2]["errno"], "ETIMEDOUT", "{events:#?}");
    });
}

#[test]
fn a_hostile_name_is_escaped_for_people_and_valid_for_programs() {
    Netns::new().run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("bound").port();
        let mut json = Watch::start(&[]);
        let mut text = Command::new(env!("CARGO_BIN_EXE_netmon"))
            .args(["-v", "watch"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("netmon");
        let attached = BufReader::new(text.stderr.take().expect("stderr"))
            .lines()
            .any(|line| line.expect("a line").contains("attached"));
        assert!(attached);
        // A process names itself: a colour, a quote, a tab, and a byte that is not UTF-8.
        let script = format!(
            "printf 'a\\033[31m\"\\t\\377z' > /proc/$$/comm; \
             exec 3<>/dev/tcp/127.0.0.1/{port}; exec 3>&-"
        );
        assert!(Command::new("bash").args(["-c", &script]).status().expect("bash").success());
        let ours = |event: &serde_json::Value| {
            event["remote_port"] == port && event["direction"] == "outbound"
        };
        json.until("the connection", |events| events.iter().any(ours));
        let event = json.events.iter().find(|event| ours(event)).expect("found");
        assert_eq!(event["comm"], "a\u{1b}[31m\"\t\u{fffd}z");
        let mut lines = BufReader::new(text.stdout.take().expect("stdout")).lines();
        let line = lines.find(|line| line.as_ref().expect("text").contains(&format!(":{port} ")));
        let line = line.expect("a line").expect("text");
        assert!(line.contains("a\\u{1b}[31m\"\\t\\xffz"), "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
        let _ = text.kill();
        let _ = text.wait();
    });
}

/// Runs netmon with these arguments. Returns its exit code and its standard error.
fn netmon(prefix: &[&str], args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut words: Vec<&str> = prefix.to_vec();
    words.push(env!("CARGO_BIN_EXE_netmon"));
    words.extend(args);
    let output = Command::new(words[0])
        .args(&words[1..])
        .envs(env.iter().copied())
        .output()
        .expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
}

#[test]
fn without_privilege_one_line_names_the_remedy() {
    let drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    // For record, no matter whether this user may write into the directory.
    for args in [&["watch"][..], &["record"], &["record", "--journal", "/proc/none"]] {
        let (code, stderr) = netmon(&drop, args, &[]);
        assert_eq!(code, Some(1), "{stderr}");
        assert_eq!(
            stderr,
            "netmon: this takes CAP_BPF and CAP_PERFMON, which this process lacks: run it with sudo"
        );
    }
    let (code, stderr) =
        netmon(&["setpriv", "--bounding-set=-sys_admin,-perfmon"], &["watch"], &[]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("takes CAP_PERFMON, which"), "{stderr}");
}

#[test]
fn two_capabilities_are_enough() {
    // The copy is in a place where another user can read it.
    let directory = std::env::temp_dir().join(format!("netmon-test-{}", std::process::id()));
    fs::create_dir(&directory).expect("a directory");
    let program = directory.join("netmon");
    copy_program(&program);
    Netns::new().run(|| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["--inh-caps=-all,+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon"])
            .args(["--bounding-set=-all,+bpf,+perfmon"])
            .arg(&program)
            .args(["-v", "watch", "--json"])
            // netmon must refuse this variable for every user but root.
            .env_remove("NETMON_EBPF_OBJECT");
        if tier() == Tier::Basic {
            // Two capabilities are not enough where tracing takes tracefs, or where the memory of
            // BPF counts as locked memory: netmon reports that.
            let output = command.output().expect("setpriv");
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert!(
                stderr.contains("mount -t tracefs") || stderr.contains("ulimit -l"),
                "{stderr}"
            );
            return;
        }
        let mut watch = Watch::spawn(command);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let id = cookie(&client);
        drop(client);
        drop(listener);
        let path = format!("{OPENED} ESTABLISHED>FIN_WAIT1");
        watch.until("the connection", |events| {
            events.iter().filter(|event| event["cookie"] == id).count() >= 3
        });
        assert_eq!(watch.path(id)[..3], path.split_whitespace().collect::<Vec<_>>());
    });
    fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn without_btf_the_classic_tracepoints_stand_in() {
    // A mount namespace of its own, in which the kernel's types are covered up.
    let netmon = |args: &str| {
        let program = env!("CARGO_BIN_EXE_netmon");
        let script = format!("mount -t tmpfs none /sys/kernel/btf && exec {program} {args}");
        Command::new("unshare").args(["-m", "sh", "-c", &script]).output().expect("unshare")
    };
    let output = netmon("-v watch --duration 1");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("classic tracepoints: this kernel has no BTF"), "{stderr}");
    let output = netmon("doctor");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    let line = stdout.lines().find(|line| line.starts_with("degraded  BTF ")).expect("a line");
    assert!(line.contains("ENOENT") && line.contains("CONFIG_DEBUG_INFO_BTF"), "{line}");
}

/// Without one counter in the kernel's types, its figure alone is absent.
#[test]
fn a_kernel_without_a_counter_keeps_its_tier() {
    const TYPES: &str = "/sys/kernel/btf/vmlinux";
    let mut types = fs::read(TYPES).expect("types");
    let name = b"\0srtt_us\0";
    let at = types.windows(name.len()).position(|bytes| bytes == name).expect("the counter");
    types[at + name.len() - 2] = b'X';
    let file = env::temp_dir().join(format!("netmon-test-types-{}", std::process::id()));
    fs::write(&file, types).expect("written");
    let netmon = |args: &str| {
        let (file, program) = (file.display(), env!("CARGO_BIN_EXE_netmon"));
        let script = format!("mount --bind {file} {TYPES} && exec {program} {args}");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]);
        command
    };
    let output = netmon("doctor --json").output().expect("unshare");
    let stdout = String::from_utf8_lossy(&output.stdout);
    if tier() > Tier::Basic {
        let finding = stdout.lines().find(|line| line.contains(r#""what":"counters""#));
        assert!(finding.is_some_and(|line| line.contains("srtt_us")), "{stdout}");
        assert!(stdout.contains(r#""tier":"full""#), "{stdout}");
    }
    let arguments = arguments().join(" ");
    Netns::new().run(|| {
        let mut watch = Watch::spawn(netmon(&format!("-v watch --json {arguments}")));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        let id = cookie(&client);
        client.write_all(b"some data").expect("sent");
        let mut data = [0; 9];
        (&server).read_exact(&mut data).expect("received");
        drop(client);
        drop(server);
        let closed = watch.closed(id);
        assert!(closed.get("rtt_us").is_none(), "{closed}");
        let expected = if has_types() { 9.into() } else { Value::Null };
        assert_eq!(closed["bytes_sent"], expected, "{closed}");
    });
    fs::remove_file(&file).expect("removed");
}

#[test]
fn wrong_usage_is_exit_2() {
    for args in [
        &["watch", "--buffer", "3"][..],
        &["watch", "--count", "0"],
        &["watch", "--duration", "x"],
        &["wach"],
    ] {
        let (code, stderr) = netmon(&[], args, &[]);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
    }
}

#[test]
fn a_buffer_that_the_kernel_cannot_make_is_one_line() {
    // Locked memory does not count here, so only a size over all memory is refused for sure.
    let (code, stderr) = netmon(
        &["prlimit", "--as=400000000"],
        &["watch", "--buffer", "1G", "--duration", "1"],
        &[],
    );
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("--buffer"), "{stderr}");
}

#[test]
fn another_object_is_loaded_for_root_only() {
    let missing = [("NETMON_EBPF_OBJECT", "/no/such/file")];
    let (code, stderr) = netmon(&[], &["watch"], &missing);
    assert_eq!(code, Some(1));
    assert!(
        stderr.starts_with("netmon: NETMON_EBPF_OBJECT=/no/such/file: No such file"),
        "{stderr}"
    );
    let bogus = std::env::temp_dir().join(format!("netmon-bogus-{}.o", std::process::id()));
    fs::write(&bogus, b"not an object").expect("written");
    let (code, stderr) =
        netmon(&[], &["watch"], &[("NETMON_EBPF_OBJECT", bogus.to_str().expect("a path"))]);
    fs::remove_file(&bogus).expect("removed");
    assert_eq!(code, Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    // The same capabilities in the hands of another user.
    let lesser =
        ["setpriv", "--reuid=65534", "--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon"];
    let (code, stderr) = netmon(&lesser, &["watch"], &missing);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("obeyed only for root"), "{stderr}");
}

#[test]
fn a_reader_that_leaves_ends_netmon_quietly() {
    Netns::new().run(|| {
        let script = format!("{} watch | head -n 1", env!("CARGO_BIN_EXE_netmon"));
        let pipe = Command::new("bash")
            .args(["-c", &format!("{script}; exit ${{PIPESTATUS[0]}}")])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("bash");
        // Nothing happens here, so there is nothing to write: netmon must notice the end by itself.
        let end = std::time::Instant::now() + patience();
        let mut pipe = pipe;
        while pipe.try_wait().expect("its status").is_none() {
            assert!(std::time::Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = pipe.wait_with_output().expect("its end");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    });
}
