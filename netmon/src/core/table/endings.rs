//! Ends without an event of their own: of a TIME_WAIT, and of a connection whose end was lost.

use super::{Change, Connection, ConnectionTable, Step, Verdict, hash, step};
use crate::core::{
    event::Transition,
    id::{SocketId, TableKey},
    tcp::TcpState,
    time::Mono,
};

impl ConnectionTable {
    /// Ends the TIME_WAIT of a socket, as the kernel reported.
    pub(super) fn ended<E>(
        &mut self,
        time: Mono,
        cookie: SocketId,
        view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(row) = self.rows.get(&TableKey::of_socket(cookie)) else { return Ok(()) };
        if row.state != TcpState::TimeWait || row.as_of() > time {
            return Ok(());
        }
        let t = Transition { inferred: false, ..unseen(row, time, TcpState::Close) };
        let in_state = row.since.map(|since| time.since(since));
        self.advance(TableKey::of_socket(cookie), &t, in_state, false, view)
    }

    /// Removes the row under `key`, whose end no event reported.
    pub(super) fn vanish<E>(
        &mut self,
        key: TableKey,
        time: Mono,
        view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(mut row) = self.remove(key, time) else { return Ok(()) };
        let time = time.max(row.as_of());
        end_unseen(&mut row, time, view)
    }

    /// Ends the rows of an earlier recording that the first dump does not have.
    pub(super) fn forget<E>(
        &mut self,
        time: Mono,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut gone: Vec<_> = std::mem::take(&mut self.remembered).into_values().collect();
        gone.sort_unstable_by_key(|row| (row.opened, row.id.cookie));
        gone.iter_mut().try_for_each(|row| end_unseen(row, time, &mut view))
    }

    /// Ends the TIME_WAIT that was at the tuple of `t`: it made room for the connection of `t`.
    pub(super) fn make_room<E>(
        &mut self,
        t: &Transition,
        view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let there = self.waiting.get(&hash(&t.tuple)).copied();
        let is_it = |key: &TableKey| {
            self.rows.get(key).is_some_and(|row| row.tuple == t.tuple && row.id.cookie != t.cookie)
        };
        match there.filter(is_it) {
            Some(key) => self.vanish(key, t.time, view),
            None => Ok(()),
        }
    }
}

/// Ends `row`, whose end no event reported: a connection vanished, or a TIME_WAIT expired.
pub(super) fn end_unseen<E>(
    row: &mut Connection,
    time: Mono,
    mut view: impl FnMut(Change<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let t = unseen(row, time, TcpState::Close);
    let in_state = row.since.map(|since| time.since(since));
    row.state = TcpState::Close;
    // A half-open connection that only dumps have shown has no end of its own.
    let was_half_open = t.old == TcpState::SynRecv && row.first_sight;
    if t.old == TcpState::TimeWait || was_half_open {
        return view(Change::Expired(step(&t, row, in_state, None)));
    }
    let verdict = (t.old != TcpState::Listen).then_some(Verdict::Vanished);
    let step = Step { corrected: true, ..step(&t, row, in_state, verdict) };
    view(Change::Closed(step))
}

/// Makes a transition of `row` to `new` that no hook reported.
pub(super) fn unseen(row: &Connection, time: Mono, new: TcpState) -> Transition {
    let bare = Transition::bare(row.id.cookie, row.tuple, row.state, new);
    Transition { time, inferred: true, ..bare }
}
