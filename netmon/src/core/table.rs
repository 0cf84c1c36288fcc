//! The table of connections: a pure state machine from events to changes.
//!
//! Events of hooks are applied as they come. Sockets of dumps correct the rows that no event
//! explains: one that the table does not have is added, one in another state is moved, and one that
//! two dumps in a row do not have is ended. A dump is no snapshot, so the later of row and dump
//! wins, and a row that changed at about the time of the look is left to the next one.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use rustc_hash::{FxHashMap, FxHasher};

pub use super::connection::{Change, Connection, Direction, Resync, Step};
use super::{
    connection::NEVER,
    event::{Anchor, ConnectionId, Event, Evidence, Opening, Owner, Transition, Tuple},
    tcp::TcpState,
    verdict::{FirstFin, Verdict, judge},
};
use cookie_map::CookieMap;
use recently_closed::RecentlyClosed;

pub mod cookie_map;
mod dumps;
mod endings;
mod recently_closed;
mod redo;

const SECOND: u64 = 1_000_000_000;
/// The same transition told twice, as when the program on standby took it as well, is not further
/// apart.
const REPEATED: u64 = SECOND / 10;

/// Every connection that is known to be there: open, or in its TIME_WAIT.
///
/// About 200 bytes each, indexes included, and 300 at worst, just after they grew.
#[derive(Clone, Debug, Default)]
pub struct ConnectionTable {
    /// By cookie; a TIME_WAIT whose socket has connected again is under [`key_of_former`].
    rows: CookieMap<Box<Connection>>,
    /// From the hash of a tuple to the key of the TIME_WAIT that is there: whoever takes its place
    /// ends it. Should two have the same hash, one of them waits for a dump.
    waiting: FxHashMap<u64, u64>,
    closed: RecentlyClosed,
    /// Namespaces that the dump under way had, and when it began with each.
    dumped: FxHashMap<u32, u64>,
    /// Reconciliations done.
    reconciled: u32,
    /// How the clocks are tied, so that each connection knows when it opened.
    anchor: Anchor,
    /// Rows of an earlier recording: what is still there takes over who opened it and when, and
    /// what is not has ended meanwhile. Gone with the first reconciliation.
    remembered: FxHashMap<(u64, Tuple), Connection>,
}

impl ConnectionTable {
    /// The table with these rows: those of [`Self::rows`] make an equal one.
    #[must_use]
    pub fn restore(rows: impl IntoIterator<Item = Connection>) -> Self {
        let mut table = Self { reconciled: 1, ..Self::default() };
        for row in rows {
            let row = Box::new(Connection { last_dump_pass: NEVER, ..row });
            // Of two connections of one socket, the former is in its TIME_WAIT.
            let age = |row: &Connection| (row.state != TcpState::TimeWait, row.id.epoch);
            match table.rows.get(&row.id.cookie) {
                Some(other) if age(other) > age(&row) => {
                    table.put(key_of_former(row.id.cookie, &row.tuple), row);
                }
                Some(_) => {
                    table.retire(row.id.cookie);
                    table.put(row.id.cookie, row);
                }
                None => table.put(row.id.cookie, row),
            }
        }
        table
    }

    /// Takes over, for sockets that turn out to be still there, who opened them and when from the
    /// rows of an earlier recording; the others are ended (`vanished`) when the first dump is
    /// complete.
    pub fn remember(&mut self, rows: impl IntoIterator<Item = Connection>) {
        let rows = rows.into_iter();
        self.remembered = rows.map(|row| ((row.id.cookie, row.tuple), row)).collect();
    }

