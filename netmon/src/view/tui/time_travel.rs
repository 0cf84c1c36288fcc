//! The past in the same screen: questions to a journal, and its answers.

use std::{convert::Infallible, time::Duration};

use super::{
    activity::Activity,
    rates::Tally,
    traffic::{Traffic, TrafficScope},
};
use crate::{
    core::{
        filter::{Filter, FilterError},
        id::{SocketId, Tuple},
        loss::Gap,
        socket::TcpInfo,
        time::{Anchor, Mono, TimeSpan, Wall},
    },
    session::{TableInput, Tables},
};

/// The minutes before a moment whose connections are counted: those of the curves, and as many for
/// moments before that moment.
const MINUTES: Duration = Duration::from_secs(600);
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
    /// To a moment.
    To(Wall),
}

/// A question of the screen whose answer takes longer than a frame may.
#[derive(Clone, Debug)]
pub enum ScreenQuery {
    /// The table at a jump from a moment, with details of the connections that
    /// pass the filter.
    Past(Wall, Jump, Box<Filter>),
    /// The changes and gaps of a stretch of time.
    Timeline(TimeSpan),
    /// The traffic of sockets.
    Traffic(TrafficScope),
    /// The kernel's counts of this socket.
    Inspect(Tuple, SocketId),
    /// The name of a user or a network namespace.
    Name(NameQuery),
    /// The filter with this text, some names of which must be looked up.
    Filter(String),
}

/// The answer to a [`ScreenQuery`].
#[derive(Debug)]
pub enum ScreenAnswer {
    /// The past as it was.
    Past(Box<PastFrame>),
    /// The changes and gaps of a stretch of time.
    Timeline(Timeline),
    /// The reason why there is no past to show: nothing is there, or nothing can be read.
    Nowhere(String),
    /// The traffic of sockets.
    Traffic(Traffic),
    /// The kernel's counts of this socket, if the socket is there.
    Inspected(SocketId, Option<Box<Inspected>>),
    /// The name of a user or a network namespace, if there is a name.
    Name(NameQuery, Option<String>),
    /// The filter with this text.
    Filter(String, Result<Filter, FilterError>),
}

/// The number of the parts of a timeline: two a minute for an hour.
pub const TIMELINE_PARTS: usize = 120;
/// The length of a timeline.
const TIMELINE: Duration = Duration::from_secs(3_600);
const MINUTE: i64 = 60_000_000_000;

/// The changes of a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The stretch of time.
    pub span: TimeSpan,
    /// The number of changes in each of [`TIMELINE_PARTS`] equal parts.
    pub counts: Vec<u64>,
    /// The gaps.
    pub gaps: Vec<TimeSpan>,
}

/// Returns the hour to show when the moment `at` of a journal is shown: the last hour that the
/// journal covers, or the hour around the moment. The hour begins and ends with a minute.
pub(super) fn hour_of(at: Wall, coverage: TimeSpan) -> TimeSpan {
    let end = if at + TIMELINE > coverage.to { coverage.to } else { at + TIMELINE / 2 };
    let to = Wall::from_nanos((end.as_nanos().div_euclid(MINUTE) + 1).saturating_mul(MINUTE));
    TimeSpan { from: to - TIMELINE, to }
}

/// A number with a name that may take long to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameQuery {
    /// A network namespace, by inode number.
    Netns(u32),
    /// A user, by id.
    User(u32),
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
#[derive(Clone, Debug, Default)]
pub struct PastFrame {
    /// The tables at that moment.
    pub tables: Tables,
    /// The activity up to that moment.
    pub activity: Activity,
    /// The moment on both clocks.
    pub at: Anchor,
    /// The gaps at that moment.
    pub gaps: Vec<Gap>,
    /// The time that the journal covers.
    pub coverage: TimeSpan,
    /// The connections whose details are kept.
    filter: Filter,
    /// Rows that may still be counted.
    budget: usize,
}

impl PastFrame {
    /// Returns an empty frame on its way to the wall time `at`. The frame will have details of the
    /// connections that pass `filter`.
    #[must_use]
    pub fn new(at: Wall, filter: Filter) -> Self {
        let mut frame = Self { filter, ..Self::default() };
        frame.head_for(at);
        frame
    }

    /// Sets the wall time to which the frame is on its way.
    pub fn head_for(&mut self, at: Wall) {
        (self.at.wall, self.budget) = (at, COUNT_BUDGET);
    }

    /// Ties the clocks, if `moment` ties the clocks differently from here on.
    pub fn seen_at(&mut self, moment: Anchor) {
        if self.activity.anchor.wall_time(moment.monotonic) != moment.wall {
            self.activity.anchor = moment;
        }
    }

    /// Takes an item on the way to the moment.
    pub fn take(&mut self, input: &impl TableInput) {
        if let Some(time) = input.transition_time() {
            self.tick(time);
        }
        let (activity, filter) = (&mut self.activity, &self.filter);
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
        let (budget, filter) = (&mut self.budget, &self.filter);
        self.activity.tick(now, || {
            if !is_affordable {
                return Default::default();
            }
            *budget -= table.len();
            Tally::of(table, filter, now)
        });
    }
}
