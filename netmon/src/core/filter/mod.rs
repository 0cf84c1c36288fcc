//! The filter language: which connections a user asks for, written as for `ss`.
//!
//! Owns what a filter means and how it is written back. `token` and `parse` own how it is read,
//! `states` and `address` its values, `clauses` what of it the kernel program can decide.

mod address;
mod block;
mod clauses;
mod facts;
mod parse;
mod states;
#[cfg(test)]
mod tests;
mod token;

use std::{fmt, net::SocketAddr};

use netmon_common::KernelFilter;

use self::{address::Net, states::States};
use super::{connection::Labels, tcp::TcpState, verdict::Verdict};

pub use self::{
    block::{Extent, Question},
    parse::FilterError,
};

/// What the names in a filter stand for on this host.
pub trait FilterNames {
    /// The port of the TCP service `name`.
    fn service(&self, name: &str) -> Option<u16>;
    /// The id of the user `name`.
    fn user(&self, name: &str) -> Option<u32>;
    /// The inode number of the network namespace `name`.
    fn netns(&self, name: &str) -> Option<u32>;
    /// The id of the cgroup at `path`.
    fn cgroup(&self, path: &str) -> Option<u64>;
    /// Returns whether users, namespaces and cgroups have the names that a journal recorded with
    /// them, not those of this host today.
    fn are_recorded(&self) -> bool {
        false
    }
}

/// Something whose name a journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// A user.
    User,
    /// A network namespace.
    Netns,
    /// A cgroup.
    Cgroup,
}

impl Label {
    /// The word that a filter has for it.
    const fn word(self) -> &'static str {
        match self {
            Self::User => "uid",
            Self::Netns => "netns",
            Self::Cgroup => "cgroup",
        }
    }
}

/// What a filter asks of a connection.
pub trait FilterFacts {
    /// Its state.
    fn state(&self) -> TcpState;
    /// This host's end, of what has such an end.
    fn local(&self) -> Option<SocketAddr>;
    /// The other end.
    fn remote(&self) -> Option<SocketAddr>;
    /// Inode number of its network namespace.
    fn netns(&self) -> u32;
    /// Its user, where that is known.
    fn uid(&self) -> Option<u32>;
    /// Its cgroup, where that is known.
    fn cgroup(&self) -> Option<u64>;
    /// Why it ended, where it has.
    fn verdict(&self) -> Option<Verdict> {
        None
    }
    /// The names that a journal recorded with it.
    fn labels(&self) -> Option<&Labels> {
        None
    }
    /// Whether `test(pid, comm)` holds of any process that is known to hold it.
    fn any_owner(&self, test: &mut dyn FnMut(u32, &[u8]) -> bool) -> bool;
}

/// A filter; the default one admits everything. Shown as text that parses to the same filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Node);

impl Filter {
    /// Reads a filter; blank text is the default one.
    ///
    /// # Errors
    ///
    /// Where `text` is not of the language, or has a name that `names` does not know.
    pub fn parse(text: &str, names: &dyn FilterNames) -> Result<Self, FilterError> {
        parse::parse(text, names).map(Self)
    }

    /// Whether the connection is one that was asked for. What is not known equals nothing.
    #[must_use]
    pub fn matches(&self, facts: &impl FilterFacts) -> bool {
        self.0.matches(facts)
    }

    /// Whether it asks for the processes of a connection.
    #[must_use]
    pub fn needs_owners(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Pid(_) | Term::Comm(_)))
    }

    /// Whether it asks for the cgroup of a connection.
    #[must_use]
    pub fn needs_cgroup(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Cgroup(_)))
    }

    /// Whether it says which states.
    #[must_use]
    pub fn names_states(&self) -> bool {
        self.0.has(|term| matches!(term, Term::States(_)))
    }

    /// Whether it tells network namespaces apart.
    #[must_use]
    pub fn names_namespaces(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Netns(_) | Term::Label(Label::Netns, _)))
    }

    /// What the kernel program can decide of it: admits whatever matches, and maybe more.
    #[must_use]
    pub fn clauses(&self) -> KernelFilter {
        clauses::compile(&self.0)
    }
}