    /// Every row, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Connection> {
        self.rows.values().map(|row| &**row)
    }

    /// Whether there is a TIME_WAIT of a socket that has connected again.
    #[cfg(test)]
    pub(crate) fn has_former(&self) -> bool {
        self.rows.keys().any(|key| *key >= FORMER)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Applies one event and hands the changes it made to `view`.
    ///
    /// # Errors
    /// What `view` answered first; the table has taken the event all the same.
    pub fn apply<E>(
        &mut self,
        event: &Event,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match event {
            Event::Anchor(anchor) => {
                self.anchor = *anchor;
                view(Change::Anchor(*anchor))
            }
            Event::Lost(gap) => view(Change::Gap(*gap)),
            Event::Transition(transition) => self.transition(transition, view),
            Event::Seed(seed) => self.seed(seed, view),
            Event::SocketFailed { time, cookie, errno } => self.fail(*time, *cookie, *errno, view),
            Event::DumpBegan => {
                self.closed.begin();
                Ok(())
            }
            Event::NamespaceDumped { netns, began } => {
                self.dumped.insert(*netns, *began);
                Ok(())
            }
            Event::Accepted { time, cookie, owner } => self.accepted(*time, *cookie, owner, view),
            Event::TimeWaitEnded { time, cookie } => self.ended(*time, *cookie, view),
            Event::DumpEnded { time } => self.reconcile(*time, view),
        }
    }

    fn transition<E>(
        &mut self,
        t: &Transition,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if t.opening != Opening::None {
            return self.open(t, view);
        }
        let Some(row) = self.rows.get_mut(&t.cookie) else {
            // The end of one that has ended was told twice.
            let is_repeated = |closed| t.time.saturating_sub(REPEATED) < closed;
            if t.is_last() && self.closed.last(t.cookie).is_some_and(is_repeated) {
                return Ok(());
            }
            return self.open(t, view);
        };
        let in_state = row.since.map(|since| t.time.saturating_sub(since));
        if row.state == t.new && row.since.is_some() {
            // Told twice, or found by a dump already: then this says when it really was.
            row.since = row.since.map(|since| since.min(t.time));
            return Ok(());
        }
        row.first_fin = row.first_fin.or(FirstFin::told_by(t));
        let as_of = row.as_of();
        if t.time < as_of && t.new == TcpState::Close {
            // The kernel tells of a transition before it makes it: a dump still had the connection.
            let t = Transition { time: as_of, ..t.clone() };
            return self.advance(t.cookie, &t, in_state, false, view);
        }
        if t.time < as_of {
            // History, of one that a dump found in a later state, or in this.
            if row.state != t.new {
                return view(Change::StateChanged(step(t, row, None, None)));
            }
            (row.since, row.verdict) = (Some(t.time), judge(t, row.first_fin));
            let step = step(t, row, None, row.verdict);
            return view(if t.is_last() {
                Change::Closed(step)
            } else {
                Change::StateChanged(step)
            });
        }
        self.advance(t.cookie, t, in_state, false, view)
    }

    /// Moves the row under `key` as `t` says.
    fn advance<E>(
        &mut self,
        key: u64,
        t: &Transition,
        in_state: Option<u64>,
        corrected: bool,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(row) = self.rows.get_mut(&key) else { return Ok(()) };
        let was_over = row.state == TcpState::TimeWait;
        row.first_fin = row.first_fin.or(FirstFin::told_by(t));
        row.verdict = row.verdict.or_else(|| judge(t, row.first_fin));
        let verdict = row.verdict;
        if t.new == TcpState::Close {
            let Some(mut row) = self.remove(key, t.time) else { return Ok(()) };
            (row.tuple, row.state, row.since) = (t.tuple, t.new, Some(t.time));
            let verdict = verdict.filter(|_| !was_over);
            let step = Step { corrected, ..step(t, &row, in_state, verdict) };
            return view(if was_over { Change::Expired(step) } else { Change::Closed(step) });
        }
        // The tuple can only become better known: an address chosen late, a port looked up.
        let is_elsewhere = row.tuple != t.tuple;
        (row.tuple, row.state, row.since) = (t.tuple, t.new, Some(t.time));
        let result = if is_elsewhere { self.make_room(t, &mut view) } else { Ok(()) };
        if t.new == TcpState::TimeWait {
            self.waiting.insert(hash(&t.tuple), key);
        }
        let Some(row) = self.rows.get(&key) else { return result };
        let step = Step { corrected, ..step(t, row, in_state, verdict) };
        result.and(view(if t.is_last() {
            Change::Closed(step)
        } else {
            Change::StateChanged(step)
        }))
    }

    /// Begins the row that `t` opens, or is the first sign of.
    fn open<E>(
        &mut self,
        t: &Transition,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut row = self.row_of(t);
        if t.opening == Opening::None {
            self.recall(&mut row);
        }
        let mut result = Ok(());
        if let Some(known) = self.rows.get_mut(&t.cookie) {
            // Its beginning may be read after what came later. A dump says no more than when it
            // began to look, and a child is born once.
            let latest = match t.opening {
                Opening::FromListener(_) => u64::MAX,
                _ if known.last_dumped_at > 0 => known.id.epoch.saturating_add(SECOND),
                _ => known.id.epoch,
            };
            let is_it = known.state != TcpState::TimeWait || known.tuple == t.tuple;
            if known.first_sight && t.time <= latest && is_it {
                if row.owner.is_none() {
                    (row.owner, row.evidence) = (known.owner.take(), known.evidence);
                }
                if known.as_of() < t.time {
                    // The rest of what happened since the dump began is still to come.
                    if known.state == TcpState::TimeWait {
                        self.waiting.remove(&hash(&known.tuple));
                    }
                    let Connection { tuple, last_dumped_at, last_dump_pass, .. } = **known;
                    **known = Connection { tuple, last_dumped_at, last_dump_pass, ..row };
                } else {
                    (known.id, known.opened, known.first_sight) = (row.id, row.opened, false);
                    known.direction = row.direction;
                    (known.owner, known.evidence) = (row.owner, row.evidence);
                    if known.state == t.new {
                        known.since = known.since.or(Some(t.time));
                    }
                }
                return view(Change::Opened(step(t, known, None, None)));
            }
            let is_repeated = t.time.saturating_sub(known.id.epoch) < REPEATED;
            if !known.first_sight && known.state == t.new && is_repeated {
                return Ok(());
            }
            if known.state == TcpState::TimeWait && known.tuple != t.tuple {
                // The socket connects again, and its minisocket goes on.
                self.retire(t.cookie);
            } else if known.state != TcpState::Listen {
                result = self.vanish(t.cookie, t.time, &mut view);
            }
        }
        result = result.and(self.make_room(t, &mut view));
        if t.new == TcpState::Close {
            // It was open before netmon looked, or its beginning was lost.
            self.closed.add(t.cookie, t.time);
            return result.and(view(Change::Closed(step(t, &row, None, row.verdict))));
        }
        self.put(t.cookie, Box::new(row));
        let Some(row) = self.rows.get(&t.cookie) else { return result };
        let step = step(t, row, None, row.verdict);
        result.and(view(match t.opening {
            Opening::None if t.is_last() => Change::Closed(step),
            Opening::None => Change::StateChanged(step),
            _ => Change::Opened(step),
        }))
    }

    fn row_of(&self, t: &Transition) -> Connection {
        let (direction, owner, evidence) = match &t.opening {
            Opening::None => (None, None, Evidence::Connect),
            Opening::ByProcess(owner) if t.new == TcpState::Listen => {
                (Some(Direction::Listen), owner.clone(), Evidence::Listen)
            }
            Opening::ByProcess(owner) => {
                (Some(Direction::Outbound), owner.clone(), Evidence::Connect)
            }
            Opening::FromListener(listener) => {
                let row = listener.and_then(|cookie| self.rows.get(&cookie));
                let owner = row.and_then(|row| row.owner.clone());
                (Some(Direction::Inbound), owner, Evidence::Listen)
            }
        };
        let evidence = owner.is_some().then_some(evidence);
        let first_sight = direction.is_none();
        let first_fin = FirstFin::told_by(t);
        let id = ConnectionId { cookie: t.cookie, epoch: t.time };
        Connection {
            opened: self.anchor.wall_time(t.time),
            first_sight,
            since: Some(t.time),
            direction,
            owner,
            evidence,
            first_fin,
            verdict: judge(t, first_fin),
            ..Connection::new(id, t.tuple, t.new)
        }
    }

    /// Completes the row of a connection that netmon did not see open by the row that an earlier
    /// recording had of it. Returns the state in which that had it.
    fn recall(&mut self, row: &mut Connection) -> Option<TcpState> {
        let former = self.remembered.remove(&(row.id.cookie, row.tuple))?;
        (row.id, row.opened, row.first_sight) = (former.id, former.opened, former.first_sight);
        row.direction = former.direction;
        row.first_fin = row.first_fin.or(former.first_fin);
        row.verdict = row.verdict.or(former.verdict);
        if former.owner.is_some() {
            (row.owner, row.evidence) = (former.owner, former.evidence);
        }
        Some(former.state)
    }

    /// A process has the connection: that is news where another has its listener.
    fn accepted<E>(
        &mut self,
        time: u64,
        cookie: u64,
        owner: &Arc<Owner>,
        view: impl FnOnce(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(row) = self.rows.get_mut(&cookie) else { return Ok(()) };
        if row.owner.as_ref().is_some_and(|known| known.pid == owner.pid) {
            return Ok(());
        }
        (row.owner, row.evidence) = (Some(Arc::clone(owner)), Some(Evidence::Accept));
        let time = time.max(row.as_of());
        view(Change::Owned { time, connection: row })
    }

    /// Makes way for another connection of the same socket.
    fn retire(&mut self, cookie: u64) {
        let Some(row) = self.rows.remove(&cookie) else { return };
        self.put(key_of_former(cookie, &row.tuple), row);
    }

    /// The key under which a socket that was found is put: of two connections of one socket, one is
    /// in its TIME_WAIT.
    fn key_beside(&mut self, cookie: u64, tuple: &Tuple, state: TcpState) -> u64 {
        let is_waiting = state == TcpState::TimeWait;
        match self.rows.get(&cookie) {
            Some(other) if other.tuple == *tuple => cookie,
            // The later one may have ended first.
            None if is_waiting => {
                let former = key_of_former(cookie, tuple);
                if self.rows.contains_key(&former) { former } else { cookie }
            }
            Some(_) if is_waiting => key_of_former(cookie, tuple),
            Some(other) if other.state == TcpState::TimeWait => {
                self.retire(cookie);
                cookie
            }
            _ => cookie,
        }
    }

    fn put(&mut self, key: u64, row: Box<Connection>) {
        if row.state == TcpState::TimeWait {
            self.waiting.insert(hash(&row.tuple), key);
        }
        self.rows.insert(key, row);
    }

    fn remove(&mut self, key: u64, time: u64) -> Option<Box<Connection>> {
        let row = self.rows.remove(&key)?;
        if row.state == TcpState::TimeWait {
            let hash = hash(&row.tuple);
            if self.waiting.get(&hash) == Some(&key) {
                self.waiting.remove(&hash);
            }
        }
        // Of a socket that connected again, its key says which of its connections ended.
        self.closed.add(key, time);
        Some(row)
    }
}

fn step<'a>(
    transition: &'a Transition,
    connection: &'a Connection,
    in_state: Option<u64>,
    verdict: Option<Verdict>,
) -> Step<'a> {
    Step { transition, connection, in_state, verdict, corrected: false }
}

fn hash(tuple: &Tuple) -> u64 {
    let mut hasher = FxHasher::default();
    tuple.hash(&mut hasher);
    hasher.finish()
}

/// The key of a TIME_WAIT whose socket has connected again: no cookie, which are counted from 1
/// (`__sock_gen_cookie`, net/core/sock_diag.c).
fn key_of_former(cookie: u64, tuple: &Tuple) -> u64 {
    let mut hasher = FxHasher::default();
    (cookie, tuple).hash(&mut hasher);
    hasher.finish() | FORMER
}

/// No cookie is so large.
const FORMER: u64 = 1 << 63;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
