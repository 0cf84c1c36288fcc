//! What was recorded, made again: nothing is judged anew, the rows become what they were.

use super::{Change, Connection, ConnectionTable, Step, key_of_former};
use crate::core::{
    event::{ConnectionId, Opening, Recorded, Tuple},
    tcp::TcpState,
    verdict::FirstFin,
};

impl ConnectionTable {
    /// Does what a step did to the table that was recorded.
    pub(super) fn replay<E>(
        &mut self,
        recorded: &Recorded,
        view: impl FnOnce(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Recorded { transition: t, verdict, corrected, late, .. } = recorded;
        let key = self.key_of(t.cookie, &t.tuple, t.old == TcpState::TimeWait);
        let opens = t.opening != Opening::None;
        let mut before = self.rows.get(&key).map(|row| (row.state, row.since));
        if opens && !late {
            if let Some((TcpState::TimeWait, _)) = before {
                self.retire(t.cookie);
            }
            before = None;
        }
        let is_over = |(state, _)| state == TcpState::TimeWait;
        let mut row = match before {
            Some(_) => self.remove(key, t.time),
            None => None,
        }
        .unwrap_or_else(|| {
            let id = ConnectionId { cookie: t.cookie, epoch: 0 };
            Box::new(Connection::new(id, t.tuple, t.new))
        });
        if opens {
            row.id.epoch = t.time;
        }
        (row.direction, row.evidence) = (recorded.direction, recorded.evidence);
        row.owner.clone_from(&recorded.owner);
        row.first_fin = row.first_fin.or(FirstFin::told_by(t));
        let in_state = before.and_then(|(_, since)| since).filter(|_| !late && !opens);
        if !late {
            (row.tuple, row.state, row.since) = (t.tuple, t.new, Some(t.time));
        }
        row.verdict = row.verdict.or(*verdict);
        let step = Step {
            transition: t,
            connection: &row,
            in_state: in_state.map(|since| t.time.saturating_sub(since)),
            verdict: *verdict,
            corrected: *corrected,
        };
        let was_half_open = t.is_half_open_end(*verdict);
        let result = view(match (opens, t.new) {
            (true, _) => Change::Opened(step),
            _ if *late => Change::Moved(step),
            (_, TcpState::Close) if before.is_some_and(is_over) || was_half_open => {
                Change::Expired(step)
            }
            _ if t.is_last() => Change::Closed(step),
            _ => Change::Moved(step),
        });
        if row.state != TcpState::Close {
            self.put(key, row);
        }
        result
    }

    /// The key of the row that is this connection's: the socket's own, or that of its former TIME_WAIT.
    pub(super) fn key_of(&self, cookie: u64, tuple: &Tuple, is_waiting: bool) -> u64 {
        let is_it = |row: &Connection| {
            row.tuple == *tuple && (!is_waiting || row.state == TcpState::TimeWait)
        };
        let own = self.rows.get(&cookie);
        if own.is_some_and(|row| is_it(row)) || own.is_none() && !is_waiting {
            return cookie;
        }
        let former = key_of_former(cookie, tuple);
        if self.rows.contains_key(&former) { former } else { cookie }
    }
}
