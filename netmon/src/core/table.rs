//! The table of connections: a pure state machine from events to changes.
//!
//! Events of hooks are applied as they come. Sockets of dumps correct the rows that no event
//! explains: one that the table does not have is added, one in another state is moved, and one that
//! two dumps in a row do not have is ended. A dump is no snapshot, so the later of row and dump
//! wins, and a row that changed at about the time of the look is left to the next one.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use rustc_hash::{FxHashMap, FxHasher};

use super::{
    change::Resync,
    connection::NEVER,
    event::{Event, Opening, Transition},
    id::{SocketId, TableKey, Tuple},
    process::{Evidence, Owner},
    program::run_the_same,
    tcp::TcpState,
    time::{Anchor, Mono},
    verdict::{FirstFin, Verdict, judge},
};
pub(crate) use super::{
    change::{Change, Step},
    connection::{Connection, Direction},
};
use cookie_map::CookieMap;
use dumps::DumpedScopes;
use listeners::Listeners;
use recently_closed::RecentlyClosed;

pub(crate) mod cookie_map;
mod dumps;
mod endings;
mod listeners;
mod openings;
mod recently_closed;
mod redo;

const SECOND: Duration = Duration::from_secs(1);
/// The most time between two reports of one transition, which come when the program on standby took
/// the transition as well.
const REPEATED: Duration = Duration::from_millis(100);

/// Every connection that exists as far as netmon knows: open, or in its TIME_WAIT.
///
/// A row takes about 200 bytes, indexes included, and 300 at worst, just after the indexes grew.
#[derive(Clone, Debug, Default)]
pub struct ConnectionTable {
    /// The rows; a TIME_WAIT whose socket has connected again is under [`TableKey::of_former`].
    rows: CookieMap<Box<Connection>, TableKey>,
    /// From the hash of a tuple to the key of the TIME_WAIT at that tuple, which ends when another
    /// connection takes the tuple. Of two TIME_WAITs with the same hash, one waits for a dump.
    waiting: FxHashMap<u64, TableKey>,
    listeners: Listeners,
    closed: RecentlyClosed,
    /// Namespaces that the current dump has read, each with the moment at which it began.
    dumped: DumpedScopes,
    /// The number of reconciliations.
    reconciled: u32,
    /// The newest comparison of the clocks: it dates the opening of each connection.
    anchor: Anchor,
    /// Rows of an earlier recording, until the first reconciliation. A connection that still exists
    /// takes over its opening and its owner; the others have ended since.
    remembered: FxHashMap<(SocketId, Tuple), Connection>,
}

impl ConnectionTable {
    /// Makes a table of rows; the rows of [`Self::rows`] make an equal table.
    #[must_use]
    pub fn restore(rows: impl IntoIterator<Item = Connection>) -> Self {
        let mut table = Self { reconciled: 1, ..Self::default() };
        for row in rows {
            let row = Box::new(Connection { last_dump_pass: NEVER, ..row });
            // Of two connections of one socket, the former is in its TIME_WAIT.
            let age = |row: &Connection| (row.state != TcpState::TimeWait, row.id.epoch);
            let key = TableKey::of_socket(row.id.cookie);
            match table.rows.get(&key) {
                Some(other) if age(other) > age(&row) => {
                    table.put(TableKey::of_former(row.id.cookie, &row.tuple), row);
                }
                Some(_) => {
                    table.retire(row.id.cookie);
                    table.put(key, row);
                }
                None => table.put(key, row),
            }
        }
        for row in table.rows.values_mut() {
            table.listeners.complete(row);
        }
        table
    }

    /// Keeps the rows of an earlier recording until the first dump is complete. A socket that still
    /// exists takes over its opening and its owner; the others end then (`vanished`).
    pub fn remember(&mut self, rows: impl IntoIterator<Item = Connection>) {
        let rows = rows.into_iter();
        self.remembered = rows.map(|row| ((row.id.cookie, row.tuple), row)).collect();
    }

