//! The past of each connection, as far as netmon saw it; and the connections that are gone, for a
//! few seconds.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use rustc_hash::FxHashMap;

use crate::core::{
    connection::{Change, Connection, Step},
    event::{ConnectionId, Owner, ResetSide, Totals},
    filter::Filter,
    tcp::TcpState,
    verdict::Verdict,
};

/// How long a connection that is gone stays on the screen, ns.
const KEPT: u64 = 5_000_000_000;
/// And how many of them: on a busy host, the latest of those that match the filter.
const GONE: usize = 2_000;
/// Transitions in the pane of the latest.
const LATEST: usize = 64;
/// Steps that most connections have at most.
const USUAL: usize = 6;
/// Steps of a connection that are kept: a socket that listens and closes again and again has no end
/// of them.
const STEPS: usize = 32;

/// A step of a connection, in few bytes: there are some for every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// `CLOCK_MONOTONIC`, ns.
    pub(super) time: u64,
    pub(super) old: TcpState,
    pub(super) new: TcpState,
    pub(super) errno: Option<u8>,
    pub(super) reset: Option<ResetSide>,
    pub(super) verdict: Option<Verdict>,
    /// No hook saw it: a later look found it done.
    pub(super) inferred: bool,
}

impl Mark {
    fn of(step: &Step<'_>) -> Self {
        let t = step.transition;
        Self {
            time: t.time,
            old: t.old,
            new: t.new,
            errno: t.errno,
            reset: t.reset,
            verdict: step.verdict,
            inferred: t.inferred,
        }
    }
}

/// What a connection went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionHistory {
    pub(super) steps: Vec<Mark>,
    /// Once it has ended.
    pub(super) totals: Option<Box<Totals>>,
}

impl ConnectionHistory {
    fn add(&mut self, step: Mark, totals: Option<Totals>) {
        if self.steps.len() >= STEPS {
            self.steps.remove(0);
        }
        if self.steps.is_empty() {
            self.steps.reserve_exact(USUAL);
        }
        self.steps.push(step);
        if let Some(totals) = totals {
            self.totals = Some(Box::new(totals));
        }
    }

    /// The steps, each with the time since the one before it, ns.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&Mark, Option<u64>)> {
        let times = self.steps.iter().map(|step| Some(step.time));
        let before = std::iter::once(None).chain(times);
        let after = |(step, before): (&Mark, Option<u64>)| {
            before.map(|time| step.time.saturating_sub(time))
        };
        self.steps.iter().zip(before).map(move |(step, before)| (step, after((step, before))))
    }
}

/// A connection that is gone.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) connection: Connection,
    pub(super) history: ConnectionHistory,
    /// When, `CLOCK_MONOTONIC`, ns.
    pub(super) time: u64,
}

/// A line of the pane of the latest transitions.
#[derive(Clone, Debug)]
pub(super) struct Latest {
    pub(super) mark: Mark,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) owner: Option<Arc<Owner>>,
}

/// What is remembered of all of them.
#[derive(Debug, Default)]
pub(super) struct Histories {
    open: FxHashMap<ConnectionId, ConnectionHistory>,
    gone: VecDeque<Gone>,
    latest: VecDeque<Latest>,
    /// The socket that is looked at closely, and its end, once it came.
    closely: Option<u64>,
    ended: Option<Gone>,
}

impl Histories {
    /// Takes a change; of what `filter` lets pass, the latest are kept to be shown.
    pub(super) fn add(&mut self, change: &Change<'_>, filter: &Filter) {
        let Some(step) = change.step() else { return };
        let (row, mark) = (step.connection, Mark::of(step));
        // A socket that a dump found has its beginning told later.
        if matches!(change, Change::Opened(_)) && !row.first_sight {
            self.open.remove(&ConnectionId { epoch: FOUND, ..row.id });
        }
        let is_shown = filter.matches(step);
        if is_shown {
            let latest = Latest {
                mark,
                local: row.tuple.local,
                remote: row.tuple.remote,
                owner: row.owner.clone(),
            };
            push(&mut self.latest, latest, LATEST);
        }
        let totals = step.transition.totals;
        if row.state != TcpState::Close {
            return self.open.entry(key(row)).or_default().add(mark, totals);
        }
        let mut history = self.open.remove(&key(row)).unwrap_or_default();
        history.add(mark, totals);
        // Of one that vanished, only the step says so.
        let verdict = step.verdict.or(row.verdict);
        let is_closely = self.closely == Some(row.id.cookie);
        if is_shown || is_closely {
            let mut connection = row.clone();
            connection.verdict = verdict;
            let gone = Gone { connection, history, time: mark.time };
            if is_closely {
                self.ended = Some(gone.clone());
            }
            if is_shown {
                push(&mut self.gone, gone, GONE);
            }
        }
    }

    /// Which socket is looked at closely: its end is kept whatever else ends.
    pub(super) fn look_at(&mut self, cookie: Option<u64>) {
        if self.closely != cookie {
            (self.closely, self.ended) = (cookie, None);
        }
    }

    /// The end of the socket that is looked at closely.
    pub(super) fn ended(&self) -> Option<&Gone> {
        self.ended.as_ref()
    }

    /// Forgets those that have been gone for long.
    pub(super) fn sweep(&mut self, now: u64) {
        // They come by time, nearly.
        while self.gone.front().is_some_and(|gone| gone.time + KEPT <= now) {
            self.gone.pop_front();
        }
    }

    /// Those that are gone, the latest last.
    pub(super) fn gone(&self) -> impl Iterator<Item = &Gone> {
        self.gone.iter()
    }

    /// The latest transitions, the latest last.
    pub(super) fn latest(&self) -> impl DoubleEndedIterator<Item = &Latest> {
        self.latest.iter()
    }

    /// Forgets the latest transitions.
    pub(super) fn forget_latest(&mut self) {
        self.latest.clear();
    }

    /// What an open connection went through.
    pub(super) fn of(&self, row: &Connection) -> Option<&ConnectionHistory> {
        self.open.get(&key(row))
    }
}

/// Stands for the epoch of a connection whose beginning may still be told.
const FOUND: u64 = 0;

/// The key of a connection's history: it stays the same while netmon has not seen it open.
fn key(row: &Connection) -> ConnectionId {
    if row.first_sight { ConnectionId { epoch: FOUND, ..row.id } } else { row.id }
}

fn push<T>(to: &mut VecDeque<T>, item: T, most: usize) {
    if to.len() >= most {
        to.pop_front();
    }
    to.push_back(item);
}
