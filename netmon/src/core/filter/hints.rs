//! The correct forms for words that the language does not have.

use std::net::{IpAddr, SocketAddr};

use super::{
    super::{escape::Escaped, verdict::Verdict},
    Filter, FilterNames, RowKind, WORDS,
    address::is_number,
    error::nearest,
    states::States,
    token::is_word,
    words::{Operators, Word},
};

/// Words of other tools, and the word of the language with the same meaning.
pub(super) const SYNONYMS: [(&str, &[&str]); 19] = [
    ("comm", &["process", "program", "name", "prog", "proc"]),
    ("exe", &["executable", "path", "binary", "image"]),
    ("args", &["command", "cmd", "cmdline", "argv", "arguments"]),
    ("parent", &["ppid", "parent_exe"]),
    ("unit", &["service", "systemd"]),
    ("container", &["docker", "podman"]),
    ("host", &["ip", "addr", "address", "net", "ip4", "ip6"]),
    ("src", &["local", "laddr", "source", "saddr"]),
    ("dst", &["remote", "raddr", "destination", "daddr", "peer", "foreign"]),
    ("sport", &["lport", "local_port", "src_port"]),
    ("dport", &["rport", "remote_port", "dst_port"]),
    ("dev", &["interface", "iface", "nic"]),
    ("netns", &["namespace", "ns"]),
    ("uid", &["owner", "username", "euid", "euser"]),
    ("login_uid", &["loginuid", "auid", "login", "ruid", "ruser", "real_uid", "real_user"]),
    ("lifetime", &["duration", "age"]),
    ("errno", &["error"]),
    ("retrans", &["retransmissions", "retransmit"]),
    ("verdict", &["reason", "why"]),
];
/// Words of other tools, and a whole term.
pub(super) const TERMS: [(&str, &str); 5] = [
    ("reset", "verdict in reset-by-peer,reset-locally"),
    ("rst", "verdict in reset-by-peer,reset-locally"),
    ("timeout", "verdict = timed-out"),
    ("inbound", "dir = in"),
    ("outbound", "dir = out"),
];
/// The words of a protocol, which flags choose.
const PROTOCOLS: [&str; 6] = ["tcp", "tcp4", "tcp6", "udp", "unix", "raw"];

/// Returns the term for a word of the language or of another tool, with the operator and the value
/// that follow the word. The term is a filter.
pub(crate) fn term(
    word: &str,
    operator: Option<&str>,
    value: Option<&str>,
    names: &dyn FilterNames,
) -> Option<String> {
    let plain = word.to_ascii_lowercase().replace('-', "_");
    if let Some((_, term)) = TERMS.iter().find(|(name, _)| *name == plain) {
        return Some((*term).to_owned());
    }
    if States::named(word).is_some() {
        return Some(format!("state {word}"));
    }
    if Verdict::ALL.iter().any(|verdict| verdict.name().eq_ignore_ascii_case(word)) {
        return Some(format!("verdict = {word}"));
    }
    let synonym = || {
        let known = SYNONYMS.iter().find(|(_, others)| others.contains(&&*plain));
        known.and_then(|(name, _)| Word::named(name))
    };
    let word = Word::named(&plain).or_else(synonym)?;
    let with = |value: &str| match word.operators {
        Operators::None => format!("{} {value}", word.name),
        _ => format!("{} {} {}", word.name, operator.unwrap_or("="), quoted(value)),
    };
    let is_filter = |term: &String| Filter::parse(term, names, RowKind::Connection).is_ok();
    Some(value.map(with).filter(is_filter).unwrap_or_else(|| word.example.to_owned()))
}

/// Returns the value as the language takes it: in quotes, unless the value is one word.
fn quoted(value: &str) -> String {
    if is_word(value) { value.to_owned() } else { format!("\"{}\"", value.replace('"', "\"\"")) }
}

/// Returns the correct form for an unknown word, and the name that was meant if a letter or two are
/// different.
pub(super) fn instead(
    word: &str,
    operator: Option<&str>,
    value: Option<&str>,
    names: &dyn FilterNames,
) -> (String, Option<&'static str>) {
    let is_address = word.parse::<SocketAddr>().is_ok()
        || word.split('/').next().is_some_and(|one| one.parse::<IpAddr>().is_ok());
    let write = if is_number(word) {
        format!("port = {word} or pid = {word}")
    } else if is_address {
        format!("host {}", Escaped(word.as_bytes()))
    } else if PROTOCOLS.contains(&&*word.to_ascii_lowercase()) {
        "the filter without it: flags choose protocols, as in netmon snapshot -t".to_owned()
    } else if let Some(term) = term(word, operator, value, names) {
        term
    } else if let Some((near, known)) =
        nearest(word, Word::all_names()).and_then(|near| Some((near, Word::named(near)?)))
    {
        return (known.example.replacen(known.name, near, 1), Some(near));
    } else {
        all()
    };
    (write, None)
}

/// Returns the names of all words.
pub(super) fn all() -> String {
    WORDS.iter().map(|word| word.name).collect::<Vec<_>>().join(", ")
}
