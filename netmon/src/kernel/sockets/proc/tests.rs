use std::{
    cell::Cell,
    io::{Cursor, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd},
        linux::{fs::MetadataExt, net::SocketAddrExt},
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    process, thread,
    time::{Duration, Instant},
};

use super::*;
use crate::core::{socket::TimerKind, tcp::TcpState};

const HEADER: &[u8] = b"  sl  local_address rem_address   st\n";
const LINE: &[u8] = b"   0: 00000000:07E8 00000000:0000 0A 0:0 00:0 0 0 0 1678 1 0\n";

/// Returns the number of sockets, and the number of malformed lines.
fn count(file: impl BufRead) -> (usize, usize) {
    let mut sockets = 0;
    let malformed = read_inet(file, Protocol::Tcp, false, 1, |_| {
        sockets += 1;
        Ok(())
    });
    (sockets, malformed.expect("no error"))
}

#[test]
fn the_first_line_only_is_a_header() {
    assert_eq!(count(&b""[..]), (0, 0));
    assert_eq!(count(HEADER), (0, 0));
    assert_eq!(count(&[HEADER, LINE, LINE].concat()[..]), (2, 0));
    assert_eq!(count(&[HEADER, LINE, HEADER, LINE].concat()[..]), (2, 1));
}

#[test]
fn a_malformed_line_ends_nothing() {
    let text = [HEADER, b"\n", LINE, b"\xff\xff\n", LINE, b"0: 0\n", LINE].concat();
    assert_eq!(count(&text[..]), (3, 3));
}

#[test]
fn a_last_line_without_an_end_is_not_believed() {
    // The inode would read as 167.
    let cut = LINE.len() - "8 1 0\n".len();
    assert_eq!(count(&[HEADER, LINE, &LINE[..cut]].concat()[..]), (1, 1));
    assert_eq!(count(&HEADER[..4]), (0, 0));
}

#[test]
fn a_line_of_any_length_takes_no_memory() {
    // 256 MiB without an end of the line, from a reader that returns pieces.
    let huge = BufReader::new(io::repeat(b'0').take(1 << 28));
    let text = HEADER.chain(LINE).chain(huge).chain(&b"\n"[..]).chain(LINE);
    assert_eq!(count(text), (2, 1));
    let mut line = Vec::new();
    let mut file = BufReader::new(io::repeat(b'0').take(1 << 20)).chain(&b"\nnext"[..]);
    assert!(next_line(&mut file, &mut line).expect("no error"));
    assert!(line.len() <= LONGEST + 1 && line.capacity() <= 4 * LONGEST);
    assert!(next_line(&mut file, &mut line).expect("no error"));
    assert_eq!(line, b"next");
    assert!(!next_line(&mut file, &mut line).expect("no error"));
}

#[test]
fn the_longest_line_is_read() {
    let padded = |spaces| [HEADER, &LINE[..LINE.len() - 1], &vec![b' '; spaces], b"\n"].concat();
    let room = LONGEST - (LINE.len() - 1);
    assert_eq!(count(&padded(room)[..]), (1, 0));
    assert_eq!(count(&padded(room + 1)[..]), (0, 1));
}

#[test]
fn what_each_answers_ends_the_reading() {
    let calls = Cell::new(0);
    let text = [HEADER, LINE, LINE].concat();
    let result = read_inet(Cursor::new(text), Protocol::Tcp, false, 1, |_| {
        calls.set(calls.get() + 1);
        Err(io::ErrorKind::BrokenPipe.into())
    });
    assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    assert_eq!(calls.get(), 1);
}

#[test]
fn a_table_that_the_kernel_lacks_is_empty() {
    let mut table = open("no-such-protocol").expect("an empty table");
    assert!(table.fill_buf().expect("no error").is_empty());
}

