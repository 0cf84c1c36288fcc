//! Openings: the first event of a connection, or the first that netmon sees of it.

use std::collections::hash_map::Entry;

use super::{Change, Connection, ConnectionTable, Direction, REPEATED, SECOND, hash, step};
use crate::core::{
    event::{Opening, Transition},
    id::{ConnectionId, TableKey},
    process::Evidence,
    tcp::TcpState,
    time::Mono,
    verdict::{FirstFin, judge},
};

impl ConnectionTable {
    /// Adds the row of a connection that `t` opens, or that netmon first sees by `t`.
    pub(super) fn open<E>(
        &mut self,
        t: &Transition,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut row = self.row_of(t);
        if t.opening == Opening::None {
            self.recall(&mut row);
        }
        let mut result = Ok(());
        if let Some(known) = self.rows.get_mut(&TableKey::of_socket(t.cookie)) {
            // Its beginning may be read after what came later. A dump says no more than when it
            // began to look, and a child is born once.
            let latest = match t.opening {
                Opening::FromListener(_) => Mono::MAX,
                _ if known.last_dumped_at > Mono::MIN => known.id.epoch + SECOND,
                _ => known.id.epoch,
            };
            let is_it = known.state != TcpState::TimeWait || known.tuple == t.tuple;
            if known.first_sight && t.time <= latest && is_it {
                if row.owner.is_none() {
                    row.take_processes(known);
                }
                if known.as_of() < t.time {
                    // The rest of what happened since the dump began is still to come.
                    if known.state == TcpState::TimeWait {
                        self.waiting.remove(&hash(&known.tuple));
                    }
                    let binding = std::mem::take(&mut known.binding);
                    let Connection { tuple, last_dumped_at, last_dump_pass, .. } = **known;
                    **known = Connection { tuple, binding, last_dumped_at, last_dump_pass, ..row };
                } else {
                    (known.id, known.opened, known.first_sight) = (row.id, row.opened, false);
                    (known.direction, known.inferred_direction) = (row.direction, None);
                    known.take_processes(&row);
                    if known.state == t.new {
                        known.since = known.since.or(Some(t.time));
                    }
                }
                return view(Change::Opened(step(t, known, None, None)));
            }
            let is_repeated = t.time.since(known.id.epoch) < REPEATED;
            if !known.first_sight && known.state == t.new && is_repeated {
                return Ok(());
            }
            if known.state == TcpState::TimeWait && known.tuple != t.tuple {
                // The socket connects again, and its minisocket goes on.
                self.retire(t.cookie);
            } else if known.state != TcpState::Listen {
                result = self.vanish(TableKey::of_socket(t.cookie), t.time, &mut view);
            }
        }
        result = result.and(self.make_room(t, &mut view));
        if t.new == TcpState::Close {
            // It was open before netmon looked, or its beginning was lost.
            self.closed.add(TableKey::of_socket(t.cookie), t.time);
            return result.and(view(Change::Closed(step(t, &row, None, row.verdict))));
        }
        self.put(TableKey::of_socket(t.cookie), Box::new(row));
        let Some(row) = self.rows.get(&TableKey::of_socket(t.cookie)) else { return result };
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
                let row = listener.and_then(|cookie| self.rows.get(&TableKey::of_socket(cookie)));
                let owner = row.and_then(|row| row.owner.clone());
                (Some(Direction::Inbound), owner, Evidence::Listen)
            }
        };
        let evidence = owner.is_some().then_some(evidence);
        let first_sight = direction.is_none();
        let inferred_direction = match direction {
            None => self.listeners.direction(&t.tuple, &[t.old, t.new]),
            Some(_) => None,
        };
        let first_fin = FirstFin::proved_by(t);
        let id = ConnectionId { cookie: t.cookie, epoch: t.time };
        Connection {
            opened: self.anchor.wall_time(t.time),
            first_sight,
            since: Some(t.time),
            direction,
            inferred_direction,
            owner,
            evidence,
            first_fin,
            verdict: judge(t, first_fin),
            binding: t.binding.clone(),
            ..Connection::new(id, t.tuple, t.new)
        }
    }

    /// Completes the row of a connection that netmon did not see open by the row that an earlier
    /// recording had of it. Returns the state in which that had it.
    pub(super) fn recall(&mut self, row: &mut Connection) -> Option<TcpState> {
        let Entry::Occupied(former) = self.remembered.entry((row.id.cookie, row.tuple)) else {
            return None;
        };
        // Cookies begin again with each boot. A row of an earlier boot has the name of that.
        if former.get().labels.is_some() {
            return None;
        }
        let former = former.remove();
        (row.id, row.opened, row.first_sight) = (former.id, former.opened, former.first_sight);
        row.direction = former.direction;
        row.first_fin = row.first_fin.or(former.first_fin);
        row.verdict = row.verdict.or(former.verdict);
        if former.owner.is_some() {
            row.take_processes(&former);
        }
        Some(former.state)
    }
}
