//! `netmon services --listening`: the known ports that something listens on.

use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    process::{self, Command},
};

use crate::{kernel::netns::Netns, schema::object};

fn services(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    let output = command.arg("services").args(args).env("LC_ALL", "C").output().expect("netmon");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Returns whether a line names this process. A port may have the same number.
fn is_marked(line: &&str) -> bool {
    let own = format!("{}/", process::id());
    line.split_whitespace().skip(2).any(|word| word.starts_with(&own))
}

#[test]
fn known_ports_that_something_listens_on_have_their_processes() {
    let here = process::id();
    Netns::new().run(|| {
        let _https = TcpListener::bind("127.0.0.1:443").expect("bound");
        let _other = TcpListener::bind("[::1]:443").expect("bound");
        let _ntp = UdpSocket::bind("127.0.0.1:123").expect("bound");
        let table = services(&["--listening"]);
        assert!(table.starts_with("Service          Port/Proto  Listening "), "{table}");
        let words = |line: &&str| line.split_whitespace().take(3).map(str::to_owned).collect();
        let marked: Vec<Vec<String>> =
            table.lines().filter(is_marked).map(|line| words(&line)).collect();
        let [ntp, https] = &marked[..] else { panic!("{table}") };
        assert_eq!(ntp[..2], ["ntp", "123/udp"]);
        assert_eq!(https[..2], ["https", "443/tcp"]);
        // Each process once, though it has two sockets.
        assert!(https[2].starts_with(&format!("{here}/")) && !https[2].contains(','), "{https:?}");
        for line in services(&["--listening", "--json"]).lines() {
            let service = object(line);
            let port = (service["port"].as_u64(), service["proto"].as_str());
            let listens = matches!(port, (Some(443), Some("tcp")) | (Some(123), Some("udp")));
            assert_eq!(service["listening"] == true, listens, "{service}");
            let owners = service["owners"].as_array();
            assert_eq!(owners.map_or(0, Vec::len), usize::from(listens), "{service}");
            assert!(owners.into_iter().flatten().all(|owner| owner["pid"] == here), "{service}");
        }
        assert!(!services(&[]).lines().any(|line| is_marked(&line)));
    });
}

#[test]
fn help_has_examples_of_the_host() {
    let help = |topic: &str, locale: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
        let output = command.args(["help", topic]).env("LC_ALL", locale).output().expect("netmon");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    Netns::new().run(|| {
        for (topic, words) in [("states", "now:"), ("ports", "listens on:"), ("columns", "A row")] {
            assert!(!help(topic, "C").contains(words), "a namespace without sockets");
        }
        let https = TcpListener::bind("127.0.0.1:443").expect("bound");
        let _ntp = UdpSocket::bind("127.0.0.1:123").expect("bound");
        let _one = TcpStream::connect("127.0.0.1:443").expect("connected");
        let _other = https.accept().expect("accepted");
        for (topic, locale, end) in [
            ("states", "C", "\nOn this host now: 2 ESTABLISHED, 1 LISTEN\n"),
            ("states", "pt_BR.UTF-8", "\n\nNeste host agora: 2 ESTABELECIDA, 1 OU\u{c7}A\n"),
            ("ports", "C", "\n\nThis host listens on: 443/tcp https, 123/udp ntp\n"),
            ("ports", "pt_BR.UTF-8", "\n\nEste host ouve em: 443/tcp https, 123/udp ntp\n"),
            ("columns", "C", " ESTABLISHED\n"),
            ("columns", "pt_BR.UTF-8", " ESTABELECIDA\n"),
        ] {
            let text = help(topic, locale);
            assert!(text.ends_with(end), "{text}");
        }
        let ports: Vec<_> =
            (10_000..10_050).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        assert!(ports.iter().all(Result::is_ok), "{ports:?}");
        let text = help("ports", "C");
        assert!(text.ends_with(", ...\n") && text.lines().all(|line| line.len() <= 80), "{text}");
    });
}
