//! The text of a filter, which parses to the same filter.

use std::fmt;

use super::{Filter, Node, OWN_NETNS, Quantity, Side, Term, TextFact};
use crate::core::{connection::Direction, errno};

impl Node {
    /// Writes the node as a part of a greater expression.
    fn write_part(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The only text for an expression that is always true, except blank text.
            Self::All(parts) if parts.is_empty() => f.write_str("src *"),
            Self::All(_) | Self::Any(_) => write!(f, "( {self} )"),
            Self::Not(_) | Self::Term(_) => write!(f, "{self}"),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, separator) = match self {
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
            Self::Not(inner) => {
                f.write_str("not ")?;
                return inner.write_part(f);
            }
            Self::Term(term) => return term.fmt(f),
        };
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                f.write_str(separator)?;
            }
            part.write_part(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::States(states) => states.fmt(f),
            Self::Ports(side, range) => {
                let word = match side {
                    Side::Local => "sport",
                    Side::Remote => "dport",
                };
                write_range(f, word, range, u16::MAX, |port| format!(":{port}"))
            }
            Self::Address(Side::Local, net) => write!(f, "src {net}"),
            Self::Address(Side::Remote, net) => write!(f, "dst {net}"),
            Self::Pid(pid) => write!(f, "pid = {pid}"),
            Self::Parent(pid) => write!(f, "parent = {pid}"),
            Self::LoginUid(uid) => write!(f, "login_uid = {uid}"),
            Self::Uid(uid) => write!(f, "uid = {uid}"),
            Self::Netns(netns) => write!(f, "netns = {netns}"),
            Self::OwnNetns(_) => write!(f, "netns = {OWN_NETNS}"),
            Self::Interface(interface) => write!(f, "dev = {interface}"),
            Self::Cgroup(cgroup) => write!(f, "cgroup = {cgroup}"),
            Self::Cookie(cookie) => write!(f, "cookie = sk:{:x}", cookie.get()),
            // Only in quotes, the word is a name like others.
            Self::Text(TextFact::Netns, ref text) if text.only() == Some(OWN_NETNS) => {
                write!(f, "netns = \"{OWN_NETNS}\"")
            }
            Self::Text(fact, ref text) => {
                let word = match fact {
                    TextFact::Comm => "comm",
                    TextFact::Exe => "exe",
                    TextFact::Parent => "parent",
                    TextFact::Args => "args",
                    TextFact::Device => "dev",
                    TextFact::LoginUser => "login_uid",
                    TextFact::User => "uid",
                    TextFact::Netns => "netns",
                    TextFact::Cgroup => "cgroup",
                    TextFact::Unit => "unit",
                    TextFact::UserUnit => "user_unit",
                    TextFact::Container => "container",
                    TextFact::ContainerId => "container_id",
                    TextFact::Pod => "pod",
                };
                write!(f, "{word} {text}")
            }
            Self::Direction(direction) => f.write_str(match direction {
                Direction::Inbound => "dir = in",
                Direction::Outbound => "dir = out",
                Direction::Listen => "dir = listen",
            }),
            Self::Verdict(verdict) => write!(f, "verdict = {verdict}"),
            Self::Errno(number) => write!(f, "errno = {}", errno::text(number)),
            Self::Quantity(quantity, range) => {
                let (word, unit) = match quantity {
                    Quantity::Lifetime => ("lifetime", "us"),
                    Quantity::Bytes => ("bytes", ""),
                    Quantity::BytesSent => ("bytes_sent", ""),
                    Quantity::BytesReceived => ("bytes_received", ""),
                    Quantity::Retransmits => ("retrans", ""),
                    Quantity::Rtt => ("rtt", "us"),
                };
                write_range(f, word, range, u64::MAX, |number| format!("{number}{unit}"))
            }
        }
    }
}

/// Writes that a number is in a range. The language has no range with two inner bounds.
fn write_range<T: Copy + Default + Ord>(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    [low, high]: [T; 2],
    most: T,
    text: impl Fn(T) -> String,
) -> fmt::Result {
    let (operator, value) = match () {
        () if low > high => ("<", T::default()),
        () if low == high => ("=", low),
        () if high == most => (">=", low),
        () => ("<=", high),
    };
    write!(f, "{word} {operator} {}", text(value))
}
