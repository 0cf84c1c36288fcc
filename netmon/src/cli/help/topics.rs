//! The topics of `netmon help`: the words that netmon prints and takes, a screen each.
//!
//! Tests compare each list with the words of the code.

use crate::{
    cli::{
        args::moment,
        foreign::{self, Instead},
    },
    core::{process::Evidence, tcp::TcpState, verdict::Verdict},
};

/// A topic of `netmon help`.
pub(in crate::cli) struct Topic {
    pub(in crate::cli) name: &'static str,
    pub(in crate::cli) about: &'static str,
    pub(super) text: fn() -> String,
}

pub(in crate::cli) static TOPICS: [Topic; 6] = [
    Topic { name: "states", about: "ESTABLISHED, TIME_WAIT and the other states", text: states },
    Topic { name: "verdicts", about: "why a connection ended, and whose it was", text: verdicts },
    Topic { name: "columns", about: "the columns of snapshot, watch and history", text: columns },
    Topic { name: "filter", about: "the language of FILTER", text: filter },
    Topic { name: "time", about: "the forms of TIME: 03:12, '10m ago', yesterday", text: time },
    Topic { name: "flags", about: "flags of netstat and ss that netmon lacks", text: flags },
];

/// Returns the topic with a name, in the singular or the plural.
pub(in crate::cli) fn topic(name: &str) -> Option<&'static Topic> {
    let plain = |name: &str| name.trim_end_matches('s').to_ascii_lowercase();
    TOPICS.iter().find(|topic| plain(topic.name) == plain(name))
}

/// The states in the order of a connection's life.
pub(super) const STATES: [(TcpState, &str); 12] = [
    (TcpState::Listen, "a server waits here for connections"),
    (TcpState::SynSent, "this host has called, and has no answer yet"),
    (TcpState::NewSynRecv, "a peer has called, and this host has answered: half open"),
    (TcpState::SynRecv, "the same, in listings and a moment later"),
    (TcpState::Established, "open: both sides can send"),
    (TcpState::FinWait1, "closed here first; the peer has not confirmed that yet"),
    (TcpState::FinWait2, "closed here, and confirmed; the peer can still send"),
    (TcpState::Closing, "both sides closed at once; a confirmation is missing"),
    (TcpState::TimeWait, "over; the kernel keeps the ports busy for a minute"),
    (TcpState::CloseWait, "the peer has closed; the program here has not yet"),
    (TcpState::LastAck, "closed here after the peer; its confirmation is missing"),
    (TcpState::Close, "no connection: not yet, or not any more"),
];

fn states() -> String {
    let rows = STATES.map(|(state, meaning)| (state.name(), meaning));
    format!(
        "Every TCP socket is in one of these states. A connection goes from the first\n\
         lines to the last ones, and stays in ESTABLISHED while it is open.\n\n{}\n\
         A sign of trouble is a state that stays, or that many connections are in:\n  \
         SYN_SENT      no answer: a firewall, or a host that is down\n  \
         CLOSE_WAIT    a program of this host forgets to close\n  \
         FIN_WAIT2     a program of the peer forgets to close\n\n\
         A filter takes these names, in small letters too:\n  \
         netmon snapshot state close_wait\n",
        table(&rows)
    )
}

pub(super) const VERDICTS: [(Verdict, &str); 11] = [
    (Verdict::ClosedLocally, "this host closed first, and the peer followed: usual"),
    (Verdict::ClosedByPeer, "the peer closed first, and this host followed: usual"),
    (Verdict::Refused, "the peer has no program that listens on this port"),
    (Verdict::TimedOut, "no answer came, to the connect or to later data"),
    (Verdict::Unreachable, "the network reported that no way leads to the peer"),
    (Verdict::ResetByPeer, "the peer broke the connection off, with a RST"),
    (Verdict::ResetLocally, "this host broke it off: unread data, SO_LINGER, ss -K"),
    (Verdict::NoFreePort, "all local ports were taken; no packet was sent"),
    (Verdict::Aborted, "the program gave up before an answer came"),
    (Verdict::ClosedSilently, "closed here without a word to the peer, as CRIU does"),
    (Verdict::Vanished, "netmon missed the end; the kernel has it no more"),
];

pub(super) const EVIDENCE: [(Evidence, &str); 4] = [
    (Evidence::Connect, "it called connect"),
    (Evidence::Accept, "it called accept, and got the connection"),
    (Evidence::Listen, "it called listen, for a connection that came in"),
    (Evidence::FdScan, "it held the socket when netmon looked"),
];

fn verdicts() -> String {
    let verdicts = VERDICTS.map(|(verdict, meaning)| (verdict.name(), meaning));
    let evidence = EVIDENCE.map(|(evidence, meaning)| (evidence.name(), meaning));
    let failed: Vec<_> = VERDICTS.iter().filter(|(verdict, _)| verdict.is_failure()).collect();
    let failed: Vec<_> = failed.iter().map(|(verdict, _)| verdict.name()).collect();
    format!(
        "The last line of a connection has the reason of its end, the verdict:\n\n{}\n\
         A filter takes these words: netmon history 'verdict = refused'\n\
         failed is {}\n\n\
         netmon names a process for what it did or holds (owner_evidence in JSON):\n\n{}",
        table(&verdicts),
        failed.join(", "),
        table(&evidence)
    )
}

