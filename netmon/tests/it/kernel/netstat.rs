//! `netmon netstat` beside net-tools' netstat, on scenes that hold still. The differences are those
//! that docs/netstat.md names.

use std::{
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::symlink,
            net::{SocketAddr, UnixListener},
        },
    },
    process::{Command, Output},
    time::{Duration, Instant},
};

use regex::Regex;

use self::Difference::{
    Addresses, Escapes, Help, Letters, Mapped, Messages, Owners, Paths, Tcpip, Version,
};
use crate::kernel::{
    every_state::HeldSockets,
    harness::{close_in_turn, patience, slow},
    netns::{Netns, sh},
    recording::Directory,
};

const DOCUMENT: &str = include_str!("../../../../docs/netstat.md");
/// The time of a listing that goes on: a part of the second between two listings.
const A_MOMENT: Duration = Duration::from_millis(700);

/// A difference from net-tools, by its name in docs/netstat.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    Owners,
    Mapped,
    Addresses,
    Paths,
    Escapes,
    Letters,
    Tcpip,
    Help,
    Version,
    Messages,
}

impl Difference {
    const ALL: [Self; 10] =
        [Owners, Mapped, Addresses, Paths, Escapes, Letters, Tcpip, Help, Version, Messages];

    const fn name(self) -> &'static str {
        match self {
            Owners => "owners",
            Mapped => "mapped",
            Addresses => "addresses",
            Paths => "paths",
            Escapes => "escapes",
            Letters => "letters",
            Tcpip => "tcpip",
            Help => "help",
            Version => "version",
            Messages => "messages",
        }
    }

    /// Returns the flags with which net-tools prints the same.
    fn theirs(self, flags: &str) -> String {
        match self {
            Addresses => format!("{flags} -W"),
            Letters => flags.replace('T', "W").replace('I', "i"),
            Tcpip => flags.replace("--tcpip", "--inet"),
            _ => flags.to_owned(),
        }
    }

    /// Takes the parts away in which both may differ.
    fn plain(self, shown: &Shown) -> Shown {
        let Shown { code, mut stdout, mut stderr } = shown.clone();
        let replace = |text: &str, pattern: &str, by: &str| {
            Regex::new(pattern).expect(pattern).replace_all(text, by).into_owned()
        };
        match self {
            Owners => stdout = replace(&stdout, r"\d+/\S+( [a-z]\S*)* *", "OWNER "),
            // Both texts have the same width.
            Mapped => stdout = replace(&stdout, r"\b127\.0\.0\.1\b", "localhost"),
            Paths => stdout = replace(&stdout, r"(?m)^(unix .* /\S+).*$", "$1"),
            Escapes => stdout = stdout.replace('\u{1b}', "\\u{1b}"),
            Help | Version => (stdout, stderr) = (String::new(), String::new()),
            Messages => stderr = stderr.lines().next().unwrap_or_default().to_owned(),
            Addresses | Letters | Tcpip => {}
        }
        Shown { code, stdout, stderr }
    }
}

/// The command lines on the scene of sockets.
const SOCKETS: [(&str, &[Difference]); 42] = [
    ("", &[Mapped]),
    ("-n", &[]),
    ("-a", &[Mapped, Addresses, Paths, Escapes]),
    ("-an", &[Addresses, Paths, Escapes]),
    ("-t", &[Mapped]),
    ("-tn", &[]),
    ("-ta", &[Mapped, Addresses]),
    ("-at", &[Mapped, Addresses]),
    ("-tan", &[Addresses]),
    ("-tanp", &[Owners, Addresses]),
    ("-tano", &[Addresses]),
    ("-tane", &[Addresses]),
    ("-tanW", &[]),
    ("-tanT", &[Letters]),
    ("-ntpl", &[Owners, Addresses]),
    ("-tln", &[Addresses]),
    ("-tlW", &[]),
    ("-tulpen", &[Owners, Addresses]),
    ("-tulpn", &[Owners, Addresses]),
    ("-tunapl", &[Owners, Addresses]),
    ("-pant", &[Owners, Addresses]),
    ("-plunt", &[Owners, Addresses]),
    ("-ltu", &[Addresses]),
    ("-tc", &[Mapped]),
    ("-u", &[]),
    ("-ua", &[]),
    ("-uan", &[]),
    ("-U", &[]),
    ("-w", &[]),
    ("-wan", &[]),
    ("-wa", &[]),
    ("-4 -an", &[]),
    ("-6 -anW", &[]),
    ("-A inet -lnW", &[]),
    ("--inet --tcp --numeric --listening", &[]),
    ("--tcpip -an", &[Tcpip]),
    ("-x", &[]),
    ("-xl", &[Paths, Escapes]),
    ("-xap", &[Owners, Paths, Escapes]),
    ("-A unix -a", &[Paths, Escapes]),
    ("--numeric-ports -tl -W", &[]),
    ("-tnao --numeric-users -e", &[Addresses]),
];

