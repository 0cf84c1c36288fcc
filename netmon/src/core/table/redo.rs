//! Entries of a journal, done again: nothing is judged anew, the rows become what they were.
//!
//! Entries come in the order of their times. The table that was recorded may have learned of a
//! connection in another order: a dump found it, and its beginning was read after that. Done again,
//! it begins when it began.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Change, Connection, ConnectionTable, Step,
    endings::{end_unseen, unseen},
};
use crate::core::{
    entry::{Entry, StepEntry},
    event::Opening,
    id::{SocketId, TableKey, Tuple},
    tcp::TcpState,
    time::Mono,
    verdict::FirstFin,
};

impl ConnectionTable {
    /// Does again what an entry of a journal says, and hands the changes to `view`.
    ///
    /// # Errors
    /// The first error of `view`; the table has taken the entry all the same.
    pub fn redo<E>(
        &mut self,
        entry: &Entry,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match entry {
            Entry::Checkpoint { time, rows, after_gap } => {
                self.redo_checkpoint(*time, rows, *after_gap, view)
            }
            Entry::Step(step) => self.redo_step(step, view),
            Entry::Found { time, connection, initial } => {
                let (time, initial) = (*time, *initial);
                let connection = &self.with_direction(connection);
                self.redo_found(connection);
                view(Change::Found { time, connection, initial })
            }
            Entry::Owner { time, cookie, tuple, owner, evidence, holder } => {
                let key = self.key_of(*cookie, tuple, false);
                let Some(row) = self.rows.get_mut(&key) else { return Ok(()) };
                (row.owner, row.evidence) = (Some(Arc::clone(owner)), Some(*evidence));
                row.holder.clone_from(holder);
                view(Change::Owned { time: *time, connection: row })
            }
            Entry::Anchor(anchor) => {
                self.anchor = *anchor;
                view(Change::Anchor(*anchor))
            }
            Entry::Gap(gap) => view(Change::Gap(*gap)),
            Entry::Resync(resync) => view(Change::Resync(*resync)),
        }
    }

    /// Takes the rows of a checkpoint. The rows of the first are what was there before; after a
    /// gap, rows that are not in the checkpoint have ended, and rows that only the checkpoint has
    /// are found.
    fn redo_checkpoint<E>(
        &mut self,
        time: Mono,
        rows: &[Connection],
        after_gap: bool,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let is_first = self.reconciled == 0;
        let anchor = self.anchor;
        let restored = rows.iter().map(|row| Connection { last_dumped_at: time, ..row.clone() });
        let before = std::mem::replace(self, Self::restore(restored));
        self.anchor = anchor;
        if is_first {
            let initial = true;
            return rows.iter().try_for_each(|row| {
                let connection = &self.with_direction(row);
                view(Change::Found { time, connection, initial })
            });
        }
        if !after_gap {
            return Ok(());
        }
        let key = |row: &Connection| (row.id.cookie, row.opened);
        let (is_in, was_in): (FxHashSet<_>, FxHashSet<_>) =
            (rows.iter().map(key).collect(), before.rows().map(key).collect());
        let mut gone: Vec<_> = before.rows().filter(|row| !is_in.contains(&key(row))).collect();
        gone.sort_unstable_by_key(|row| key(row));
        for row in gone {
            end_unseen(&mut row.clone(), time, &mut view)?;
        }
        let initial = false;
        rows.iter()
            .filter(|row| !was_in.contains(&key(row)))
            .try_for_each(|connection| view(Change::Found { time, connection, initial }))?;
        // Of what was open, only a TIME_WAIT is left.
        let left = rows.iter().filter(|row| row.state == TcpState::TimeWait);
        let left: FxHashMap<_, _> = left.map(|row| (key(row), row)).collect();
        let was_open = |row: &&Connection| row.state != TcpState::TimeWait;
        for row in before.rows().filter(was_open) {
            let Some(connection) = left.get(&key(row)) else { continue };
            let t = unseen(row, time, TcpState::TimeWait);
            let corrected = true;
            let (in_state, verdict) = (None, connection.verdict);
            let transition = &t;
            view(Change::Closed(Step { transition, connection, in_state, verdict, corrected }))?;
        }
        Ok(())
    }

    /// Returns a row with the direction that the table shows, since no journal keeps that.
    fn with_direction(&self, row: &Connection) -> Connection {
        let mut row = row.clone();
        self.listeners.complete(&mut row);
        row
    }