/// The columns of a listing.
pub(super) const LISTING: [(&str, &str); 11] = [
    ("Proto", "tcp, udp, raw or unix; tcp6 is IPv6, and may carry IPv4"),
    ("Recv-Q", "bytes that the program has not read; LISTEN: connections"),
    ("Send-Q", "bytes the peer has not confirmed; LISTEN: limit of Recv-Q"),
    ("Local Address", "the end on this host; 0.0.0.0, [::] and * are any address"),
    ("Foreign Address", "the other end"),
    ("State", "the state of the connection: netmon help states"),
    ("User", "with -e: the user that the socket belongs to"),
    ("Inode", "with -e: the number of the socket, as in /proc/PID/fd"),
    ("PID/Program name", "processes that hold the socket; - for none, or not yours"),
    ("Netns", "network namespace, if others have rows; self: netmon's own"),
    ("Timer", "with -o: timer (seconds left/retransmissions/probes)"),
];

/// The columns of unix sockets that others have not.
pub(super) const UNIX: [&str; 5] = ["RefCnt", "Flags", "Type", "I-Node", "Path"];

/// The columns of `watch` and `history` that a listing has not.
pub(super) const CHANGES: [(&str, &str); 7] = [
    ("Date, Time", "the moment of the change"),
    ("Opened, Ended", "in history: the moments of the connection"),
    ("Dir", "out: this host called; in: a peer called; lis: a server"),
    ("Old state ->", "the state before"),
    ("In state", "the time in the state before"),
    ("Lifetime", "the time from the opening to the end"),
    ("Why", "how it ended, bytes, retransmits: netmon help verdicts"),
];

fn columns() -> String {
    format!(
        "netmon snapshot:\n{}Unix sockets (-x) have {}; ACC listens.\n\n\
         netmon watch and netmon history have besides:\n{}",
        table(&LISTING),
        UNIX.join(", "),
        table(&CHANGES)
    )
}

/// The words of a filter, from `core/filter`, each with values.
pub(super) const FILTER: [(&str, &str); 13] = [
    ("state, exclude", "state established, exclude time-wait"),
    ("port, sport, dport", "either end, local, remote: port = :443, port in 80,443"),
    ("host, src, dst", "the same of addresses: host localhost, dst 10.0.0.0/8"),
    ("pid, comm, uid", "the process and its user: comm = ngin*, uid = www-data"),
    ("exe, args", "what the process runs: exe = /usr/bin/*, args ~ serve"),
    ("cgroup, netns, dev", "the place: netns = blue, netns = self, dev = eth0"),
    ("dir, cookie", "the side that opened it, its id: dir = in"),
    ("verdict, failed", "the end: verdict = refused, failed"),
    ("errno, lifetime", "errno = ECONNREFUSED, lifetime < 1s"),
    ("bytes, bytes_sent", "data, in k of 1024: bytes > 1M, bytes_sent > 10k"),
    ("bytes_received", "bytes_received > 1M"),
    ("retrans, rtt", "retrans > 10, rtt > 100ms"),
    ("and, or, not, ( )", "join terms; side by side, terms mean and"),
];

fn filter() -> String {
    format!(
        "A FILTER chooses connections, in the language of ss.\n\n{}\n\
         = may be left out. Numbers take != < > <= >= too, names take != ~ !~.\n\n  \
         netmon snapshot 'state established and not dst 127.0.0.0/8'\n  \
         sudo netmon watch 'comm = curl and ( :80 or :443 )'\n\n\
         Quote it: the shell has a meaning of its own for ( ) < > * and !.\n\
         An unknown value equals nothing: pid != 812 admits sockets without a process.\n",
        table(&FILTER)
    )
}

fn time() -> String {
    format!(
        "--at, --from and --to take a moment in each of these forms. Quote spaces.\n\n{}\n\
         A zone or an offset may follow: 03:12Z, '03:12 UTC', '03:12 Europe/Berlin'.\n\
         Without one, a moment is of local time, and with --utc of UTC. Where clocks are\n\
         set back, the first of two such times is meant, and netmon reports it.\n\n  \
         netmon snapshot --at 03:12:07\n  \
         netmon watch --from '10m ago' --to now\n",
        table(&moment::FORMS)
    )
}

fn flags() -> String {
    let letters = |flag: &foreign::ForeignFlag| {
        let letters: Vec<_> = flag.names.iter().copied().filter(|name| name.len() == 2).collect();
        if letters.is_empty() { flag.names[0].to_owned() } else { letters.join(" ") }
    };
    let row = |flag| match flag {
        flag @ &foreign::ForeignFlag { instead: Instead::Words(words), .. } => {
            Some((letters(flag), words))
        }
        _ => None,
    };
    let rows: Vec<_> = foreign::FLAGS.iter().filter_map(row).collect();
    let rows: Vec<_> = rows.iter().map(|(names, instead)| (names.as_str(), *instead)).collect();
    format!(
        "netmon snapshot has the flags of netstat, and those of ss with the same letters.\n\
         For the others, type:\n\n{}",
        table(&rows)
    )
}

/// Lays two columns out.
fn table(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    rows.iter().map(|(left, right)| format!("  {left:<width$}  {right}\n")).collect()
}
