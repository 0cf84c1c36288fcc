//! Who has a connection: named by what it did, at once where the kernel tells.

use std::{
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use crate::{
    harness::{Watch, cookie},
    netns::Netns,
    tier::{Tier, tier},
};

/// A server that was started with its listener, as inetd does: it accepts on its stdin, closes, and ends.
const ACCEPTS: &str = "accept(my $c, STDIN) or die; close $c";

#[test]
fn who_accepts_is_named_though_another_listens() {
    Netns::new().run(|| {
        let mut watch = Watch::start(&[]);
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
        let of_server = |event: &&serde_json::Value| {
            event["local_port"] == address.port() && event["type"] == "closed"
        };
        watch.until("the server's end", |events| events.iter().any(|event| of_server(&event)));
        let ends: Vec<_> = watch.events.iter().filter(of_server).collect();
        let end = ends.iter().find(|end| end["direction"] == "inbound").expect("the connection's");
        let found = (end["owner_evidence"].as_str(), end["pid"].as_u64());
        if tier() == Tier::Exact {
            assert_eq!(found, (Some("accept"), Some(pid.into())), "{end}");
        } else {
            // Whoever called listen, unless a dump came just in time.
            let by_listen = (Some("listen"), Some(std::process::id().into()));
            assert!(found == by_listen || found == (Some("fd-scan"), Some(pid.into())), "{end}");
        }
    });
}
