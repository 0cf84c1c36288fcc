//! The filter language, which selects connections and is written as for `ss`.
//!
//! Owns the meaning of a filter. `words` has the table of all words; `token`, `parse` and `value`
//! own the reading, `error` and `hints` its errors, `write` the text of a parsed filter; `names`,
//! `states`, `address`, `text` and `text_fact` the values; `complete` the words that may follow a
//! beginning; `clauses` the part that the kernel program can decide; `measured` the rows that are
//! left out because only the ended ones are measured.

mod address;
mod block;
mod clauses;
mod complete;
mod error;
mod facts;
mod hints;
mod measured;
mod names;
mod parse;
mod states;
#[cfg(test)]
mod tests;
mod text;
mod text_fact;
mod token;
mod value;
mod words;
mod write;

use std::net::SocketAddr;

use netmon_common::KernelFilter;

use self::{address::Net, facts::FilterFacts, states::States};
use super::{connection::Direction, event::Totals, id::SocketId, tcp::TcpState, verdict::Verdict};

pub(crate) use self::{
    block::{Extent, Question},
    complete::complete,
    error::{FilterError, nearest},
    hints::term,
    names::OWN_NETNS,
    text::Text,
    text_fact::TextFact,
    words::WORDS,
};
pub use self::{names::FilterNames, words::RowKind};

/// A fact that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The time from the opening of a connection to its end, or to now while it is open, µs.
    Lifetime,
    /// Data bytes sent and received.
    Bytes,
    /// Data bytes sent.
    BytesSent,
    /// Data bytes received.
    BytesReceived,
    /// Segments retransmitted.
    Retransmits,
    /// The smoothed round trip time, µs.
    Rtt,
}

impl Quantity {
    /// Returns the quantity from the counters of a socket, if the counters have it.
    fn of(self, totals: &Totals) -> Option<u64> {
        match self {
            Self::Lifetime => None,
            Self::Bytes => Some(totals.bytes_sent?.saturating_add(totals.bytes_received?)),
            Self::BytesSent => totals.bytes_sent,
            Self::BytesReceived => totals.bytes_received,
            Self::Retransmits => totals.retransmits.map(Into::into),
            Self::Rtt => totals.rtt_us.map(Into::into),
        }
    }
}

/// A filter. The default filter admits everything. Its text parses to the same filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Node);

impl Filter {
    /// Reads a filter for rows of a kind; blank text is the default filter.
    ///
    /// # Errors
    /// Fails if `text` does not belong to the language, has a name that `names` does not know, or
    /// has a word for a fact that no such row has.
    ///
    /// ```
    /// use netmon::testing::{Filter, FilterNames, RowKind};
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
    /// let filter = Filter::parse(text, &OneService, RowKind::Socket).expect("a filter");
    /// assert_eq!(filter.to_string(), "state established and dport = :443");
    /// let error = Filter::parse("dport = htps", &OneService, RowKind::Socket);
    /// let error = error.expect_err("no such service");
    /// assert!(error.to_string().contains("unknown port 'htps'"), "{error}");
    /// ```
    pub fn parse(text: &str, names: &dyn FilterNames, rows: RowKind) -> Result<Self, FilterError> {
        parse::parse(text, names, rows).map(Self)
    }

    /// Returns whether the connection matches the filter. An unknown fact equals nothing.
    #[must_use]
    pub fn matches(&self, facts: &impl FilterFacts) -> bool {
        self.0.matches(facts)
    }

    /// Returns whether the filter tests the processes of a connection.
    #[must_use]
    pub fn needs_owners(&self) -> bool {
        self.0.has(|term| {
            matches!(term, Term::Pid(_) | Term::Parent(_) | Term::LoginUid(_))
                || matches!(term, Term::Text(fact, _) if fact.is_of_owners())
        })
    }

    /// Returns whether the filter tests more of a connection's processes than their numbers and
    /// names.
    #[must_use]
    pub fn needs_programs(&self) -> bool {
        self.0.has(|term| match term {
            Term::Parent(_) | Term::LoginUid(_) => true,
            Term::Text(fact, _) => fact.is_of_owners() && *fact != TextFact::Comm,
            _ => false,
        })
    }

