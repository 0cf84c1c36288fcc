//! Applies a filter to many rows at once, column by column, as a journal keeps them.

use std::net::IpAddr;

use super::{Filter, Node, Quantity, Side, Term, Text, TextFact};
use crate::core::{connection::Direction, id::SocketId, tcp::TcpState, verdict::Verdict};

/// One term of a filter, as a question about a row.
pub enum Question<'a> {
    /// Is the state in this set?
    State(&'a dyn Fn(TcpState) -> bool),
    /// Is the port of this end in this range, both ends included?
    Port(Side, [u16; 2]),
    /// Is the address of this end in this set? The last field is the address, if the set has
    /// only one.
    Address(Side, &'a dyn Fn(IpAddr) -> bool, Option<IpAddr>),
    /// Does the process with this id hold the connection?
    Pid(u32),
    /// Is it held by a process whose parent has this id?
    Parent(u32),
    /// Is it held by a process that a login of this user led to?
    LoginUid(u32),
    /// Does the connection belong to the user with this id?
    Uid(u32),
    /// Is the connection in the network namespace with this inode number?
    Netns(u32),
    /// Is the connection in the network namespace of the recorder?
    OwnNetns,
    /// Is the connection bound to the network device with this number? 0 means no device.
    Interface(u32),
    /// Is the connection in the cgroup with this id?
    Cgroup(u64),
    /// Is this the socket of the connection?
    Cookie(SocketId),
    /// Does a text of the connection pass this test?
    Text(TextFact, &'a Text),
    /// Did this side begin the connection?
    Direction(Direction),
    /// Did the connection end for this reason?
    Verdict(Verdict),
    /// Did the connection end with this error?
    Errno(u8),
    /// Is the quantity in this range, both ends included?
    Quantity(Quantity, [u64; 2]),
}

/// Many connections, with some knowledge that needs no look at each.
pub trait Extent {
    /// Returns whether the answer may be yes for any of the connections.
    fn may_have(&self, question: &Question<'_>) -> bool;
}

impl Filter {
    /// Returns whether any of many connections may match the filter.
    #[must_use]
    pub fn may_match(&self, extent: &impl Extent) -> bool {
        self.0.may_be(true, &|term, wanted| {
            !wanted || term.question(|question| extent.may_have(question))
        })
    }

    /// Calls `take` with each question that the filter asks.
    pub fn questions(&self, take: &mut dyn FnMut(&Question<'_>)) {
        self.0.questions(take);
    }

    /// Applies the filter to `rows` rows. `answer` returns for each row whether the answer to a
    /// question is yes.
    ///
    /// # Errors
    /// The first error of `answer`.
    pub fn select<E>(
        &self,
        rows: usize,
        answer: &mut dyn FnMut(&Question<'_>) -> Result<Vec<bool>, E>,
    ) -> Result<Vec<bool>, E> {
        self.0.select(rows, answer)
    }
}

impl Node {
    fn questions(&self, take: &mut dyn FnMut(&Question<'_>)) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.questions(take));
            }
            Self::Not(inner) => inner.questions(take),
            Self::Term(term) => term.question(|question| take(question)),
        }
    }

    fn select<E>(
        &self,
        rows: usize,
        answer: &mut dyn FnMut(&Question<'_>) -> Result<Vec<bool>, E>,
    ) -> Result<Vec<bool>, E> {
        let (parts, initial, combine): (_, _, fn(&mut bool, bool)) = match self {
            Self::Term(term) => return term.question(|question| answer(question)),
            Self::Not(inner) => {
                let mut selected = inner.select(rows, answer)?;
                selected.iter_mut().for_each(|row| *row = !*row);
                return Ok(selected);
            }
            Self::All(parts) => (parts, true, |row, other| *row &= other),
            Self::Any(parts) => (parts, false, |row, other| *row |= other),
        };
        let mut selected = vec![initial; rows];
        for part in parts {
            let other = part.select(rows, answer)?;
            selected.iter_mut().zip(other).for_each(|(row, other)| combine(row, other));
        }
        Ok(selected)
    }

    /// Returns whether the node may be true or, with `wanted` false, untrue. `term` returns the
    /// same for a term.
    pub(super) fn may_be(&self, wanted: bool, term: &impl Fn(&Term, bool) -> bool) -> bool {
        match (self, wanted) {
            (Self::All(parts), true) | (Self::Any(parts), false) => {
                parts.iter().all(|part| part.may_be(wanted, term))
            }
            (Self::Any(parts), true) | (Self::All(parts), false) => {
                parts.iter().any(|part| part.may_be(wanted, term))
            }
            (Self::Not(inner), _) => inner.may_be(!wanted, term),
            (Self::Term(of), _) => term(of, wanted),
        }
    }
}

impl Term {
    fn question<T>(&self, take: impl FnOnce(&Question<'_>) -> T) -> T {
        let question = match self {
            Self::States(states) => return take(&Question::State(&|state| states.contains(state))),
            Self::Address(side, net) => {
                let is_in = |address| net.contains(address);
                return take(&Question::Address(*side, &is_in, net.only()));
            }
            Self::Ports(side, ports) => Question::Port(*side, *ports),
            Self::Pid(pid) => Question::Pid(*pid),
            Self::Parent(pid) => Question::Parent(*pid),
            Self::LoginUid(uid) => Question::LoginUid(*uid),
            Self::Uid(uid) => Question::Uid(*uid),
            Self::Netns(netns) => Question::Netns(*netns),
            Self::OwnNetns(_) => Question::OwnNetns,
            Self::Interface(interface) => Question::Interface(*interface),
            Self::Cgroup(cgroup) => Question::Cgroup(*cgroup),
            Self::Cookie(cookie) => Question::Cookie(*cookie),
            Self::Text(fact, text) => Question::Text(*fact, text),
            Self::Direction(direction) => Question::Direction(*direction),
            Self::Verdict(verdict) => Question::Verdict(*verdict),
            Self::Errno(errno) => Question::Errno(*errno),
            Self::Quantity(quantity, range) => Question::Quantity(*quantity, *range),
        };
        take(&question)
    }
}
