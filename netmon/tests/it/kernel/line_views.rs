//! The line views on a terminal of 80 columns and 24 lines: no line wraps.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
};

use crate::kernel::{
    netns::Netns,
    recording::{Directory, Record},
    tier::arguments,
    top::{ENDED, Terminal},
};

const SIZE: (u16, u16) = (80, 24);
const NETMON: &str = env!("CARGO_BIN_EXE_netmon");

fn assert_no_line_wraps(terminal: &Terminal) {
    let text = terminal.joined_lines();
    for line in text.lines().filter(|line| !line.starts_with(ENDED)) {
        assert!(line.trim_end().chars().count() <= 80, "{line:?}\n{text}");
    }
}

/// Makes a connection of IPv4 and one of IPv6, and closes both.
fn connect(listeners: &[TcpListener]) {
    for listener in listeners {
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("there");
        client.write_all(b"a request").expect("sent");
        drop((listener.accept().expect("accepted"), client));
    }
}

#[test]
fn no_line_of_watch_wraps() {
    let netns = Netns::new();
    netns.run(|| {
        let listeners =
            ["127.0.0.1:0", "[::1]:0"].map(|end| TcpListener::bind(end).expect("a listener"));
        let tracing = arguments().join(" ");
        let command = format!("{NETMON} watch -n {tracing} 'netns = {}'", netns.inum);
        let terminal = Terminal::sized("lines-watch", SIZE, &command);
        let screen = terminal.until("ends of connections", |screen| {
            connect(&listeners);
            screen.contains("reset-") || screen.contains("closed-")
        });
        assert!(screen.contains("in ") && screen.contains(" B"), "{screen}");
        assert_no_line_wraps(&terminal);
    });
}

#[test]
fn no_line_of_a_snapshot_wraps() {
    Netns::new().run(|| {
        let listeners =
            ["127.0.0.1:0", "[::1]:0"].map(|end| TcpListener::bind(end).expect("a listener"));
        let ends = listeners.each_ref().map(|listener| listener.local_addr().expect("bound"));
        let held = ends.map(|end| TcpStream::connect(end).expect("connected"));
        let terminal =
            Terminal::sized("lines-listing", SIZE, &format!("{NETMON} snapshot -tulpenoia"));
        let screen = terminal.until("the listing", |screen| screen.contains(ENDED));
        assert!(screen.contains("ended with 0"), "{screen}");
        assert_no_line_wraps(&terminal);
        drop(held);
    });
}

#[test]
fn no_line_of_a_history_wraps() {
    let directory = Directory::new();
    let journal = directory.0.display();
    Netns::new().run(|| {
        let listeners =
            ["127.0.0.1:0", "[::1]:0"].map(|end| TcpListener::bind(end).expect("a listener"));
        let record = Record::start(&directory.0);
        for _ in 0..5 {
            connect(&listeners);
        }
        // A row that stays open: a line reports the moment that its values are of.
        let end = listeners[1].local_addr().expect("bound");
        let held = TcpStream::connect(end).expect("connected");
        record.stop();
        drop(held);
    });
    // A pager that shows its work.
    let pager = "sed s/-locally/-paged/";
    let command = format!("PAGER='{pager}' {NETMON} history -n --journal {journal}");
    let terminal = Terminal::sized("lines-history", SIZE, &command);
    let screen = terminal.until("the history", |screen| screen.contains(ENDED));
    assert!(screen.contains("ended with 0"), "{screen}");
    let lines = terminal.joined_lines();
    assert!(lines.contains("no recorder runs"), "{lines}");
    assert!(lines.contains("-paged") && !lines.contains("-locally"), "{lines}");
    assert_no_line_wraps(&terminal);
}