/// An expression. Its lists are as long as the text, its depth is bounded by the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// All of these: true of none. Holds no other `All`.
    All(Vec<Self>),
    /// At least one of these. Holds no other `Any`.
    Any(Vec<Self>),
    /// Not this. Holds no other `Not`.
    Not(Box<Self>),
    Term(Term),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    States(States),
    /// The port is between these, both included; none where the first is above the second.
    Ports(Side, [u16; 2]),
    Address(Side, Net),
    Pid(u32),
    Comm(Box<str>),
    Uid(u32),
    Netns(u32),
    Cgroup(u64),
    Label(Label, Box<str>),
    Verdict(Verdict),
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This host's.
    Local,
    /// The other.
    Remote,
}

impl Default for Node {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Node {
    fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        <[Self; 1]>::try_from(flat).map_or_else(Self::All, |[only]| only)
    }

    fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Any(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        <[Self; 1]>::try_from(flat).map_or_else(Self::Any, |[only]| only)
    }

    fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    fn matches(&self, facts: &impl FilterFacts) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(facts)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(facts)),
            Self::Not(inner) => !inner.matches(facts),
            Self::Term(term) => term.matches(facts),
        }
    }

    fn has(&self, test: fn(&Term) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.has(test)),
            Self::Not(inner) => inner.has(test),
            Self::Term(term) => test(term),
        }
    }

    /// Writes it as a part of a greater expression.
    fn write_part(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The only text for what is always true that is not blank.
            Self::All(parts) if parts.is_empty() => f.write_str("src *"),
            Self::All(_) | Self::Any(_) => write!(f, "( {self} )"),
            Self::Not(_) | Self::Term(_) => write!(f, "{self}"),
        }
    }
}

impl Term {
    fn matches(&self, facts: &impl FilterFacts) -> bool {
        match *self {
            Self::States(states) => states.contains(facts.state()),
            Self::Ports(side, [low, high]) => {
                side.of(facts).is_some_and(|end| low <= end.port() && end.port() <= high)
            }
            Self::Address(side, net) => side.of(facts).is_some_and(|end| net.contains(end.ip())),
            Self::Pid(wanted) => facts.any_owner(&mut |pid, _| pid == wanted),
            Self::Comm(ref wanted) => facts.any_owner(&mut |_, comm| comm == wanted.as_bytes()),
            Self::Uid(uid) => facts.uid() == Some(uid),
            Self::Netns(netns) => facts.netns() == netns,
            Self::Cgroup(cgroup) => facts.cgroup() == Some(cgroup),
            Self::Label(label, ref name) => {
                let name_of = |labels: &Labels| match label {
                    Label::User => labels.user.clone(),
                    Label::Netns => labels.netns.clone(),
                    Label::Cgroup => labels.cgroup.clone(),
                };
                facts.labels().and_then(name_of).is_some_and(|known| *known == **name)
            }
            Self::Verdict(verdict) => facts.verdict() == Some(verdict),
        }
    }
}

impl Side {
    fn of(self, facts: &impl FilterFacts) -> Option<SocketAddr> {
        match self {
            Self::Local => facts.local(),
            Self::Remote => facts.remote(),
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
        let (parts, between) = match self {
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
                f.write_str(between)?;
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
            Self::Ports(side, [low, high]) => {
                f.write_str(match side {
                    Side::Local => "sport ",
                    Side::Remote => "dport ",
                })?;
                match (low, high) {
                    _ if low > high => f.write_str("< :0"),
                    _ if low == high => write!(f, "= :{low}"),
                    (0, _) => write!(f, "<= :{high}"),
                    // The language has no range that is open at neither end.
                    _ => write!(f, ">= :{low}"),
                }
            }
            Self::Address(Side::Local, net) => write!(f, "src {net}"),
            Self::Address(Side::Remote, net) => write!(f, "dst {net}"),
            Self::Pid(pid) => write!(f, "pid = {pid}"),
            Self::Comm(ref comm) => write_text(f, "comm", comm),
            Self::Label(label, ref name) => write_text(f, label.word(), name),
            Self::Uid(uid) => write!(f, "uid = {uid}"),
            Self::Netns(netns) => write!(f, "netns = {netns}"),
            Self::Cgroup(cgroup) => write!(f, "cgroup = {cgroup}"),
            Self::Verdict(verdict) => write!(f, "verdict = {verdict}"),
        }
    }
}

/// Writes that a fact equals a text, which is quoted where it is no word.
fn write_text(f: &mut fmt::Formatter<'_>, fact: &str, text: &str) -> fmt::Result {
    if token::is_word(text) {
        write!(f, "{fact} = {text}")
    } else {
        write!(f, "{fact} = \"{}\"", text.replace('"', "\"\""))
    }
}
