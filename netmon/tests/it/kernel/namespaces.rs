//! Network namespaces that come and go, and namespaces to which no process and no name leads.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::SockRef;

use crate::kernel::{
    harness::{Watch, close_in_turn, cookie, kernel, load, patience},
    netns::{Netns, sh},
    tier::{arguments, has_types, sources},
};
use crate::schema::object;

fn pair() -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (server, _) = listener.accept().expect("accepted");
    (listener, client, server)
}

/// Returns the processes that keep a namespace: they are in it, or have a copy of its mount, as
/// those of other tests that have a mount namespace of their own.
fn keepers(inum: u64) -> Vec<String> {
    let name = format!("net:[{inum}]");
    let process = |entry: fs::DirEntry| {
        let path = entry.path();
        let is_in = fs::read_link(path.join("ns/net")).is_ok_and(|net| net.as_os_str() == &*name);
        let mounts = fs::read_to_string(path.join("mountinfo")).unwrap_or_default();
        let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let is_keeper = is_in || mounts.contains(&name);
        is_keeper.then(|| format!("{} {}", path.display(), comm.trim()))
    };
    fs::read_dir("/proc").expect("/proc").flatten().filter_map(process).collect()
}

/// Waits until no process keeps a namespace.
fn wait_for_its_end(inum: u64) {
    let end = Instant::now() + 4 * patience();
    loop {
        let keepers = keepers(inum);
        if keepers.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "the namespace {inum} goes on: {keepers:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Loses every event of the last connections of a namespace, which ends then.
fn ends_unseen(more: &[&str]) {
    let netns = Netns::new();
    let filter = format!("netns = {}", netns.inum);
    let arguments = ["--buffer", "64K", &filter];
    let mut watch = Watch::everywhere(&[more, &arguments].concat());
    let (listener, client, server) = netns.run(pair);
    let ids = netns.run(|| [cookie(&listener), cookie(&client), cookie(&server)]);
    watch.expect(ids[1], "CLOSE>SYN_SENT SYN_SENT>ESTABLISHED");
    watch.signal("-STOP");
    netns.run(|| (0..200).for_each(|_| drop(pair())));
    for socket in [&client, &server] {
        SockRef::from(socket).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
    let inum = netns.inum;
    drop((listener, client, server, netns));
    watch.signal("-CONT");
    wait_for_its_end(inum);
    watch.dumps(2);
    let is_over = |watch: &Watch| ids[1..].iter().all(|id| watch.has_closed(*id));
    // A kernel whose list is read word by word may change the list during each reading of a dump.
    for _ in 0..8 {
        if !is_over(&watch) {
            watch.dumps(0);
        }
    }
    for id in &ids[1..] {
        assert_eq!(watch.closed(*id)["verdict"], "vanished");
    }
    watch.stop();
}

#[test]
fn rows_of_a_namespace_that_has_ended_vanish() {
    // Without types, the kernel's list of namespaces cannot be read.
    if has_types() {
        ends_unseen(&[]);
    }
}

#[test]
fn rows_of_a_namespace_that_has_ended_vanish_without_iterators_too() {
    if has_types() {
        ends_unseen(&["--source", "proc"]);
    }
}

/// Lists the local ports of TCP sockets in all namespaces, with the errors.
fn ports(source: &str) -> (Vec<u64>, String) {
    let listing = Command::new(env!("CARGO_BIN_EXE_netmon"))
        .args(["snapshot", "-ta", "--json", "--netns", "all", "--source", source])
        .output()
        .expect("netmon");
    assert!(listing.status.success(), "{listing:?}");
    let rows = String::from_utf8(listing.stdout).expect("UTF-8");
    let port = |row: &str| object(row)["local_port"].as_u64().expect("a port");
    (rows.lines().map(port).collect(), String::from_utf8_lossy(&listing.stderr).into_owned())
}

fn port(listener: &TcpListener) -> u64 {
    listener.local_addr().expect("bound").port().into()
}

/// Takes the name from a namespace.
fn forget(netns: &Netns) {
    sh(&format!("ip netns del {}", netns.name()));
}

#[test]
fn a_namespace_of_a_thread_is_listed() {
    let netns = Netns::new();
    netns.run(|| {
        forget(&netns);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        for source in sources() {
            let (ports, errors) = ports(source);
            assert!(ports.contains(&port(&listener)), "{source}: {ports:?}{errors}");
        }
    });
}

#[test]
fn a_namespace_that_a_mount_keeps_is_listed() {
    let netns = Netns::new();
    let place = std::env::temp_dir().join(format!("{}-mount", netns.name()));
    File::create(&place).expect("a place");
    sh(&format!("mount --bind /run/netns/{} {}", netns.name(), place.display()));
    // Nothing but TIME_WAIT is left in the namespace.
    let remote = netns.run(|| {
        let (listener, client, server) = pair();
        close_in_turn(client, server);
        port(&listener)
    });
    drop(netns);
    for source in sources() {
        let (_, errors) = ports(source);
        let listing = Command::new(env!("CARGO_BIN_EXE_netmon"))
            .args(["snapshot", "-tan", "--netns", "all", "--source", source])
            .arg(format!("sport = {remote} or dport = {remote}"))
            .output()
            .expect("netmon");
        let rows = String::from_utf8_lossy(&listing.stdout);
        assert!(rows.contains("TIME_WAIT"), "{source}: {rows}{errors}");
    }
    sh(&format!("umount {}", place.display()));
    fs::remove_file(&place).expect("removed");
}

#[test]
fn a_namespace_that_only_a_socket_keeps_is_listed_or_reported() {
    let netns = Netns::new();
    let (listener, client, server) = netns.run(pair);
    forget(&netns);
    let mut watch = Watch::everywhere(&["--initial", &format!("netns = {}", netns.inum)]);
    if sources().contains(&"bpf") && kernel() >= (6, 1) {
        let (ports, errors) = ports("bpf");
        if kernel() == (6, 18) {
            assert!(ports.contains(&port(&listener)), "{ports:?}{errors}");
        } else {
            assert!(errors.contains("left out; no process, name or mount leads"), "{errors}");
        }
        // A walk over the kernel's tables needs no way into the namespace.
        let ids = [cookie(&listener), cookie(&client), cookie(&server)];
        watch.until("the sockets that were there", |events| {
            ids.iter().all(|id| {
                events.iter().any(|event| {
                    event["cookie"] == *id
                        && event["type"] == "connection"
                        && event["pid"] == std::process::id()
                })
            })
        });
    }
    drop((listener, client, server));
    watch.stop();
}

#[test]
fn verify_compares_namespaces_that_come_and_go() {
    let mut verify = Command::new(env!("CARGO_BIN_EXE_netmon"))
        .args(["verify", "--duration", "6s", "--buffer", "4K"])
        .args(arguments())
        .stdout(Stdio::piped())
        .spawn()
        .expect("netmon");
    while verify.try_wait().expect("its state").is_none() {
        let netns = Netns::new();
        netns.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let address = listener.local_addr().expect("bound");
            let connect = || (TcpStream::connect(address), listener.accept());
            (0..40).for_each(|_| drop(connect()));
        });
    }
    let output = verify.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    // A namespace that was made in the last moments may be left out, and is named.
    let others = text.split(" namespaces, ").nth(1).and_then(|rest| rest.split(' ').next());
    let named = text.matches("not compared, in network namespace").count();
    assert_eq!(others == Some("0"), named == 0, "{text}");
}

#[test]
fn a_filter_hides_no_socket_behind_many_others() {
    let crowd = Netns::new();
    crowd.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        // Each leaves a TIME_WAIT, which the filter leaves out.
        for _ in 0..load(4_000) {
            let client = TcpStream::connect(address).expect("connected");
            close_in_turn(client, listener.accept().expect("accepted").0);
        }
    });
    let netns = Netns::new();
    netns.run(|| {
        let pairs: Vec<_> = (0..40).map(|_| pair()).collect();
        let mut watch = Watch::start(&["--initial", &format!("netns = {}", netns.inum)]);
        let ids = pairs.iter().flat_map(|(listener, client, server)| {
            [cookie(listener), cookie(client), cookie(server)]
        });
        let ids: Vec<u64> = ids.collect();
        watch.until("the sockets that were there", |events| {
            let found = |id: &u64| {
                let is_it = |event: &Value| event["cookie"] == *id && event["initial"] == true;
                events.iter().any(is_it)
            };
            ids.iter().all(found)
        });
        watch.stop();
    });
}