/// The command lines on the scene of tables.
const TABLES: [(&str, &[Difference]); 34] = [
    ("-r", &[]),
    ("-rn", &[]),
    ("-nr", &[]),
    ("-rne", &[]),
    ("-rnee", &[]),
    ("-rN", &[]),
    ("-rn -A inet", &[]),
    ("-6rn", &[]),
    ("-rn --inet --inet6", &[]),
    ("-rC", &[]),
    ("-rnC6", &[]),
    ("-i", &[]),
    ("-in", &[]),
    ("-ia", &[]),
    ("-ie", &[]),
    ("-I", &[Letters]),
    ("-g", &[]),
    ("-gn", &[]),
    ("-gn4", &[]),
    ("-s", &[]),
    ("-st", &[]),
    ("-su", &[]),
    ("-sw", &[]),
    ("-s6", &[]),
    ("-sA unix", &[]),
    ("-M", &[]),
    ("-tS", &[]),
    ("-rA unix", &[]),
    ("-A nothing", &[]),
    ("-h", &[Help]),
    ("-V", &[Version]),
    ("-tQ", &[Messages]),
    ("--nothing", &[Messages]),
    ("--num", &[Messages]),
];

/// The outcome of a command line, without the parts that move.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs a netstat; one that goes on, for its first listing.
fn run(program: &[&str], flags: &str) -> Shown {
    let goes_on = flags == "-tc";
    let moment = slow(A_MOMENT).as_secs_f64().to_string();
    let before: &[&str] = if goes_on { &["timeout", &moment] } else { &[] };
    let words = [before, program].concat();
    let mut command = Command::new(words[0]);
    let command = command.args(&words[1..]).args(flags.split_whitespace());
    let Output { status, stdout, stderr } =
        command.env("LC_ALL", "C").output().unwrap_or_else(|error| {
            panic!("{}: {error}; the test needs net-tools: `cargo xtask test`", words[0])
        });
    let mut stdout = String::from_utf8_lossy(&stdout).into_owned();
    if goes_on {
        // A fast program has a second listing where tests wait longer.
        let title = stdout.lines().next().unwrap_or_default().to_owned();
        if let Some((second, _)) = stdout.match_indices(&title).nth(1) {
            stdout.truncate(second);
        }
    }
    if flags.contains('o') && !flags.contains("--num") || flags.contains("-tnao") {
        // The rest of a timer, with what was sent meanwhile.
        let timer = Regex::new(r"\(\d+\.\d\d/\d+/\d+\)").expect("a pattern");
        stdout = timer.replace_all(&stdout, "(T)").into_owned();
    }
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    Shown { code: status.code(), stdout, stderr }
}

const OURS: [&str; 2] = [env!("CARGO_BIN_EXE_netmon"), "netstat"];

/// Compares both programs. Returns the line of the list: `same`, or the differences.
fn compare(flags: &str, differences: &[Difference]) -> Result<String, String> {
    let other = differences.iter().fold(flags.to_owned(), |flags, d| d.theirs(&flags));
    let end = Instant::now() + patience();
    // The scene holds still, but for timers of the kernel.
    let (theirs, ours) = loop {
        let theirs = run(&["netstat"], &other);
        let ours = run(&OURS, flags);
        if run(&["netstat"], &other) == theirs {
            break (theirs, ours);
        }
        assert!(Instant::now() < end, "{flags}: the scene does not hold still");
    };
    let plain = |shown: &Shown| differences.iter().fold(shown.clone(), |shown, d| d.plain(&shown));
    if plain(&ours) != plain(&theirs) {
        return Err(format!("netstat {flags}\n{}", diff(&plain(&theirs), &plain(&ours))));
    }
    let names: Vec<_> = differences.iter().map(|difference| difference.name()).collect();
    if names.is_empty() {
        return Ok(format!("netstat {flags:<40} same"));
    }
    if run(&["netstat"], flags) == ours {
        return Err(format!("netstat {flags}: the same, though {names:?} are expected"));
    }
    Ok(format!("netstat {flags:<40} {}", names.join(", ")))
}

/// The lines in which both differ.
fn diff(theirs: &Shown, ours: &Shown) -> String {
    let mut lines = format!("codes: {:?}, netmon {:?}\n", theirs.code, ours.code);
    for (theirs, ours) in [(&theirs.stdout, &ours.stdout), (&theirs.stderr, &ours.stderr)] {
        let mut pairs = (theirs.lines(), ours.lines());
        loop {
            match (pairs.0.next(), pairs.1.next()) {
                (None, None) => break,
                (one, other) if one == other => {}
                (one, other) => lines += &format!("- {one:?}\n+ {other:?}\n"),
            }
        }
    }
    lines
}

/// Compares every command line, and prints the list.
fn compare_all(lines: &[(&str, &[Difference])]) {
    let results: Vec<_> = lines.iter().map(|(flags, known)| compare(flags, known)).collect();
    let (same, wrong): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    same.into_iter().flatten().for_each(|line| println!("{line}"));
    let wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
}

