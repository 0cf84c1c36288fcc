//! The past of each connection, as far as netmon saw the past; and the connections that are gone,
//! for a few seconds.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rustc_hash::FxHashMap;

use crate::{
    core::{
        change::{Change, Step},
        connection::Connection,
        event::{Totals, Transition},
        id::{Binding, ConnectionId, SocketId, Tuple},
        process::Owner,
        tcp::TcpState,
        time::Mono,
    },
    view::changes::why::Mark,
};

/// The time for which a gone connection stays on the screen.
const GONE_TIME: Duration = Duration::from_secs(5);
/// The most gone connections on the screen: on a busy host, the latest that match the filter.
const GONE: usize = 2_000;
/// The most transitions in the pane of the latest.
const LATEST: usize = 64;
/// The number of steps that most connections do not exceed.
const USUAL_STEPS: usize = 6;
/// The most steps of a connection that are kept: a socket that listens and closes again and again
/// makes steps without end.
const STEPS: usize = 32;

/// The steps of a connection, and its totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionHistory {
    pub(super) steps: Vec<Mark>,
    /// The totals, once the connection has ended.
    pub(super) totals: Option<Box<Totals>>,
}

impl ConnectionHistory {
    fn add(&mut self, step: Mark, totals: Option<Totals>) {
        if self.steps.len() >= STEPS {
            self.steps.remove(0);
        }
        if self.steps.is_empty() {
            self.steps.reserve_exact(USUAL_STEPS);
        }
        self.steps.push(step);
        if let Some(totals) = totals {
            self.totals = Some(Box::new(totals));
        }
    }

    /// Returns the steps, each with the time since the step before.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&Mark, Option<Duration>)> {
        let times = self.steps.iter().map(|step| Some(step.time));
        let before = std::iter::once(None).chain(times);
        let steps = self.steps.iter().zip(before);
        steps.map(|(step, before)| (step, before.map(|time: Mono| step.time.since(time))))
    }
}

/// A connection that is gone.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) connection: Connection,
    pub(super) history: ConnectionHistory,
    transition: Transition,
}

impl Gone {
    /// Returns the last state that the connection was in.
    pub(super) const fn last_state(&self) -> TcpState {
        self.transition.old
    }

    /// Returns the last step.
    pub(super) fn step(&self) -> Step<'_> {
        let Self { connection, transition, .. } = self;
        let verdict = connection.verdict;
        Step { transition, connection, in_state: None, verdict, corrected: false }
    }
}

/// A line of the pane of the latest transitions.
#[derive(Clone, Debug)]
pub(super) struct Latest {
    pub(super) mark: Mark,
    pub(super) totals: Option<Totals>,
    pub(super) tuple: Tuple,
    pub(super) binding: Binding,
    pub(super) owner: Option<Arc<Owner>>,
}

/// The histories of all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Histories {
    open: FxHashMap<ConnectionId, ConnectionHistory>,
    gone: VecDeque<Gone>,
    latest: VecDeque<Latest>,
    /// The socket in the detail view.
    focus: Option<SocketId>,
    /// The end of the socket in the detail view, once the end came.
    focus_end: Option<Gone>,
}

impl Histories {
    /// Takes a change; keeps the latest transitions and ends that are shown.
    pub(super) fn add(&mut self, change: &Change<'_>, is_shown: bool) {
        let Some(step) = change.step() else { return };
        let (row, mark) = (step.connection, Mark::of(step));
        // The beginning of a socket may be reported after a dump found the socket.
        if matches!(change, Change::Opened(_)) && !row.first_sight {
            self.open.remove(&ConnectionId { epoch: FIRST_SIGHT_EPOCH, ..row.id });
        }
        if is_shown {
            let latest = Latest {
                mark,
                totals: step.transition.totals,
                tuple: row.tuple,
                binding: row.binding.clone(),
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
        // Only the step has the verdict of a connection that vanished.
        let verdict = step.verdict.or(row.verdict);
        let is_focus = self.focus == Some(row.id.cookie);
        if is_shown || is_focus {
            let mut connection = row.clone();
            connection.verdict = verdict;
            let gone = Gone { connection, history, transition: step.transition.clone() };
            if is_focus {
                self.focus_end = Some(gone.clone());
            }
            if is_shown {
                push(&mut self.gone, gone, GONE);
            }
        }
    }

    /// Sets the socket in the detail view. Its end is kept, whatever else ends.
    pub(super) fn look_at(&mut self, cookie: Option<SocketId>) {
        if self.focus != cookie {
            (self.focus, self.focus_end) = (cookie, None);
        }
    }

    /// Returns the end of the socket in the detail view.
    pub(super) fn focus_end(&self) -> Option<&Gone> {
        self.focus_end.as_ref()
    }

    /// Forgets connections that have been gone for long.
    pub(super) fn sweep(&mut self, now: Mono) {
        // Gone connections are nearly in the order of time.
        while self.gone.front().is_some_and(|gone| gone.transition.time + GONE_TIME <= now) {
            self.gone.pop_front();
        }
    }

    /// Returns the connections that are gone, the latest last.
    pub(super) fn gone(&self) -> impl Iterator<Item = &Gone> {
        self.gone.iter()
    }

    /// Returns the latest transitions, the latest last.
    pub(super) fn latest(&self) -> impl DoubleEndedIterator<Item = &Latest> {
        self.latest.iter()
    }

    /// Forgets the latest transitions.
    pub(super) fn forget_latest(&mut self) {
        self.latest.clear();
    }

    /// Returns the totals of a connection that has ended, in its TIME_WAIT or gone.
    pub(super) fn totals(&self, row: &Connection) -> Option<&Totals> {
        let gone =
            || Some(&self.gone.iter().rev().find(|gone| gone.connection.id == row.id)?.history);
        // Only these have totals, and most rows are others.
        let has_ended = matches!(row.state, TcpState::TimeWait | TcpState::Close);
        has_ended.then(|| self.of(row).or_else(gone))??.totals.as_deref()
    }

    /// Returns the last step of a connection, open or gone.
    pub(super) fn last_step(&self, row: &Connection) -> Option<Mark> {
        let gone =
            || Some(&self.gone.iter().rev().find(|gone| gone.connection.id == row.id)?.history);
        self.of(row).or_else(gone)?.steps.last().copied()
    }

    /// Returns the history of an open connection.
    pub(super) fn of(&self, row: &Connection) -> Option<&ConnectionHistory> {
        self.open.get(&key(row))
    }
}

/// Stands for the epoch of a connection whose beginning may still be reported.
const FIRST_SIGHT_EPOCH: Mono = Mono::MIN;

/// Returns the key of a connection's history. The key stays the same while netmon has not seen the
/// connection open.
fn key(row: &Connection) -> ConnectionId {
    if row.first_sight { ConnectionId { epoch: FIRST_SIGHT_EPOCH, ..row.id } } else { row.id }
}

fn push<T>(to: &mut VecDeque<T>, item: T, most: usize) {
    if to.len() >= most {
        to.pop_front();
    }
    to.push_back(item);
}
