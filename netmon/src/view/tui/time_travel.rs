//! The past in the same screen: what is asked of a journal, and what it answers.

use std::convert::Infallible;

use super::{activity::Activity, rows::counts};
use crate::{
    core::{
        event::{Anchor, Gap, Tuple},
        filter::Filter,
        socket::TcpInfo,
    },
    session::{TableInput, Tables},
};

/// The minutes in sight, ns.
const MINUTES: u64 = 300_000_000_000;
/// Rows that may be counted for the curves of the past: a tenth of a second or so.
const COUNTED: usize = 10_000_000;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// So many seconds, back where negative.
    Seconds(i64),
    /// To the next event.
    Next,
    /// To the event before.
    Previous,
    /// To the end.
    Last,
}

/// What the screen wants to know that takes longer than a frame may.
#[derive(Clone, Debug)]
pub enum ScreenQuery {
    /// The table so far from a moment (ns since 1970, UTC); connections that this filter lets pass
    /// are looked at closely.
    Past(i64, Jump, Box<Filter>),
    /// What the kernel counts of the socket with this cookie.
    Inspect(Tuple, u64),
    /// What something is called.
    Name(NameQuery),
}

/// What came of it.
#[derive(Debug)]
pub enum ScreenAnswer {
    /// What there was.
    Past(Box<PastFrame>),
    /// There is nothing there, or nothing that can be read.
    Nowhere(String),
    /// What the kernel counts of the socket with this cookie, if it is there.
    Inspected(u64, Option<Box<Inspected>>),
    /// What it is called, if it is called anything.
    Name(NameQuery, Option<String>),
}

/// Something that has a name, which may take long to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameQuery {
    /// A user, by id.
    User(u32),
    /// A cgroup, by id.
    Cgroup(u64),
}

/// What the kernel says of a socket.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Bytes that nobody has read; of a listener, connections that nobody has accepted.
    pub recv_q: u32,
    /// Bytes that are not acknowledged; of a listener, its backlog.
    pub send_q: u32,
    /// What TCP measures; listeners have none.
    pub info: Option<TcpInfo>,
}

/// A moment of the past.
#[derive(Debug, Default)]
pub struct PastFrame {
    /// The table then.
    pub tables: Tables,
    /// What the time before it had shown.
    pub seen: Activity,
    /// That moment on both clocks.
    pub at: Anchor,
    /// What is missing just there.
    pub gaps: Vec<Gap>,
    /// Rows that may still be counted.
    budget: usize,
}

impl PastFrame {
    /// Begins on the way to the wall time `at`, ns since 1970, UTC.
    #[must_use]
    pub fn new(at: i64) -> Self {
        let at = Anchor { monotonic: 0, wall: at };
        Self { at, budget: COUNTED, ..Self::default() }
    }

    /// Ties the clocks, if they are tied otherwise from here on.
    pub fn seen_at(&mut self, moment: Anchor) {
        if self.seen.anchor.wall_time(moment.monotonic) != moment.wall {
            self.seen.anchor = moment;
        }
    }

    /// Takes what led there; details are kept of what `filter` lets pass.
    pub fn take(&mut self, input: &impl TableInput, filter: &Filter) {
        if let Some(time) = input.transition_time() {
            self.tick(time);
        }
        let seen = &mut self.seen;
        let Ok(()) = input.apply(&mut self.tables, |change| {
            seen.add(&change, filter);
            Ok::<_, Infallible>(())
        });
    }

    /// Has arrived.
    pub fn arrive(&mut self) {
        let anchor = self.seen.anchor;
        let moved = self.at.wall.wrapping_sub(anchor.wall);
        self.at.monotonic = anchor.monotonic.wrapping_add(moved.cast_unsigned());
        self.tick(self.at.monotonic);
    }

    fn tick(&mut self, now: u64) {
        let table = &self.tables.current;
        let is_in_sight =
            self.seen.anchor.wall_time(now).saturating_add_unsigned(MINUTES) >= self.at.wall;
        let is_affordable = table.len() <= self.budget && is_in_sight;
        let budget = &mut self.budget;
        self.seen.tick(now, || {
            if !is_affordable {
                return Default::default();
            }
            *budget -= table.len();
            counts(table)
        });
    }
}
