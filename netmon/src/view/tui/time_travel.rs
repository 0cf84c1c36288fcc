//! The past in the same screen: questions to a journal, and its answers.

use std::{convert::Infallible, time::Duration};

use super::{activity::Activity, rows::counts};
use crate::{
    core::{
        filter::Filter,
        id::{SocketId, Tuple},
        loss::Gap,
        socket::TcpInfo,
        time::{Anchor, Mono, Wall},
    },
    session::{TableInput, Tables},
};

/// The visible minutes.
const MINUTES: Duration = Duration::from_secs(300);
/// The most rows that are counted for the curves of the past: about a tenth of a second.
const COUNT_BUDGET: usize = 10_000_000;

/// A jump in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// By this number of seconds, back if negative.
    Seconds(i64),
    /// To the next event.
    Next,
    /// To the event before.
    Previous,
    /// To the end.
    Last,
}

/// A question of the screen whose answer takes longer than a frame may.
#[derive(Clone, Debug)]
pub enum ScreenQuery {
    /// The table at a jump from a moment, with details of the connections that
    /// pass the filter.
    Past(Wall, Jump, Box<Filter>),
    /// The kernel's counts of this socket.
    Inspect(Tuple, SocketId),
    /// The name of a user or a cgroup.
    Name(NameQuery),
}

/// The answer to a [`ScreenQuery`].
#[derive(Debug)]
pub enum ScreenAnswer {
    /// The past as it was.
    Past(Box<PastFrame>),
    /// The reason why there is no past to show: nothing is there, or nothing can be read.
    Nowhere(String),
    /// The kernel's counts of this socket, if the socket is there.
    Inspected(SocketId, Option<Box<Inspected>>),
    /// The name of a user or a cgroup, if there is a name.
    Name(NameQuery, Option<String>),
}

/// A number with a name that may take long to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameQuery {
    /// A user, by id.
    User(u32),
    /// A cgroup, by id.
    Cgroup(u64),
}

/// The kernel's counts of a socket.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Bytes that no process has read; of a listener, connections that no process has accepted.
    pub recv_q: u32,
    /// Bytes that are not acknowledged; of a listener, its backlog.
    pub send_q: u32,
    /// TCP's measurements; listeners have none.
    pub info: Option<TcpInfo>,
}

/// A moment of the past.
#[derive(Debug, Default)]
pub struct PastFrame {
    /// The tables at that moment.
    pub tables: Tables,
    /// The activity up to that moment.
    pub activity: Activity,
    /// The moment on both clocks.
    pub at: Anchor,
    /// The gaps at that moment.
    pub gaps: Vec<Gap>,
    /// Rows that may still be counted.
    budget: usize,
}

impl PastFrame {
    /// Returns an empty frame on its way to the wall time `at`.
    #[must_use]
    pub fn new(at: Wall) -> Self {
        let at = Anchor { monotonic: Mono::BOOT, wall: at };
        Self { at, budget: COUNT_BUDGET, ..Self::default() }
    }

    /// Ties the clocks, if `moment` ties the clocks differently from here on.
    pub fn seen_at(&mut self, moment: Anchor) {
        if self.activity.anchor.wall_time(moment.monotonic) != moment.wall {
            self.activity.anchor = moment;
        }
    }

    /// Takes an item on the way to the moment; keeps details of connections that pass `filter`.
    pub fn take(&mut self, input: &impl TableInput, filter: &Filter) {
        if let Some(time) = input.transition_time() {
            self.tick(time);
        }
        let activity = &mut self.activity;
        let Ok(()) = input.apply(&mut self.tables, |change| {
            activity.add(&change, filter);
            Ok::<_, Infallible>(())
        });
    }

    /// Ends the way at the moment: sets its monotonic time, and counts up to the moment.
    pub fn arrive(&mut self) {
        self.at.monotonic = self.activity.anchor.monotonic_time(self.at.wall);
        self.tick(self.at.monotonic);
    }

    fn tick(&mut self, now: Mono) {
        let table = &self.tables.current;
        let is_in_sight = self.activity.anchor.wall_time(now) + MINUTES >= self.at.wall;
        let is_affordable = table.len() <= self.budget && is_in_sight;
        let budget = &mut self.budget;
        self.activity.tick(now, || {
            if !is_affordable {
                return Default::default();
            }
            *budget -= table.len();
            counts(table)
        });
    }
}
