//! The table of connections: a pure state machine from events to changes.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    event::{Anchor, ConnectionId, Event, Loss, Opening, Owner, Seed, Transition, Tuple},
    tcp::TcpState,
    verdict::{FirstFin, Verdict, judge},
};

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// This host connected.
    Outbound,
    /// The peer connected to a listener here.
    Inbound,
    /// A listening socket.
    Listen,
}

impl Direction {
    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Listen => "listen",
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Which connection this is.
    pub id: ConnectionId,
    /// Its place.
    pub tuple: Tuple,
    /// Its state now.
    pub state: TcpState,
    /// When it entered that state, `CLOCK_MONOTONIC`, ns; unknown until the first transition of one that
    /// was open before netmon looked.
    pub since: Option<u64>,
    /// Who began it; unknown when it was open before netmon looked.
    pub direction: Option<Direction>,
    /// The process behind it.
    pub owner: Option<Arc<Owner>>,
    /// Which side sent its FIN first, once one did.
    pub first_fin: Option<FirstFin>,
}

/// A transition as it changed the table.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// What happened.
    pub transition: &'a Transition,
    /// The row after it.
    pub connection: &'a Connection,
    /// How long the connection was in the old state, ns; unknown on the first event of one that was
    /// open before netmon looked.
    pub in_state: Option<u64>,
    /// Why it ended: on the last one of a connection.
    pub verdict: Option<Verdict>,
}

