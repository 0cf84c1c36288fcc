//! The past in the same screen: what is asked of a journal, and what it answers.

use std::{collections::VecDeque, convert::Infallible, io};

use super::{rows::counts, seen::Seen};
use crate::{
    core::{
        event::{Anchor, Event, Gap, Tuple},
        filter::Filter,
        socket::TcpInfo,
        table::ConnectionTable,
    },
    session::Source,
};

/// The minutes in sight, ns.
const MINUTES: u64 = 300_000_000_000;
/// Rows that may be counted for the curves of the past: a tenth of a second or so.
const COUNTED: usize = 10_000_000;
/// Readings that a source may take: more than a segment has.
const READINGS: usize = 1 << 16;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leap {
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
pub enum Ask {
    /// What there was, so far from a moment (ns since 1970, UTC); what this filter lets pass is looked at closely.
    Past(i64, Leap, Box<Filter>),
    /// What the kernel counts of the socket with this cookie.
    Inspect(Tuple, u64),
    /// What something is called.
    Name(Named),
}

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    /// What there was.
    Past(Box<Moment>),
    /// There is nothing there, or nothing that can be read.
    Nowhere(String),
    /// What the kernel counts of the socket with this cookie, if it is there.
    Inspected(u64, Option<Box<Inspected>>),
    /// What it is called, if it is called anything.
    Name(Named, Option<String>),
}

/// Something that has a name, which may take long to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Named {
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
pub struct Moment {
    /// The table then.
    pub table: ConnectionTable,
    /// What the time before it had shown.
    pub seen: Seen,
    /// That moment on both clocks.
    pub at: Anchor,
    /// What is missing just there.
    pub gaps: Vec<Gap>,
}

impl Moment {
    /// What there was at the wall time `at`, ns since 1970, by a source that goes up to there.
    ///
    /// # Errors
    /// What the source answered.
    pub async fn read(source: &mut impl Source, at: i64, filter: &Filter) -> io::Result<Self> {
        let mut moment = Self { at: Anchor { monotonic: 0, wall: at }, ..Self::default() };
        let (mut events, mut budget) = (VecDeque::new(), COUNTED);
        for _ in 0..READINGS {
            let goes_on = source.next(&mut events).await?;
            for event in events.drain(..) {
                moment.apply(&event, filter, &mut budget);
            }
            if !goes_on {
                break;
            }
        }
        let anchor = moment.seen.anchor;
        let monotonic = anchor.monotonic.wrapping_add(at.wrapping_sub(anchor.wall).cast_unsigned());
        moment.at = Anchor { monotonic, wall: at };
        moment.tick(monotonic, &mut budget);
        Ok(moment)
    }

    fn apply(&mut self, event: &Event, filter: &Filter, budget: &mut usize) {
        if let Event::Recorded(recorded) = event {
            self.tick(recorded.transition.time, budget);
        }
        let seen = &mut self.seen;
        let applied = self.table.apply(event, |change| {
            seen.add(&change, filter);
            Ok::<_, Infallible>(())
        });
        match applied {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    fn tick(&mut self, now: u64, budget: &mut usize) {
        let table = &self.table;
        let is_in_sight =
            self.seen.anchor.wall_time(now).saturating_add_unsigned(MINUTES) >= self.at.wall;
        let is_affordable = table.len() <= *budget && is_in_sight;
        self.seen.tick(now, || {
            if !is_affordable {
                return Default::default();
            }
            *budget -= table.len();
            counts(table)
        });
    }
}
