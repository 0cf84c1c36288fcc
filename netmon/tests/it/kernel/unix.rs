//! Unix sockets of `netmon snapshot`: against `ss`, against `/proc/net/unix`, and with names that
//! look like lines of that file.

use std::{
    collections::BTreeMap,
    fs,
    os::{
        fd::{AsFd, AsRawFd},
        linux::net::SocketAddrExt,
        unix::{
            fs::MetadataExt,
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
    },
    process::Command,
};

use serde_json::Value;

use crate::kernel::{
    every_state::HeldSockets,
    harness::{here, is_about_others},
    netns::Netns,
    tier::sources,
};
use crate::schema::object;

fn snapshot(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    let output = command.arg("snapshot").args(here(args)).output().expect("netmon starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let expected = is_about_others(&stderr);
    assert!(output.status.success() && expected, "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn rows(args: &[&str]) -> Vec<Value> {
    let text = snapshot(&[&["--json"], args].concat());
    text.lines().map(object).collect()
}

fn inode_of(socket: impl AsFd) -> u64 {
    let link = format!("/proc/self/fd/{}", socket.as_fd().as_raw_fd());
    fs::metadata(link).expect("a descriptor").ino()
}

fn listen(name: &[u8]) -> UnixListener {
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    UnixListener::bind_addr(&address).expect("a free name")
}

#[test]
fn no_name_makes_a_row_of_its_own() {
    Netns::new().run(|| {
        let (victim, _other) = UnixStream::pair().expect("a pair");
        let forged =
            format!("x\n0: 00000002 00000000 00010000 0001 01 {} /run/forged", inode_of(&victim));
        // All the bytes that an address has room for.
        let mut long = vec![b'\n'; 107];
        long[106] = 0;
        let names =
            [forged.as_bytes(), b"y\nno line", b"", b"\0", b"a\0b\n\0", b"\x1b[2J\xc2\x9b", &long];
        let listeners = names.map(listen);
        for source in sources() {
            let rows = rows(&["-xap", "--source", source]);
            assert_eq!(rows.len(), names.len() + 2, "{rows:#?}");
            for (name, listener) in names.iter().zip(&listeners) {
                let own: Vec<_> =
                    rows.iter().filter(|row| row["inode"] == inode_of(listener)).collect();
                let [row] = own[..] else { panic!("{own:#?}") };
                let path = format!("@{}", String::from_utf8_lossy(name));
                assert_eq!(row["path"], path, "{row}");
                assert_eq!(row["abstract"], true, "{row}");
                assert_eq!(row["state"], "LISTENING", "{row}");
                let is_own = |owner: &Value| owner["pid"] == std::process::id();
                assert!(row["owners"].as_array().expect("owners").iter().any(is_own), "{row}");
            }
            let victims: Vec<_> =
                rows.iter().filter(|row| row["inode"] == inode_of(&victim)).collect();
            let [row] = victims[..] else { panic!("{victims:#?}") };
            assert_eq!((&row["state"], row.get("path")), (&"CONNECTED".into(), None), "{row}");
            // Two lines of /proc have this inode number: the count of either may be the forged one.
            assert_eq!(row.get("references"), None, "{row}");
            let text = snapshot(&["-xapH", "--source", source]);
            assert_eq!(text.lines().count(), rows.len(), "{text}");
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
            assert!(text.contains("  @a\\u{0}b\\n\\u{0}\n"), "{text}");
        }
    });
}

/// Opens sockets of each kind: bound and not, connected and not, and waiting to be accepted.
fn open() -> Vec<Box<dyn AsFd>> {
    let listener = listen(b"netmon-test");
    let address = listener.local_addr().expect("an address");
    let mut sockets: Vec<Box<dyn AsFd>> = Vec::new();
    for _ in 0..3 {
        sockets.push(Box::new(UnixStream::connect_addr(&address).expect("room in the queue")));
    }
    sockets.push(Box::new(listener.accept().expect("a connection").0));
    sockets.push(Box::new(listener));
    sockets.push(Box::new(UnixDatagram::unbound().expect("a socket")));
    let (one, two) = UnixDatagram::pair().expect("a pair");
    sockets.push(Box::new(one));
    sockets.push(Box::new(two));
    sockets
}

#[test]
fn the_rows_are_those_of_ss() {
    Netns::new().run(|| {
        let _sockets = (HeldSockets::open(), open());
        let output = Command::new("ss").arg("-xanHO").output().expect("ss (iproute2)");
        assert!(output.status.success());
        // Inode number, name and inode number end the line; the name before them may have spaces.
        let theirs: BTreeMap<u64, u64> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [.., inode, _, peer] = words[..] else { panic!("ss: {line}") };
                let number =
                    |word: &str| word.parse::<u64>().unwrap_or_else(|e| panic!("{e}: {line}"));
                (number(inode), number(peer))
            })
            .collect();
        assert!(theirs.len() > 10, "{theirs:?}");
        for source in sources() {
            let rows = rows(&["-xa", "--source", source]);
            let held = rows.iter().filter(|row| row["inode"].is_u64());
            let ours = held.clone().map(|row| {
                let number = |key: &str| row[key].as_u64().unwrap_or(0);
                (number("inode"), number("peer"))
            });
            assert_eq!(held.count(), theirs.len(), "{rows:#?}");
            assert_eq!(ours.collect::<BTreeMap<_, _>>(), theirs);
        }
    });
}

#[test]
fn the_columns_are_those_of_proc() {
    Netns::new().run(|| {
        let _sockets = (HeldSockets::open(), open());
        let table = fs::read_to_string("/proc/thread-self/net/unix").expect("a table");
        let mut theirs: Vec<_> = table
            .lines()
            .skip(1)
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let hex = |at: usize| u64::from_str_radix(words[at], 16).expect("a number");
                let (listens, inode) = (hex(3) == 0x1_0000, words[6].parse::<u64>().expect("one"));
                let state = match hex(5) {
                    1 if listens => "LISTENING",
                    1 => "",
                    2 => "CONNECTING",
                    3 => "CONNECTED",
                    other => panic!("{other}: {line}"),
                };
                let kind = match hex(4) {
                    1 => "STREAM",
                    2 => "DGRAM",
                    other => panic!("{other}: {line}"),
                };
                // A socket that waits to be accepted has no inode number to find its count by.
                let references = if inode == 0 { 0 } else { hex(1) };
                let path = words[7..].join(" ");
                (inode, references, kind.to_owned(), state.to_owned(), path)
            })
            .collect();
        theirs.sort();
        let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let number = |row: &Value, key: &str| row[key].as_u64().unwrap_or(0);
        let mut ours: Vec<_> = rows(&["-xa"])
            .iter()
            .map(|row| {
                let (inode, references) = (number(row, "inode"), number(row, "references"));
                (inode, references, word(row, "kind"), word(row, "state"), word(row, "path"))
            })
            .collect();
        ours.sort();
        assert_eq!(ours, theirs);
        assert_eq!(theirs.iter().filter(|row| row.3 == "CONNECTING").count(), 2, "{theirs:#?}");
    });
}
