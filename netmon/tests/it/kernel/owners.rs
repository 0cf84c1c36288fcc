//! The owners of connections: named by their calls, at once where the kernel reports the calls.

use std::{
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use crate::kernel::{
    harness::{Watch, cookie},
    netns::Netns,
    tier::{Tier, has_types, tier},
};

/// A server that is started with its listener, as by inetd: it accepts on its stdin, closes, and
/// ends.
const ACCEPTS: &str = "accept(my $c, STDIN) or die; close $c";

#[test]
fn the_accepting_process_is_named_though_another_listens() {
    accept_by_another(&[], tier() == Tier::Exact);
}

#[test]
fn the_system_call_names_the_accepting_process_on_request() {
    // The connection is found through the process' open files.
    accept_by_another(&["--accept-syscalls"], has_types());
}

/// Lets a process accept on a listener that it inherited. With `is_reported` netmon must name the
/// process at once.
fn accept_by_another(args: &[&str], is_reported: bool) {
    Netns::new().run(|| {
        let mut watch = Watch::start(args);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        let mut server = Command::new("perl")
            .args(["-e", ACCEPTS])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .expect("perl");
        let client = TcpStream::connect(address).expect("connected");
        let pid = server.id();
        assert!(server.wait().expect("its end").success());
        let client_id = cookie(&client);
        drop(client);
        watch.closed(client_id);
        let is_server_end = |event: &&serde_json::Value| {
            event["local_port"] == address.port() && event["type"] == "closed"
        };
        watch.until("the server's end", |events| events.iter().any(|event| is_server_end(&event)));
        let ends: Vec<_> = watch.events.iter().filter(is_server_end).collect();
        let end = ends.iter().find(|end| end["direction"] == "inbound").expect("the connection's");
        let found = (end["owner_evidence"].as_str(), end["pid"].as_u64());
        if is_reported {
            assert_eq!(found, (Some("accept"), Some(pid.into())), "{end}");
        } else {
            // The process that called listen, unless a dump came just in time.
            let by_listen = (Some("listen"), Some(std::process::id().into()));
            assert!(found == by_listen || found == (Some("fd-scan"), Some(pid.into())), "{end}");
        }
    });
}