/// What an event did to the table: what every view consumes.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It was there when netmon began to look.
    Seeded {
        /// When it was found, `CLOCK_MONOTONIC`, ns.
        time: u64,
        /// The row of it.
        connection: &'a Connection,
    },
    /// A connection, or a listener, began.
    Opened(Step<'a>),
    /// It changed its state.
    Moved(Step<'a>),
    /// It ended, or only its TIME_WAIT is left.
    Closed(Step<'a>),
    /// The clocks were compared.
    Anchor(Anchor),
    /// Events were lost.
    Gap {
        /// When that was noticed, `CLOCK_MONOTONIC`, ns.
        time: u64,
        /// How many.
        count: u64,
        /// Why.
        loss: Loss,
    },
}

/// Every connection that is known to be open.
#[derive(Debug, Default)]
pub struct ConnectionTable {
    rows: FxHashMap<u64, Connection>,
}

impl ConnectionTable {
    /// Applies one event and hands the change it made to `view`.
    ///
    /// # Errors
    /// What `view` answered; the table has taken the event all the same.
    pub fn apply<E>(
        &mut self,
        event: &Event,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match event {
            Event::Anchor(anchor) => view(Change::Anchor(*anchor)),
            Event::Lost { time, count, loss } => {
                view(Change::Gap { time: *time, count: *count, loss: *loss })
            }
            Event::Seed(seed) => {
                view(Change::Seeded { time: seed.time, connection: self.seed(seed) })
            }
            Event::Transition(transition) => self.transition(transition, view),
        }
    }

    /// Takes a socket that was there before.
    ///
    /// Seeds come before any transition, also those that happened before the dump: these lead to the
    /// state that the seed has already, or open the connection anew, or end it.
    fn seed(&mut self, seed: &Seed) -> &Connection {
        let is_listener = seed.state == TcpState::Listen;
        let row = Connection {
            id: ConnectionId { cookie: seed.cookie, epoch: 0 },
            tuple: seed.tuple,
            state: seed.state,
            since: None,
            direction: is_listener.then_some(Direction::Listen),
            owner: seed.owner.clone(),
            first_fin: None,
        };
        self.rows.entry(seed.cookie).insert_entry(row).into_mut()
    }

    fn transition<E>(
        &mut self,
        t: &Transition,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let opening = t.opening != Opening::None;
        let known = if opening { None } else { self.rows.get_mut(&t.cookie) };
        let in_state = known.as_ref().and_then(|row| Some(t.time.saturating_sub(row.since?)));
        if t.is_last() {
            let row = match self.rows.remove(&t.cookie) {
                Some(row) if !opening => moved(row, t),
                _ => self.opened(t),
            };
            let verdict = judge(t, row.first_fin);
            let step = Step { transition: t, connection: &row, in_state, verdict };
            return view(Change::Closed(step));
        }
        let row = match known {
            Some(row) => {
                // The tuple can only become better known: an address chosen late, a port looked up.
                row.tuple = t.tuple;
                row.state = t.new;
                row.since = Some(t.time);
                row.first_fin = row.first_fin.or(FirstFin::told_by(t));
                &*row
            }
            None => {
                let row = self.opened(t);
                self.rows.entry(t.cookie).insert_entry(row).into_mut()
            }
        };
        let step = Step { transition: t, connection: row, in_state, verdict: None };
        view(if opening { Change::Opened(step) } else { Change::Moved(step) })
    }

    /// The row that `t` begins, or that it is the first sign of.
    fn opened(&self, t: &Transition) -> Connection {
        let (direction, owner) = match &t.opening {
            Opening::None => (None, None),
            Opening::ByProcess(owner) if t.new == TcpState::Listen => {
                (Some(Direction::Listen), owner.clone())
            }
            Opening::ByProcess(owner) => (Some(Direction::Outbound), owner.clone()),
            Opening::FromListener(listener) => {
                let row = listener.and_then(|cookie| self.rows.get(&cookie));
                (Some(Direction::Inbound), row.and_then(|row| row.owner.clone()))
            }
        };
        let epoch = if direction.is_some() { t.time } else { 0 };
        Connection {
            id: ConnectionId { cookie: t.cookie, epoch },
            tuple: t.tuple,
            state: t.new,
            since: Some(t.time),
            direction,
            owner,
            first_fin: FirstFin::told_by(t),
        }
    }

    /// How many connections and listeners are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn moved(row: Connection, t: &Transition) -> Connection {
    Connection { tuple: t.tuple, state: t.new, since: Some(t.time), ..row }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::core::{
        event::Evidence,
        tcp::TcpState::{Close, Established, FinWait1, Listen, SynRecv, SynSent, TimeWait},
    };

    fn event(cookie: u64, old: TcpState, new: TcpState, time: u64, opening: Opening) -> Event {
        let address = "127.0.0.1:80".parse().expect("an address");
        Event::Transition(Transition {
            time,
            cookie,
            tuple: Tuple { netns: 1, local: address, remote: address },
            old,
            new,
            errno: None,
            reset: None,
            orphan: false,
            inferred: false,
            opening,
        })
    }

    fn owner(pid: u32, evidence: Evidence) -> Opening {
        let comm = b"test"[..].into();
        Opening::ByProcess(Some(Arc::new(Owner { pid, uid: 0, cgroup: 1, comm, evidence })))
    }

    /// Applies the event: what kind of change, the row after it, the time in the old state.
    fn apply(
        table: &mut ConnectionTable,
        event: &Event,
    ) -> (&'static str, Connection, Option<u64>) {
        let mut seen = None;
        let result: Result<(), Infallible> = table.apply(event, |change| {
            let (kind, step) = match change {
                Change::Opened(step) => ("opened", step),
                Change::Moved(step) => ("moved", step),
                Change::Closed(step) => ("closed", step),
                other => panic!("{other:?}"),
            };
            seen = Some((kind, step.connection.clone(), step.in_state));
            Ok(())
        });
        result.expect("infallible");
        seen.expect("each transition is a change")
    }

    #[test]
    fn a_connection_is_opened_moved_and_closed() {
        let mut table = ConnectionTable::default();
        let open = event(1, Close, SynSent, 100, owner(42, Evidence::Connect));
        let (kind, row, in_state) = apply(&mut table, &open);
        assert_eq!((kind, in_state), ("opened", None));
        assert_eq!(row.id, ConnectionId { cookie: 1, epoch: 100 });
        assert_eq!(row.direction, Some(Direction::Outbound));
        let (kind, row, in_state) =
            apply(&mut table, &event(1, SynSent, Established, 130, Opening::None));
        assert_eq!((kind, in_state, row.id.epoch), ("moved", Some(30), 100));
        let (kind, row, in_state) =
            apply(&mut table, &event(1, FinWait1, TimeWait, 150, Opening::None));
        assert_eq!((kind, in_state, row.state), ("closed", Some(20), TimeWait));
        assert_eq!(row.owner.expect("kept to the end").pid, 42);
        assert!(table.is_empty());
    }

    #[test]
    fn an_accepted_connection_has_its_listeners_owner() {
        let mut table = ConnectionTable::default();
        apply(&mut table, &event(1, Close, Listen, 10, owner(42, Evidence::Listen)));
        let child = event(2, Listen, SynRecv, 20, Opening::FromListener(Some(1)));
        let (kind, row, _) = apply(&mut table, &child);
        assert_eq!((kind, row.direction), ("opened", Some(Direction::Inbound)));
        assert_eq!(
            row.owner.map(|owner| (owner.pid, owner.evidence)),
            Some((42, Evidence::Listen))
        );
        // The listener's end is not its connections' end.
        apply(&mut table, &event(1, Listen, Close, 30, Opening::None));
        let (_, row, _) = apply(&mut table, &event(2, SynRecv, Established, 40, Opening::None));
        assert_eq!(row.owner.map(|owner| owner.pid), Some(42));
        let (_, row, _) =
            apply(&mut table, &event(3, Listen, SynRecv, 50, Opening::FromListener(Some(1))));
        assert_eq!(row.owner, None, "nobody is named for a listener that is gone");
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_second_connection_of_a_socket_is_another() {
        let mut table = ConnectionTable::default();
        apply(&mut table, &event(1, Close, SynSent, 100, owner(42, Evidence::Connect)));
        // Its end was lost.
        let again = event(1, Close, SynSent, 900, owner(43, Evidence::Connect));
        let (kind, row, in_state) = apply(&mut table, &again);
        assert_eq!((kind, in_state, row.id.epoch), ("opened", None, 900));
        assert_eq!(row.owner.map(|owner| owner.pid), Some(43));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_seed_is_followed_from_there() {
        let mut table = ConnectionTable::default();
        let holder = Arc::new(Owner {
            pid: 7,
            uid: 0,
            cgroup: 0,
            comm: b"held"[..].into(),
            evidence: Evidence::FdScan,
        });
        let tuple = Tuple {
            netns: 1,
            local: "127.0.0.1:80".parse().expect("an address"),
            remote: "127.0.0.1:80".parse().expect("an address"),
        };
        for (cookie, state) in [(1, Listen), (2, Established)] {
            let owner = Some(Arc::clone(&holder));
            let seed = Event::Seed(Seed { time: 50, cookie, tuple, state, owner });
            let mut seeded = false;
            let result: Result<(), Infallible> = table.apply(&seed, |change| {
                seeded = matches!(change, Change::Seeded { time: 50, .. });
                Ok(())
            });
            result.expect("infallible");
            assert!(seeded);
        }
        // A transition from before the dump, read after it, leads to where the seed is already.
        let (kind, row, in_state) =
            apply(&mut table, &event(2, SynRecv, Established, 40, Opening::None));
        assert_eq!((kind, in_state, row.owner.map(|owner| owner.pid)), ("moved", None, Some(7)));
        let (_, row, in_state) =
            apply(&mut table, &event(2, Established, FinWait1, 60, Opening::None));
        assert_eq!((row.id.epoch, in_state), (0, Some(20)));
        // What a seeded listener takes has its owner.
        let child = event(3, Listen, SynRecv, 70, Opening::FromListener(Some(1)));
        let (_, row, _) = apply(&mut table, &child);
        assert_eq!(row.owner.map(|owner| owner.evidence), Some(Evidence::FdScan));
        // A socket that connects again is another connection.
        let again = event(2, Close, SynSent, 90, owner(42, Evidence::Connect));
        let (kind, row, _) = apply(&mut table, &again);
        assert_eq!((kind, row.id.epoch), ("opened", 90));
    }

    #[test]
    fn one_that_was_open_before_has_no_past() {
        let mut table = ConnectionTable::default();
        let (kind, row, in_state) =
            apply(&mut table, &event(1, Established, FinWait1, 100, Opening::None));
        assert_eq!((kind, in_state, row.id.epoch), ("moved", None, 0));
        assert_eq!((row.direction, row.owner), (None, None));
        let (_, _, in_state) = apply(&mut table, &event(1, FinWait1, Close, 90, Opening::None));
        assert_eq!(in_state, Some(0), "time that runs backwards is no time");
    }
}