    /// Takes a connection that a dump found. What was recorded later of its beginning is here
    /// already.
    fn redo_found(&mut self, found: &Connection) {
        let key = self.key_beside(found.id.cookie, &found.tuple, found.state);
        let begun = self.rows.remove(&key);
        if let Some(row) = begun.as_ref().filter(|row| row.state == TcpState::Listen) {
            self.listeners.remove(&row.tuple);
        }
        let begun = begun.filter(|row| row.tuple == found.tuple);
        let row = match begun {
            Some(mut row) => {
                if row.owner.is_none() {
                    row.take_processes(found);
                }
                if row.state != found.state {
                    (row.state, row.since) = (found.state, None);
                }
                row
            }
            None => Box::new(found.clone()),
        };
        self.put(key, row);
    }

    /// Does what a transition did to the table that was recorded.
    fn redo_step<E>(
        &mut self,
        entry: &StepEntry,
        view: impl FnOnce(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let StepEntry { transition: t, row: after, verdict, corrected, late } = entry;
        let key = self.key_of(t.cookie, &t.tuple, t.old == TcpState::TimeWait);
        let opens = t.opening != Opening::None;
        let known = self.rows.get(&key);
        // A connection of an earlier recording may have the cookie of one that is here: it ended
        // unseen.
        let is_other = known
            .is_some_and(|row| !opens && t.new == TcpState::Close && row.opened != after.opened);
        let mut before = known.filter(|_| !is_other).map(|row| (row.state, row.since));
        // The row may be of the connection that the socket had before.
        let is_elsewhere = known.is_some_and(|row| row.tuple != t.tuple);
        if opens && is_elsewhere && matches!(before, Some((TcpState::TimeWait, _))) {
            self.retire(t.cookie);
        }
        if opens && (is_elsewhere || !late) {
            before = None;
        }
        let is_over = |(state, _)| state == TcpState::TimeWait;
        let former = match before {
            Some(_) => self.remove(key, t.time),
            None => None,
        };
        let mut row = former.unwrap_or_else(|| {
            let binding = after.binding.clone();
            Box::new(Connection { binding, ..Connection::new(after.id, t.tuple, t.new) })
        });
        // The beginning may have been read after this.
        if row.first_sight || !after.first_sight {
            (row.id, row.opened, row.first_sight) = (after.id, after.opened, after.first_sight);
            row.direction = after.direction;
            if row.direction.is_none() && row.inferred_direction.is_none() {
                row.inferred_direction = self.listeners.direction(&t.tuple, &[t.old, t.new]);
            }
            row.take_processes(after);
        }
        row.labels.clone_from(&after.labels);
        row.first_fin = row.first_fin.or(FirstFin::proved_by(t));
        let in_state = before.and_then(|(_, since)| since).filter(|_| !late && !opens);
        // What a checkpoint has is later than what was read late of the time before it.
        if !late || row.last_dumped_at <= t.time {
            (row.tuple, row.state, row.since) = (t.tuple, t.new, Some(t.time));
            row.binding.clone_from(&after.binding);
        }
        row.verdict = row.verdict.or(*verdict);
        let step = Step {
            transition: t,
            connection: &row,
            in_state: in_state.map(|since| t.time.since(since)),
            verdict: *verdict,
            corrected: *corrected,
        };
        let was_half_open = t.is_half_open_end(*verdict);
        let result = view(match (opens, t.new) {
            (true, _) => Change::Opened(step),
            _ if *late => Change::StateChanged(step),
            (_, TcpState::Close)
                if before.is_some_and(is_over) || t.old == TcpState::TimeWait || was_half_open =>
            {
                Change::Expired(step)
            }
            _ if t.is_last() => Change::Closed(step),
            _ => Change::StateChanged(step),
        });
        if row.state != TcpState::Close {
            self.put(key, row);
        }
        result
    }

    /// The key of the row that is this connection's: the socket's own, or that of its former
    /// TIME_WAIT.
    fn key_of(&self, cookie: SocketId, tuple: &Tuple, is_waiting: bool) -> TableKey {
        let is_it = |row: &Connection| {
            row.tuple == *tuple && (!is_waiting || row.state == TcpState::TimeWait)
        };
        let key = TableKey::of_socket(cookie);
        let own = self.rows.get(&key);
        if own.is_some_and(|row| is_it(row)) || own.is_none() && !is_waiting {
            return key;
        }
        let former = TableKey::of_former(cookie, tuple);
        if self.rows.contains_key(&former) { former } else { key }
    }
}