/// Returns this namespace's sockets of one table.
fn listing(protocol: Protocol, ipv6: bool) -> Vec<Socket> {
    let mut sockets = Vec::new();
    let table = open_inet(protocol, ipv6).expect("a table");
    let malformed = read_inet(table, protocol, ipv6, 1, |socket| {
        sockets.push(socket);
        Ok(())
    });
    assert_eq!(malformed.expect("no error"), 0);
    sockets
}

fn inode_of(socket: impl AsFd) -> u64 {
    let link = format!("/proc/self/fd/{}", socket.as_fd().as_raw_fd());
    std::fs::metadata(link).expect("a link").st_ino()
}

#[test]
fn a_listener_of_this_process_is_found() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let sockets = listing(Protocol::Tcp, false);
    let entries: Vec<_> = sockets
        .iter()
        .filter(|socket| socket.tuple.local == address && socket.state == TcpState::Listen)
        .collect();
    let [entry] = entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry.inode.map(u64::from), Some(inode_of(&listener)));
    assert!(entry.is_listening());
    let (owners, _) = owners().expect("/proc");
    let pids: Vec<_> = owners.of(entry.holder_key()).iter().map(|process| process.pid).collect();
    assert_eq!(pids, [process::id()]);
}

/// Waits for the TCP socket for which `test` holds: segments may wait for a softirq.
fn wait_for(test: impl Fn(&Socket) -> bool) -> Socket {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(entry) = listing(Protocol::Tcp, false).into_iter().find(&test) {
            return entry;
        }
        assert!(Instant::now() < deadline, "no such socket");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn queues_and_the_minisocket_of_a_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("taken");
    let (mut server, _) = listener.accept().expect("a connection");
    let inode = inode_of(&server);
    let address = client.local_addr().expect("an address");
    client.write_all(b"hello").expect("sent");
    let entry = wait_for(|socket| socket.tuple.remote == address && socket.recv_q == Some(5));
    assert_eq!((entry.inode.map(u64::from), entry.send_q), (Some(inode), Some(0)));
    server.read_exact(&mut [0; 5]).expect("received");
    drop(client);
    drop(server);
    let entry =
        wait_for(|socket| socket.tuple.local == address && socket.state == TcpState::TimeWait);
    assert_eq!(entry.timer.map(|timer| timer.kind), Some(TimerKind::TimeWait));
    assert_eq!((entry.uid, entry.inode), (None, None));
}

#[test]
fn udp_is_found_in_its_table() {
    let ipv4 = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let mut sockets = vec![(ipv4, false)];
    // A machine may lack IPv6.
    sockets.extend(UdpSocket::bind("[::1]:0").ok().map(|socket| (socket, true)));
    for (socket, ipv6) in sockets {
        let address = socket.local_addr().expect("an address");
        let inode = inode_of(&socket);
        let listed = listing(Protocol::Udp, ipv6);
        let entry = listed.iter().find(|socket| socket.inode.map(u64::from) == Some(inode));
        assert_eq!(entry.expect("listed").tuple.local, address);
    }
}

#[test]
fn an_abstract_unix_socket_is_found() {
    let name = format!("netmon proc test {}", process::id());
    let address = UnixAddr::from_abstract_name(&name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("a socket");
    let mut entry = None;
    read_unix(open_unix().expect("a table"), 1, |socket| {
        if socket.inode.map(u64::from) == Some(inode_of(&listener)) {
            entry = Some(socket);
        }
        Ok(())
    })
    .expect("no error");
    let entry = entry.expect("listed");
    assert_eq!(entry.path.as_deref(), Some(format!("@{name}").as_bytes()));
    assert!(entry.listening);
    assert_eq!(entry.kind, 1);
}

#[test]
fn tables_of_a_thread_are_of_its_namespace() {
    // `/proc/thread-self` also works on a thread that is not the first.
    let result = thread::spawn(|| open_inet(Protocol::Tcp, false).map(|_| ())).join();
    assert!(matches!(result, Ok(Ok(()))));
}
