//! What goes into a journal comes out of it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use proptest::prelude::*;

use super::{archive, events::Events, replay, rows::Checkpoints};
use crate::core::{
    connection::{Change, Connection, Step},
    event::{Anchor, Event, Gap, Loss, Opening, Owner, ResetSide, Seed, Totals, Transition, Tuple},
    table::ConnectionTable,
    tcp::TcpState::{
        self, Close, Established, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
    },
};

const SECOND: u64 = 1_000_000_000;
const ANCHOR: Anchor = Anchor { monotonic: 17, wall: 1_795_413_012_000_000_007 };

/// Two sockets have lower ports of their own, the others higher ones, as servers and clients have.
fn tuple(cookie: u64) -> Tuple {
    let port = u16::try_from(cookie * 30).expect("a small number");
    let end = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Tuple { netns: 1, local: end(20 + port), remote: end(80) }
}

fn transition(cookie: u64, old: TcpState, new: TcpState, time: u64) -> Transition {
    let opening = match (old, new) {
        (Close, SynSent | Listen) => {
            let pid = u32::try_from(cookie + 1).expect("a small number");
            let owner = Owner {
                pid,
                uid: 33,
                cgroup: pid.into(),
                // A process may have no name (prctl's PR_SET_NAME).
                comm: if pid == 1 { b"".as_slice() } else { "curl é".as_bytes() }.into(),
            };
            Opening::ByProcess((cookie.is_multiple_of(2)).then(|| Arc::new(owner)))
        }
        (Listen, SynRecv) => Opening::FromListener(Some(1)),
        _ => Opening::None,
    };
    let is_over = new == Close;
    let number = u32::try_from(time / SECOND).expect("a small number");
    Transition {
        time,
        cookie,
        tuple: tuple(cookie),
        old,
        new,
        errno: (is_over && number.is_multiple_of(3)).then_some(104),
        reset: (is_over && number.is_multiple_of(2)).then_some(ResetSide::Sent),
        totals: is_over.then_some(Totals {
            bytes_sent: u64::MAX,
            bytes_received: time,
            retransmits: number,
            rtt_us: (number.is_multiple_of(2)).then_some(number),
        }),
        orphan: number % 4 == 1,
        inferred: number % 5 == 1,
        opening,
    }
}

/// Events as they come: in order, with looks between.
fn story() -> impl Strategy<Value = Vec<Event>> {
    const STATES: [TcpState; 8] =
        [Close, SynSent, SynRecv, Established, FinWait2, TimeWait, LastAck, Listen];
    let happening = (0..5u64, 0..8usize, 0..7usize, 0..8u8);
    prop::collection::vec(happening, 0..80).prop_map(|happenings| {
        let mut events = Vec::new();
        for (time, (cookie, old, step, kind)) in (1..).map(|i| i * SECOND).zip(happenings) {
            let (old, new) = (STATES[old], STATES[(old + step + 1) % 8]);
            let state = if new == Close { SynSent } else { new };
            let holder = Owner { pid: 99, uid: 0, cgroup: 0, comm: b"sshd".as_slice().into() };
            let owner = (old == Established).then(|| Arc::new(holder));
            let tuple = tuple(cookie);
            events.extend(match kind {
                0 | 1 => {
                    vec![Event::Seed(Seed { time, cookie, tuple, state, minisocket: false, owner })]
                }
                2 => vec![
                    Event::Dumping,
                    Event::Dumped { netns: 1, began: time },
                    Event::Reconciled { time },
                ],
                3 => vec![Event::Failed { time, cookie, errno: 110 }],
                4 => {
                    vec![Event::Lost(Gap { from: time - 1, time, count: 7, loss: Loss::RingFull })]
                }
                // No hook tells of the end of a TIME_WAIT.
                _ if old == TimeWait => vec![],
                _ => vec![Event::Transition(transition(cookie, old, new, time))],
            });
        }
        events
    })
}

fn apply(table: &mut ConnectionTable, event: &Event, mut view: impl FnMut(Change<'_>)) {
    let result: Result<(), Infallible> = table.apply(event, |change| {
        view(change);
        Ok(())
    });
    result.expect("infallible");
}

/// What a table says: restored, as what only dumps leave in it is no part of that.
fn rows(table: &ConnectionTable) -> Vec<Connection> {
    let mut rows: Vec<_> = table.rows().cloned().map(Connection::bare).collect();
    rows.sort_by_key(|row| (row.id.cookie, row.id.epoch));
    rows
}

/// What a view can show of a change.
fn told(change: &Change<'_>) -> String {
    let row = |row: &Connection| {
        let Connection { id, tuple, direction, owner, evidence, .. } = row;
        format!("{id:?} {tuple:?} {direction:?} {owner:?} {evidence:?}")
    };
    match change {
        Change::Opened(step)
        | Change::Moved(step)
        | Change::Closed(step)
        | Change::Expired(step) => {
            let Step { transition, connection, in_state, verdict, corrected } = step;
            let kind = format!("{change:?}").chars().take(6).collect::<String>();
            let row = row(connection);
            format!("{kind} {transition:?} {row} {in_state:?} {verdict:?} {corrected}")
        }
        Change::Found { time, connection, initial } => {
            format!("found {time} {} {:?} {initial}", row(connection), connection.state)
        }
        Change::Owned { time, connection } => format!("owned {time} {}", row(connection)),
        other => format!("{other:?}"),
    }
}

proptest! {
    /// The changes of any story, written, sorted, read and done again, make the same table.
    #[test]
    fn what_was_recorded_happens_again(story in story(), at in 0..80usize) {
        let mut table = ConnectionTable::default();
        let mut events = Events::new();
        let mut checkpoints = Checkpoints::new();
        let mut seen = Vec::new();
        for (number, event) in story.iter().enumerate() {
            // A checkpoint does not say that a TIME_WAIT is of a socket's former connection, unless the
            // other is there as well.
            prop_assume!(number != at || !table.has_former());
            if number == at {
                // What follows is done to the table of a checkpoint.
                for row in table.rows() {
                    checkpoints.push(ANCHOR, row);
                }
                events = Events::new();
                seen.clear();
            }
            apply(&mut table, event, |change| {
                if events.push(ANCHOR, &change).is_some() {
                    seen.push(told(&change));
                }
            });
        }
        let checkpoint = checkpoints.finish().expect("a batch");
        let batch = events.finish().expect("a batch");
        let sorted = archive::sorted(super::files::Dataset::Events, &batch).expect("sorted");
        let checkpoint = super::decode::checkpoint(&checkpoint).expect("rows");
        seen.sort();
        // As it is while it is written, and afterwards.
        for batch in [batch, sorted] {
            let mut again = ConnectionTable::default();
            apply(&mut again, &Event::Checkpoint { time: 0, rows: checkpoint.clone() }, |_| ());
            let mut told_again = Vec::new();
            for (moment, event) in replay::in_order(&batch).expect("events") {
                prop_assert_eq!(ANCHOR.wall_time(moment.monotonic), moment.wall);
                apply(&mut again, &event, |change| told_again.push(told(&change)));
            }
            prop_assert_eq!(rows(&again), rows(&table));
            told_again.sort();
            prop_assert_eq!(&told_again, &seen);
        }
    }
}
