//! The output of a listing, to the byte: one table through every form and flag.

use std::{
    cell::RefCell,
    io::{self, Write},
    net::IpAddr,
    num::NonZeroU64,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use netmon::testing::{
    Binding, Cgroup, HolderKey, JsonRows, Listening, ListingNames, ListingView, NameCache, Names,
    Netstat, NetstatColumns, Process, Protocol, Services, Socket, SocketHolders, SocketId, Summary,
    SummaryForm, TcpInfo, TcpState, Timer, TimerKind, Tuple, UnixSocket,
};

use crate::{sample_events::process, schema::object};

const HERE: u32 = 4_026_531_840;
const THERE: u32 = 4_026_532_200;

/// A socket without data; no process holds the socket of inode 0.
pub(crate) fn socket(
    protocol: Protocol,
    state: TcpState,
    local: &str,
    remote: &str,
    inode: u64,
) -> Socket {
    let end = |text: &str| text.parse().expect("an address");
    Socket {
        protocol,
        ipv6: local.starts_with('['),
        tuple: Tuple { netns: HERE, interface: 0, local: end(local), remote: end(remote) },
        binding: Binding::default(),
        state,
        cookie: SocketId::new(0x1000 + inode),
        recv_q: Some(0),
        send_q: Some(0),
        uid: (inode != 0).then_some(33),
        inode: NonZeroU64::new(inode),
        cgroup: NonZeroU64::new(if inode % 2 == 1 { 77 } else { 0 }),
        timer: None,
        retransmits: 0,
        probes: 0,
        info: None,
        row: None,
    }
}

/// One socket of each kind that looks different from every other kind.
fn sockets() -> Vec<Socket> {
    use Protocol::{Raw, Tcp, Udp};
    use TcpState::{Close, Established, Listen, SynSent, TimeWait};
    let mut listener = socket(Tcp, Listen, "0.0.0.0:80", "0.0.0.0:0", 1);
    (listener.recv_q, listener.send_q) = (Some(2), Some(511));
    let mut unknown_backlog = socket(Tcp, Listen, "[::]:22", "[::]:0", 2);
    unknown_backlog.send_q = None;
    unknown_backlog.binding.v6only = Some(true);
    let mut web = socket(Tcp, Established, "10.0.0.1:80", "203.0.113.9:50123", 3);
    (web.recv_q, web.send_q) = (Some(1_234_567), Some(42));
    web.timer = Some(Timer { kind: TimerKind::On, left: Duration::from_millis(190) });
    web.retransmits = 3;
    web.info = Some(Box::new(TcpInfo {
        rtt_us: Some(12_345),
        rttvar_us: 678,
        rto_us: 204_000,
        mss: 1_448,
        cwnd: 10,
        ssthresh: Some(7),
        unacked: 4,
        retrans_out: 1,
        retransmits: 3,
        bytes_sent: 5_000,
        bytes_retrans: 1_448,
        bytes_acked: 3_000,
        bytes_received: 99,
        delivery_rate: Some(1_000_000),
    }));
    let mut keepalive = socket(
        Tcp,
        Established,
        "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:22",
        "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        4,
    );
    keepalive.timer = Some(Timer { kind: TimerKind::Keepalive, left: Duration::from_secs(7_180) });
    keepalive.info = Some(Box::default());
    keepalive.tuple.netns = THERE;
    let mut mapped = socket(Tcp, SynSent, "10.0.0.1:40000", "198.51.100.1:443", 5);
    mapped.ipv6 = true;
    let mut waiting = socket(Tcp, TimeWait, "10.0.0.1:80", "203.0.113.9:50122", 0);
    waiting.timer = Some(Timer { kind: TimerKind::TimeWait, left: Duration::from_millis(59_990) });
    waiting.cookie = None;
    let mut bound = socket(Udp, Close, "127.0.0.1:53", "0.0.0.0:0", 6);
    bound.tuple.interface = 3;
    bound.binding.device = Some("eth\u{1b}0".into());
    vec![
        listener,
        unknown_backlog,
        web,
        keepalive,
        mapped,
        waiting,
        bound,
        socket(Udp, Established, "10.0.0.1:50000", "9.9.9.9:53", 7),
        socket(Raw, Close, "0.0.0.0:1", "0.0.0.0:0", 8),
    ]
}

fn unix_sockets() -> Vec<UnixSocket> {
    let unix = |listening, kind, state, inode, path: Option<&[u8]>| UnixSocket {
        netns: HERE,
        cookie: SocketId::new(0x2000 + inode),
        references: (inode != 22).then_some(2),
        listening,
        kind,
        state,
        inode: NonZeroU64::new(inode),
        peer: NonZeroU64::new(if state == 3 { 99 } else { 0 }),
        path: path.map(Into::into),
        is_abstract: inode == 21,
    };
    vec![
        unix(true, 1, 1, 20, Some(b"/run/with space/\x1b[31mred")),
        unix(false, 2, 1, 21, Some(b"@abstract\xff\n0: 2 0 10000 1 1 20 /run/forged\0")),
        unix(false, 5, 3, 22, None),
        unix(false, 1, 3, 23, Some(b"@a path, relative")),
    ]
}

fn owners() -> SocketHolders {
    let mut owners = SocketHolders::default();
    for (pid, comm, inodes) in [
        (1, b"systemd".as_slice(), [1, 20].as_slice()),
        (812, b"nginx", &[1, 1, 3]),
        (813, b"nginx", &[1, 3]),
        (900, b"\x1b]0;evil", &[4, 6]),
        (901, b"two words", &[5]),
        (902, b"x,1/systemd", &[8]),
    ] {
        for inode in inodes {
            let inode = NonZeroU64::new(*inode).expect("not 0");
            owners.add(HolderKey::of_inode(inode), pid, 0, comm);
        }
    }
    owners.add_process(HolderKey::of_inode(NonZeroU64::MIN), web());
    owners
}

/// A process in a container.
fn web() -> Process {
    let path = format!("/system.slice/docker-{}.scope", "3f2a".repeat(16));
    let cgroup = Cgroup::new(0, Some(path.into_bytes().into()));
    cgroup.name(Names { container: Some("web \x1b[31m".to_owned()), pod: None });
    let known = Some(Arc::new(process(b"python3\0manage.py\0run server\0")));
    let (comm, cgroup) = (b"python3"[..].into(), Some(Arc::new(cgroup)));
    Process { pid: 950, host_pid: 0, comm, known, cgroup }
}

pub(crate) fn names() -> ListingNames {
    ListingNames {
        services: Services::parse(
            b"ssh 22/tcp\ndomain 53/udp\nhttp 80/tcp www\nhttps 443/tcp\nesc\x1b[0m 50123/tcp\n",
        ),
        users: NameCache::new(|uid| (uid == 33).then(|| "www-data".to_owned())),
        namespaces: NameCache::new(|inum| (inum == THERE).then(|| "blue".to_owned())),
        own_netns: Some(HERE),
        cgroups: NameCache::new(|id| (id == 77).then(|| "/system.slice/nginx.service".to_owned())),
        ..ListingNames::default()
    }
}

/// A writer whose bytes can be looked at afterwards.
#[derive(Clone, Default)]
pub(crate) struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn shown<R: ListingView>(make: impl FnOnce(Bytes) -> R) -> String {
    shown_sockets(&sockets(), make)
}

fn shown_sockets<R: ListingView>(sockets: &[Socket], make: impl FnOnce(Bytes) -> R) -> String {
    let (bytes, owners) = (Bytes::default(), owners());
    let mut rows = make(bytes.clone());
    for socket in sockets {
        rows.socket(socket, &owners).expect("written");
    }
    for socket in &unix_sockets() {
        rows.unix(socket, &owners).expect("written");
    }
    rows.finish(&owners).expect("written");
    String::from_utf8(bytes.0.take()).expect("UTF-8")
}

pub(crate) const PLAIN: NetstatColumns = NetstatColumns {
    heading: true,
    owners: false,
    wide_owner: false,
    extended: false,
    timers: false,
    info: false,
    netns: false,
};

fn netstat(columns: NetstatColumns) -> String {
    shown(|out| Netstat::new(out, columns, Listening::All, names(), None, false))
}

#[test]
fn plain() {
    insta::assert_snapshot!(netstat(PLAIN));
}

#[test]
fn wide_owners() {
    insta::assert_snapshot!(netstat(NetstatColumns { owners: true, wide_owner: true, ..PLAIN }));
}

#[test]
fn numeric_without_headings() {
    let columns = NetstatColumns { heading: false, ..PLAIN };
    insta::assert_snapshot!(shown(|out| {
        Netstat::new(out, columns, Listening::All, ListingNames::default(), None, false)
    }));
}

#[test]
fn with_owners() {
    insta::assert_snapshot!(netstat(NetstatColumns { owners: true, ..PLAIN }));
}

#[test]
fn many_owners_take_little_room() {
    let mut owners = SocketHolders::default();
    for pid in 1..=300 {
        owners.add(HolderKey::of_inode(NonZeroU64::MIN), pid, 0, b"worker");
    }
    let shown = |terminal| {
        let columns = NetstatColumns { owners: true, heading: false, ..PLAIN };
        let bytes = Bytes::default();
        let mut rows = Netstat::new(
            bytes.clone(),
            columns,
            Listening::All,
            ListingNames::default(),
            terminal,
            false,
        );
        rows.socket(&sockets()[0], &owners).expect("written");
        rows.finish(&owners).expect("written");
        String::from_utf8(bytes.0.take()).expect("UTF-8")
    };
    let fitting = shown(Some(80));
    assert!(fitting.ends_with(" LISTEN 1/worker,2/worker +298\n"), "{fitting}");
    assert!(shown(None).ends_with(",299/worker,300/worker\n"), "{}", shown(None));
}

#[test]
fn extended() {
    insta::assert_snapshot!(netstat(NetstatColumns { extended: true, owners: true, ..PLAIN }));
}

#[test]
fn timers_and_namespaces() {
    insta::assert_snapshot!(netstat(NetstatColumns { timers: true, netns: true, ..PLAIN }));
}

/// The column says nothing where all sockets are in the own namespace, unless more rows may come.
#[test]
fn the_own_namespace_alone_has_no_column() {
    let listed = |netns: bool, sockets: &[Socket]| {
        let columns = NetstatColumns { netns, ..PLAIN };
        let shown = shown_sockets(sockets, |out| {
            Netstat::new(out, columns, Listening::All, names(), None, false)
        });
        shown.split("Active UNIX").next().expect("IP sockets").to_owned()
    };
    let own: Vec<_> = sockets().into_iter().filter(|socket| socket.tuple.netns == HERE).collect();
    assert!(own.len() > 5);
    assert_eq!(listed(true, &own), listed(false, &own));
    let all = listed(true, &sockets());
    assert!(all.contains(" self\n") && all.contains(" blue\n"), "{all}");
    let many = listed(true, &vec![own[0].clone(); 1_001]);
    assert!(many.lines().skip(2).all(|line| line.ends_with(" self")), "{many}");
}

#[test]
fn tcp_info() {
    insta::assert_snapshot!(netstat(NetstatColumns { info: true, ..PLAIN }));
}

#[test]
fn hosts_by_name() {
    insta::assert_snapshot!(shown(|out| {
        let known = |address: IpAddr| {
            (address.to_string() == "203.0.113.9").then(|| "a-host.example\u{7}".to_owned())
        };
        let names = ListingNames { hosts: NameCache::new(known), ..names() };
        Netstat::new(out, PLAIN, Listening::Connected, names, None, false)
    }));
}

/// The frames of a listing on terminals of several widths.
fn frames(columns: NetstatColumns) -> String {
    let frames = [40, 80, 120, 200].map(|width| {
        let frame =
            shown(|out| Netstat::new(out, columns, Listening::All, names(), Some(width), false));
        assert!(frame.lines().all(|line| line.chars().count() <= width), "{frame}");
        format!("{width} columns\n{frame}")
    });
    frames.join("\n")
}

#[test]
fn fits_a_terminal() {
    insta::assert_snapshot!(frames(NetstatColumns { owners: true, ..PLAIN }));
}

#[test]
fn all_columns_fit_a_terminal() {
    let netns = true;
    let columns = NetstatColumns { owners: true, extended: true, timers: true, ..PLAIN };
    insta::assert_snapshot!(frames(NetstatColumns { info: true, netns, ..columns }));
}

#[test]
fn the_first_rows_set_the_widths() {
    // The thousand-and-first row is wider than the columns, and still whole.
    let mut many =
        vec![socket(Protocol::Tcp, TcpState::Listen, "0.0.0.0:9", "0.0.0.0:0", 9); 1_000];
    many.push(sockets().swap_remove(3));
    let shown =
        shown_sockets(&many, |out| Netstat::new(out, PLAIN, Listening::All, names(), None, false));
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("tcp")).collect();
    assert_eq!(lines.len(), 1_001);
    assert!(lines[..1_000].iter().all(|line| line.find("LISTEN") == lines[0].find("LISTEN")));
    assert!(lines[1_000].contains(" [2001:db8:85a3:8d3:1319:8a2e:370:7348]:ssh [2001:db8:ffff:"));
}

#[test]
fn json() {
    let time = "2026-01-02T03:04:05.678Z".parse().expect("a time");
    let shown = shown(|out| JsonRows::new(out, names(), &time, None, true));
    for line in shown.lines() {
        let row = object(line);
        assert_eq!(row["type"], "connection");
    }
    insta::assert_snapshot!(shown);
}

fn summary_form(json: bool, terminal: Option<usize>) -> SummaryForm {
    let ListingNames { services, users, .. } = names();
    SummaryForm {
        json,
        owners: true,
        services,
        users,
        terminal,
        colour: false,
        language: names().language,
    }
}

#[test]
fn summary() {
    let form = summary_form(false, None);
    insta::assert_snapshot!(shown(|out| Summary::new(out, "Sockets", form)));
}

#[test]
fn a_summary_fits_a_terminal() {
    let frame = shown(|out| Summary::new(out, "Sockets", summary_form(false, Some(24))));
    assert!(frame.lines().all(|line| line.chars().count() <= 24), "{frame}");
}

#[test]
fn summary_as_json() {
    let shown = shown(|out| Summary::new(out, "Sockets", summary_form(true, None)));
    shown.lines().for_each(|line| drop(object(line)));
    insta::assert_snapshot!(shown);
}