#[test]
fn the_document_names_the_differences() {
    let (_, section) = DOCUMENT.split_once("\n## Differences\n").expect("the section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let names: Vec<_> = rows.filter_map(|row| row.split(" |").next()).collect();
    assert_eq!(names[1..], Difference::ALL.map(Difference::name));
    for difference in Difference::ALL {
        let mut lines = SOCKETS.iter().chain(&TABLES);
        assert!(lines.any(|(_, known)| known.contains(&difference)), "{difference:?} is untried");
    }
}

#[test]
fn sockets_are_listed_as_net_tools_lists_them() {
    Netns::new().run(|| {
        let _held = HeldSockets::open();
        sh("ip -6 addr add fd00:1111:2222:3333:4444:5555:6666:7777/128 dev lo nodad");
        let long: Ipv6Addr = "fd00:1111:2222:3333:4444:5555:6666:7777".parse().expect("an address");
        let _long = TcpListener::bind((long, 8005)).expect("bound");
        let name = SocketAddr::from_abstract_name(b"red\x1b[31m").expect("a name");
        let _odd = UnixListener::bind_addr(&name).expect("bound");
        compare_all(&SOCKETS);
    });
}

/// Addresses, routes, groups and counters that a test knows.
pub(super) struct Network {
    _members: [UdpSocket; 2],
    _held: Vec<OwnedFd>,
}

impl Network {
    pub(super) fn new() -> Self {
        // No name is looked up far away, where netstat would wait.
        sh("sysctl -qw net.ipv6.conf.default.router_solicitations=0 || true
            ip link add a0 address 02:00:00:00:00:0a type veth \
                peer name a10 address 02:00:00:00:00:0b
            ip link add a2 type veth peer name down0
            for device in a0 a10 a2 down0; do ip link set $device addrgenmode none; done
            ip addr add 10.1.2.3/24 broadcast 10.1.2.255 dev a0
            ip addr add 169.254.7.7/16 dev a10
            ip -6 addr add fd00:7::1/64 dev a0 nodad
            ip link set a0 up && ip link set a10 up
            for server in $(sed -n 's/^nameserver //p' /etc/resolv.conf); do
                ip route add unreachable $server || ip -6 route add unreachable $server || true
            done
            ip route add default via 10.1.2.1
            ip route add 10.7.0.0/16 via 10.1.2.9 metric 7 advmss 1000 window 3000 rtt 300ms
            ip route add 10.8.0.0/16 nexthop via 10.1.2.8 nexthop via 10.1.2.9
            ip route add unreachable 10.9.0.0/16
            ip route add prohibit 10.9.1.1
            ip route add blackhole 10.10.0.0/16
            ip route add 10.11.12.13 dev a0
            ip route add table 77 10.77.0.0/16 dev a0
            ip -6 route add fd00:8::/32 via fd00:7::2 metric 77
            ip -6 route add unreachable fd00:9::/32");
        let members = [UdpSocket::bind("0.0.0.0:9100"), UdpSocket::bind("[::]:9101")]
            .map(|socket| socket.expect("bound"));
        let group = Ipv4Addr::new(239, 1, 2, 3);
        members[0].join_multicast_v4(&group, &Ipv4Addr::new(10, 1, 2, 3)).expect("joined");
        let group = "ff05::77".parse().expect("an address");
        members[1].join_multicast_v6(&group, 1).expect("joined");
        Self { _members: members, _held: traffic() }
    }
}

/// Makes traffic on the loopback device: connections, datagrams, refusals.
fn traffic() -> Vec<OwnedFd> {
    let mut held = Vec::new();
    for ip in ["127.0.0.1", "::1"] {
        let listener = TcpListener::bind((ip, 0)).expect("bound");
        let address = listener.local_addr().expect("an address");
        for _ in 0..3 {
            let client = TcpStream::connect(address).expect("connected");
            close_in_turn(client, listener.accept().expect("accepted").0);
        }
        drop(listener);
        assert!(TcpStream::connect(address).is_err(), "refused");
        let socket = UdpSocket::bind((ip, 0)).expect("bound");
        let closed = UdpSocket::bind((ip, 0)).expect("bound");
        let unused = closed.local_addr().expect("an address");
        drop(closed);
        socket.send_to(b"refused", unused).expect("sent");
        socket.send_to(b"to itself", socket.local_addr().expect("an address")).expect("sent");
        held.push(socket.into());
    }
    held
}

#[test]
fn tables_are_equal_to_those_of_net_tools() {
    Netns::new().run(|| {
        let _network = Network::new();
        compare_all(&TABLES);
    });
}

#[test]
fn a_link_with_the_name_netstat_is_netstat() {
    let directory = Directory::new();
    let link = directory.0.join("netstat");
    symlink(OURS[0], &link).expect("a link");
    let link = link.to_str().expect("a path");
    Netns::new().run(|| {
        for flags in ["-rn", "-tQ", "-in"] {
            assert_eq!(run(&[link], flags), run(&OURS, flags), "{flags}");
        }
    });
}