    /// Iterates over every row, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Connection> {
        self.rows.values().map(|row| &**row)
    }

    /// Returns whether there is a TIME_WAIT of a socket that has connected again.
    #[cfg(test)]
    pub(crate) fn has_former(&self) -> bool {
        self.rows.keys().any(|key| key.is_former())
    }

    /// Returns whether a dump of everything was taken: no row of the kernel is missing as far as
    /// netmon knows.
    #[must_use]
    pub const fn is_reconciled(&self) -> bool {
        self.reconciled > 0
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether the table has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Applies one event and hands the changes it made to `view`.
    ///
    /// # Errors
    /// The first error of `view`; the table has taken the event all the same.
    ///
    /// ```
    /// use netmon::testing::{
    ///     Change, ConnectionTable, Event, SocketId, TcpState, Transition, Tuple,
    /// };
    ///
    /// let end = |port| ([127, 0, 0, 1], port).into();
    /// let tuple = Tuple { netns: 1, interface: 0, local: end(43210), remote: end(443) };
    /// let cookie = SocketId::new(7).expect("not 0");
    /// let closed = Transition::bare(cookie, tuple, TcpState::Established, TcpState::Close);
    /// let event = Event::Transition(Transition { errno: Some(110), ..closed });
    /// let mut verdict = None;
    /// let mut table = ConnectionTable::default();
    /// table.apply(&event, |change| {
    ///     if let Change::Closed(step) = change {
    ///         verdict = step.verdict;
    ///     }
    ///     Ok::<_, std::convert::Infallible>(())
    /// })?;
    /// assert_eq!(verdict.map(|verdict| verdict.name()), Some("timed-out"));
    /// assert!(table.is_empty());
    /// # Ok::<_, std::convert::Infallible>(())
    /// ```
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
            Event::Dumped { scope, began } => {
                self.dumped.insert(scope.clone(), *began);
                Ok(())
            }
            Event::Accepted { time, cookie, owner } => self.accepted(*time, *cookie, owner, view),
            Event::TimeWaitEnded { time, cookie } => self.ended(*time, *cookie, view),
            Event::DumpEnded { time } => self.reconcile(*time, view),
            Event::DumpsRare { time, distance } => view(Change::Resync(Resync {
                time: *time,
                distance: Some(*distance),
                ..Resync::default()
            })),
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
        let Some(row) = self.rows.get_mut(&TableKey::of_socket(t.cookie)) else {
            // The end of a connection that has ended was reported twice.
            let is_repeated = |closed| t.time - REPEATED < closed;
            if t.is_last() && self.closed.last(t.cookie).is_some_and(is_repeated) {
                return Ok(());
            }
            return self.open(t, view);
        };
        let in_state = row.since.map(|since| t.time.since(since));
        if row.state == t.new && row.since.is_some() {
            // Reported twice, or found by a dump already: the report has the exact time.
            row.since = row.since.map(|since| since.min(t.time));
            return Ok(());
        }
        row.first_fin = row.first_fin.or(FirstFin::proved_by(t));
        let as_of = row.as_of();
        if t.time < as_of && t.new == TcpState::Close {
            // The kernel tells of a transition before it makes it: a dump still had the connection.
            let t = Transition { time: as_of, ..t.clone() };
            return self.advance(TableKey::of_socket(t.cookie), &t, in_state, false, view);
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
        self.advance(TableKey::of_socket(t.cookie), t, in_state, false, view)
    }

    /// Moves the row under `key` as `t` says.
    fn advance<E>(
        &mut self,
        key: TableKey,
        t: &Transition,
        in_state: Option<Duration>,
        corrected: bool,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(row) = self.rows.get_mut(&key) else { return Ok(()) };
        let was_over = row.state == TcpState::TimeWait;
        row.first_fin = row.first_fin.or(FirstFin::proved_by(t));
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
        if row.tuple.interface != t.tuple.interface {
            row.binding.device.clone_from(&t.binding.device);
        }
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

    /// Notes the process that accepted a connection, which may not be the one that listens.
    fn accepted<E>(
        &mut self,
        time: Mono,
        cookie: SocketId,
        owner: &Arc<Owner>,
        view: impl FnOnce(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(row) = self.rows.get_mut(&TableKey::of_socket(cookie)) else { return Ok(()) };
        // A server may have become another program or another user since it began to listen.
        let is_it = |known: &Arc<Owner>| {
            known.key().may_be(owner.key())
                && run_the_same(true, known.process.as_deref(), owner.process.as_deref())
                && known.uid == owner.uid
                && known.real_uid.zip(owner.real_uid).is_none_or(|(known, real)| known == real)
        };
        if row.owner.as_ref().is_some_and(is_it) {
            return Ok(());
        }
        (row.owner, row.evidence) = (Some(Arc::clone(owner)), Some(Evidence::Accept));
        row.holder = None;
        let time = time.max(row.as_of());
        view(Change::Owned { time, connection: row })
    }

    /// Gives a TIME_WAIT a key of its own, since its socket has connected again.
    fn retire(&mut self, cookie: SocketId) {
        let Some(row) = self.rows.remove(&TableKey::of_socket(cookie)) else { return };
        self.put(TableKey::of_former(cookie, &row.tuple), row);
    }

    /// The key under which a socket that was found is put: of two connections of one socket, one is
    /// in its TIME_WAIT.
    fn key_beside(&mut self, cookie: SocketId, tuple: &Tuple, state: TcpState) -> TableKey {
        let is_waiting = state == TcpState::TimeWait;
        let key = TableKey::of_socket(cookie);
        match self.rows.get(&key) {
            Some(other) if other.tuple == *tuple => key,
            // The later one may have ended first.
            None if is_waiting => {
                let former = TableKey::of_former(cookie, tuple);
                if self.rows.contains_key(&former) { former } else { key }
            }
            Some(_) if is_waiting => TableKey::of_former(cookie, tuple),
            Some(other) if other.state == TcpState::TimeWait => {
                self.retire(cookie);
                key
            }
            _ => key,
        }
    }

    fn put(&mut self, key: TableKey, row: Box<Connection>) {
        match row.state {
            TcpState::TimeWait => {
                self.waiting.insert(hash(&row.tuple), key);
            }
            TcpState::Listen => self.listeners.add(&row.tuple),
            _ => {}
        }
        if let Some(replaced) =
            self.rows.insert(key, row).filter(|row| row.state == TcpState::Listen)
        {
            self.listeners.remove(&replaced.tuple);
        }
    }

    fn remove(&mut self, key: TableKey, time: Mono) -> Option<Box<Connection>> {
        let row = self.rows.remove(&key)?;
        if row.state == TcpState::TimeWait {
            let hash = hash(&row.tuple);
            if self.waiting.get(&hash) == Some(&key) {
                self.waiting.remove(&hash);
            }
        }
        if row.state == TcpState::Listen {
            self.listeners.remove(&row.tuple);
        }
        // Of a socket that connected again, its key says which of its connections ended.
        self.closed.add(key, time);
        Some(row)
    }
}

fn step<'a>(
    transition: &'a Transition,
    connection: &'a Connection,
    in_state: Option<Duration>,
    verdict: Option<Verdict>,
) -> Step<'a> {
    Step { transition, connection, in_state, verdict, corrected: false }
}

fn hash(tuple: &Tuple) -> u64 {
    let mut hasher = FxHasher::default();
    tuple.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
