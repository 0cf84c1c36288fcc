//! The filter language, which selects connections and is written as for `ss`.
//!
//! Owns the meaning of a filter, and the text of a parsed one. `token` and `parse` own the reading,
//! `states` and `address` the values, `clauses` the part that the kernel program can decide.

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

pub(crate) use self::{
    block::{Extent, Question},
    parse::FilterError,
};

/// The meaning of the names in a filter. Without a method of its own for a kind of name, a host has
/// no name of that kind.
pub trait FilterNames {
    /// Returns the port of the TCP service `name`.
    fn service(&self, _name: &str) -> Option<u16> {
        None
    }
    /// Returns the id of the user `name`.
    fn user(&self, _name: &str) -> Option<u32> {
        None
    }
    /// Returns the inode number of the network namespace `name`.
    fn netns(&self, _name: &str) -> Option<u32> {
        None
    }
    /// Returns the id of the cgroup at `path`.
    fn cgroup(&self, _path: &str) -> Option<u64> {
        None
    }
    /// Returns whether users, namespaces and cgroups have the names that a journal recorded with
    /// them, instead of this host's current names.
    fn are_recorded(&self) -> bool {
        false
    }
}

/// A kind of object whose name a journal keeps.
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
    /// Returns the word for the label in a filter.
    const fn word(self) -> &'static str {
        match self {
            Self::User => "uid",
            Self::Netns => "netns",
            Self::Cgroup => "cgroup",
        }
    }
}

/// The facts of a connection that a filter can test.
pub trait FilterFacts {
    /// Returns the connection's state.
    fn state(&self) -> TcpState;
    /// Returns this host's end, if there is such an end.
    fn local(&self) -> Option<SocketAddr>;
    /// Returns the other end.
    fn remote(&self) -> Option<SocketAddr>;
    /// Returns the inode number of the connection's network namespace.
    fn netns(&self) -> u32;
    /// Returns the number of the network device that the connection is bound to; 0 for none.
    fn interface(&self) -> u32;
    /// Returns the name of that device, if known.
    fn device(&self) -> Option<&str>;
    /// Returns the connection's user, if known.
    fn uid(&self) -> Option<u32>;
    /// Returns the connection's cgroup, if known.
    fn cgroup(&self) -> Option<u64>;
    /// Returns the reason of the connection's end, if it has ended.
    fn verdict(&self) -> Option<Verdict> {
        None
    }
    /// Returns the names that a journal recorded with the connection.
    fn labels(&self) -> Option<&Labels> {
        None
    }
    /// Returns whether `test(pid, comm)` holds for any process that is known to hold the
    /// connection.
    fn any_owner(&self, test: &mut dyn FnMut(u32, &[u8]) -> bool) -> bool;
}

/// A filter. The default filter admits everything. Its text parses to the same filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Node);

impl Filter {
    /// Reads a filter; blank text is the default filter.
    ///
    /// # Errors
    /// Fails if `text` does not belong to the language, or has a name that `names` does not know.
    ///
    /// ```
    /// use netmon::testing::{Filter, FilterNames};
    ///
    /// struct OneService;
    ///
    /// impl FilterNames for OneService {
    ///     fn service(&self, name: &str) -> Option<u16> {
    ///         (name == "https").then_some(443)
    ///     }
    /// }
    ///
    /// let text = "state established dport = https";
    /// let filter = Filter::parse(text, &OneService).expect("a filter");
    /// assert_eq!(filter.to_string(), "state established and dport = :443");
    /// let error = Filter::parse("dport = htps", &OneService).expect_err("no such service");
    /// assert!(error.to_string().contains("unknown port 'htps'"), "{error}");
    /// ```
    pub fn parse(text: &str, names: &dyn FilterNames) -> Result<Self, FilterError> {
        parse::parse(text, names).map(Self)
    }

    /// Returns whether the connection matches the filter. An unknown fact equals nothing.
    #[must_use]
    pub fn matches(&self, facts: &impl FilterFacts) -> bool {
        self.0.matches(facts)
    }

