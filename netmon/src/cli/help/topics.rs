//! The topics of `netmon help`: the words that netmon prints and takes, a screen each.
//!
//! Tests compare each list with the words of the code.

use super::here::{self, Examples};
use crate::{
    cli::{
        args::moment,
        foreign::{self, Instead},
    },
    core::{process::Evidence, verdict::Verdict},
    view::language::Language,
};

/// A topic of `netmon help`.
pub(in crate::cli) struct Topic {
    pub(in crate::cli) name: &'static str,
    pub(in crate::cli) about: &'static str,
    /// Returns the text, with examples of this host. Topics for learners have every language, the
    /// others English.
    pub(super) text: fn(&'static Language) -> String,
}

pub(in crate::cli) static TOPICS: [Topic; 7] = [
    Topic { name: "ports", about: "sockets, ports, and the ports of this host", text: ports },
    Topic { name: "states", about: "ESTABLISHED, TIME_WAIT and the other states", text: states },
    Topic {
        name: "verdicts",
        about: "why a connection ended, and whose it was",
        text: |_| verdicts(),
    },
    Topic { name: "columns", about: "the columns of snapshot, watch and history", text: columns },
    Topic { name: "filter", about: "the language of FILTER", text: |_| filter() },
    Topic {
        name: "time",
        about: "the forms of TIME: 03:12, '10m ago', yesterday",
        text: |_| time(),
    },
    Topic { name: "flags", about: "flags of netstat and ss that netmon lacks", text: |_| flags() },
];

/// The place of examples in a text.
const HERE: &str = "{here}";
/// Stands for further examples.
const MORE: &str = ", ...";
/// The columns of a screen.
pub(super) const COLUMNS: usize = 80;

/// Returns the topic with a name, in the singular or the plural.
pub(in crate::cli) fn topic(name: &str) -> Option<&'static Topic> {
    let plain = |name: &str| name.trim_end_matches('s').to_ascii_lowercase();
    TOPICS.iter().find(|topic| plain(topic.name) == plain(name))
}

fn states(language: &'static Language) -> String {
    with_examples(language.topics.states, here::states(language))
}

fn ports(language: &'static Language) -> String {
    let text = language.topics.ports.replace("{range}", &format!("{:<11}", here::range()));
    with_examples(&text, here::ports(language))
}

fn columns(language: &'static Language) -> String {
    with_examples(language.topics.columns, here::row(language))
}

/// Puts the examples that have room into the line with `{here}`. Without examples, leaves out that
/// line and an empty line before it.
fn with_examples(text: &str, Examples { list, mut has_more }: Examples) -> String {
    let Some((before, _)) = text.split_once(HERE) else { return text.to_owned() };
    let (text, words) = before.rsplit_once('\n').unwrap_or(("", before));
    let room = COLUMNS - words.chars().count() - MORE.len();
    let mut shown = String::new();
    for example in &list {
        let next = if shown.is_empty() { example.clone() } else { format!("{shown}, {example}") };
        if next.chars().count() > room {
            has_more = true;
            break;
        }
        shown = next;
    }
    match shown.as_str() {
        "" => format!("{}\n", text.trim_end()),
        shown => format!("{text}\n{words}{shown}{}\n", if has_more { MORE } else { "" }),
    }
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

/// The words of a filter, from `core/filter`, each with values.
pub(super) const FILTER: [(&str, &str); 14] = [
    ("state, exclude", "state established, exclude time-wait"),
    ("port, sport, dport", "either end, local, remote: port = 443, port in 80,443"),
    ("host, src, dst", "the same of addresses: host localhost, dst 10.0.0.0/8"),
    ("comm, uid, login_uid", "the process, its user: comm = ngin*, uid = www-data"),
    ("pid, exe, args, parent", "its program: exe = /usr/bin/*, parent = */bash"),
    ("unit, user_unit, pod", "where it runs: unit = nginx.service, pod = web-*"),
    ("container, netns, dev", "container = web, netns = self, dev = eth0"),
    ("container_id, cgroup", "container_id = 3f2a*, cgroup = /system.slice"),
    ("dir, cookie", "the side that opened it, its id: dir = in"),
    ("verdict, failed, errno", "the end: verdict = refused, errno = ECONNREFUSED"),
    ("bytes, bytes_sent", "data, in k of 1024: bytes > 1M, bytes_sent > 10k"),
    ("bytes_received", "bytes_received > 1M"),
    ("lifetime, retrans, rtt", "lifetime < 1s, retrans > 10, rtt > 100ms"),
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