    /// Returns whether the filter tests the arguments of a connection's processes.
    #[must_use]
    pub fn needs_arguments(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Text(TextFact::Args, _)))
    }

    /// Returns whether the filter tests the cgroup or the cookie of a connection.
    #[must_use]
    pub fn needs_identity(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Cgroup(_) | Term::Cookie(_)))
    }

    /// Returns whether the filter tests a quantity of a connection.
    #[must_use]
    pub fn needs_info(&self) -> bool {
        self.0.has(|term| matches!(term, Term::Quantity(..)))
    }

    /// Returns whether the filter names states.
    #[must_use]
    pub fn names_states(&self) -> bool {
        self.0.has(|term| matches!(term, Term::States(_)))
    }

    /// Returns whether the filter tests for the network namespace `self`.
    #[must_use]
    pub fn names_own_netns(&self) -> bool {
        self.0.has(|term| matches!(term, Term::OwnNetns(_)))
    }

    /// Returns the inode numbers of the only network namespaces that a connection outside of a
    /// journal can match in; none if a connection of any namespace may match.
    #[must_use]
    pub fn namespaces(&self) -> Option<Vec<u32>> {
        let KernelFilter { clauses, count } = self.clauses();
        let used = clauses.get(..usize::try_from(count).ok()?)?;
        let is_bound = count > 0 && used.iter().all(|clause| clause.netns != 0);
        is_bound.then(|| used.iter().map(|clause| clause.netns).collect())
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
    /// At least one part holds. Holds no other `Any`, and no two sets of states side by side.
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
    Parent(u32),
    LoginUid(u32),
    Uid(u32),
    Netns(u32),
    /// The network namespace is the own one: on a row of a journal that of the recorder, on other
    /// rows the one with this inode number.
    OwnNetns(Option<u32>),
    Interface(u32),
    Cgroup(u64),
    Cookie(SocketId),
    Text(TextFact, Text),
    Direction(Direction),
    Verdict(Verdict),
    Errno(u8),
    /// The number is within this range, both ends included; the range is empty if it is reversed.
    Quantity(Quantity, [u64; 2]),
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
        let parts = parts.into_iter().flat_map(|part| match part {
            Self::Any(inner) => inner,
            other => vec![other],
        });
        let mut flat: Vec<Self> = Vec::new();
        for part in parts {
            match (part, flat.last_mut()) {
                (Self::Term(Term::States(more)), Some(Self::Term(Term::States(states)))) => {
                    *states = states.with(more);
                }
                (other, _) => flat.push(other),
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
            Self::Pid(wanted) => wanted != 0 && facts.any_owner(&mut |owner| owner.pid == wanted),
            Self::Parent(wanted) => {
                wanted != 0
                    && facts.any_owner(&mut |owner| {
                        owner.process.is_some_and(|process| process.parent == wanted)
                    })
            }
            Self::LoginUid(uid) => facts.any_owner(&mut |owner| {
                let login = owner.process.and_then(|process| process.login.as_ref());
                login.is_some_and(|login| login.uid == uid)
            }),
            Self::Uid(uid) => facts.uid() == Some(uid),
            Self::Netns(netns) => facts.netns() == netns,
            Self::OwnNetns(own) => {
                let own = facts.labels().map_or(own, |labels| labels.own_netns);
                own == Some(facts.netns())
            }
            Self::Interface(interface) => facts.interface() == interface,
            Self::Cgroup(cgroup) => facts.cgroup() == Some(cgroup),
            Self::Cookie(cookie) => facts.cookie() == Some(cookie),
            Self::Text(fact, ref text) => fact.matches(facts, text),
            Self::Direction(direction) => facts.direction() == Some(direction),
            Self::Verdict(verdict) => facts.verdict() == Some(verdict),
            Self::Errno(errno) => facts.errno() == Some(errno),
            Self::Quantity(quantity, [low, high]) => {
                facts.quantity(quantity).is_some_and(|number| low <= number && number <= high)
            }
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