    /// Returns whether the filter tests the processes of a connection.
    #[must_use]
    pub fn needs_owners(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Pid(_) | Term::Comm(_)))
    }

    /// Returns whether the filter tests the cgroup of a connection.
    #[must_use]
    pub fn needs_cgroup(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Cgroup(_)))
    }

    /// Returns whether the filter names states.
    #[must_use]
    pub fn names_states(&self) -> bool {
        self.0.has(|term| matches!(term, Term::States(_)))
    }

    /// Returns whether the filter distinguishes network namespaces.
    #[must_use]
    pub fn names_namespaces(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Netns(_) | Term::Label(Label::Netns, _)))
    }

    /// Returns the part of the filter that the kernel program can decide. It admits every
    /// connection that matches, and maybe more.
    #[must_use]
    pub fn clauses(&self) -> KernelFilter {
        clauses::compile(&self.0)
    }
}

/// An expression. Its lists are as long as the text; the parser bounds its depth.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// All parts hold; true without parts. Holds no other `All`.
    All(Vec<Self>),
    /// At least one part holds. Holds no other `Any`.
    Any(Vec<Self>),
    /// The part does not hold. Holds no other `Not`.
    Not(Box<Self>),
    Term(Term),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    States(States),
    /// The port is within this range, both ends included; the range is empty if it is reversed.
    Ports(Side, [u16; 2]),
    Address(Side, Net),
    Pid(u32),
    Comm(Box<str>),
    Uid(u32),
    Netns(u32),
    Interface(u32),
    Device(Box<str>),
    Cgroup(u64),
    Label(Label, Box<str>),
    Verdict(Verdict),
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end on this host.
    Local,
    /// The other end.
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

impl Term {
    fn matches(&self, facts: &impl FilterFacts) -> bool {
        match *self {
            Self::States(states) => states.contains(facts.state()),
            Self::Ports(side, [low, high]) => {
                side.end(facts).is_some_and(|end| low <= end.port() && end.port() <= high)
            }
            Self::Address(side, net) => side.end(facts).is_some_and(|end| net.contains(end.ip())),
            // A process without a number has pid 0.
            Self::Pid(wanted) => wanted != 0 && facts.any_owner(&mut |pid, _| pid == wanted),
            Self::Comm(ref wanted) => facts.any_owner(&mut |_, comm| comm == wanted.as_bytes()),
            Self::Uid(uid) => facts.uid() == Some(uid),
            Self::Netns(netns) => facts.netns() == netns,
            Self::Interface(interface) => facts.interface() == interface,
            Self::Device(ref name) => facts.device() == Some(name),
            Self::Cgroup(cgroup) => facts.cgroup() == Some(cgroup),
            Self::Label(label, ref name) => {
                let name_of = |labels: &Labels| match label {
                    Label::User => labels.user.clone(),
                    Label::Netns => labels.netns.clone(),
                    Label::Cgroup => labels.cgroup.clone(),
                };
                facts.labels().and_then(name_of).is_some_and(|text| *text == **name)
            }
            Self::Verdict(verdict) => facts.verdict() == Some(verdict),
        }
    }
}

impl Side {
    fn end(self, facts: &impl FilterFacts) -> Option<SocketAddr> {
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
            Self::Ports(side, [low, high]) => {
                f.write_str(match side {
                    Side::Local => "sport ",
                    Side::Remote => "dport ",
                })?;
                match (low, high) {
                    _ if low > high => f.write_str("< :0"),
                    _ if low == high => write!(f, "= :{low}"),
                    (0, _) => write!(f, "<= :{high}"),
                    // The language has no range with two inner bounds.
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
            Self::Interface(interface) => write!(f, "dev = {interface}"),
            Self::Device(ref name) => write_text(f, "dev", name),
            Self::Cgroup(cgroup) => write!(f, "cgroup = {cgroup}"),
            Self::Verdict(verdict) => write!(f, "verdict = {verdict}"),
        }
    }
}

/// Writes that a fact equals a text; quotes the text unless it is a word.
fn write_text(f: &mut fmt::Formatter<'_>, fact: &str, text: &str) -> fmt::Result {
    if token::is_word(text) {
        write!(f, "{fact} = {text}")
    } else {
        write!(f, "{fact} = \"{}\"", text.replace('"', "\"\""))
    }
}
