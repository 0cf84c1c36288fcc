//! Cases that a scenario file cannot express.

mod owners;

use std::{convert::Infallible, net::SocketAddr};

use super::*;
use crate::core::{
    connection::Labels,
    event::{DumpScope, Seed},
    id::{Binding, socket},
    program::{KnownProcess, Program},
    time::{Wall, at},
};

const SECOND: i64 = 1_000_000_000;

#[test]
fn a_row_takes_at_most_three_hundred_bytes() {
    // Rows are boxed: what malloc adds, and its rounding to 16.
    let row = (size_of::<Connection>() + 8).next_multiple_of(16);
    // Both indexes, a byte of control for each entry, half full but one eighth after they grew.
    let indexes = 2 * (size_of::<(u64, u64)>() + 1) * 16 / 7;
    assert!(row + indexes <= 300, "{row} + {indexes}");
}

#[test]
fn a_view_that_fails_does_not_keep_the_table_from_its_events() {
    let end = SocketAddr::from(([127, 0, 0, 1], 80));
    let tuple = Tuple { netns: 1, interface: 0, local: end, remote: end };
    let mut table = ConnectionTable::default();
    for cookie in 1..=3 {
        let state = TcpState::Established;
        let seed = Seed {
            time: at(1),
            cookie: socket(cookie),
            tuple,
            binding: Binding::default(),
            state,
            minisocket: false,
            holders: Box::default(),
            young: Box::default(),
        };
        assert_eq!(table.apply(&Event::Seed(seed), |_| Err("full")), Err("full"));
    }
    assert_eq!(table.len(), 3);
    for time in [SECOND, 2 * SECOND, 3 * SECOND].map(at) {
        let dumped = Event::Dumped { scope: DumpScope::Namespace(1), began: time };
        let result: Result<(), Infallible> = table.apply(&dumped, |_| Ok(()));
        result.expect("infallible");
        assert_eq!(table.apply(&Event::DumpEnded { time }, |_| Err("full")), Err("full"));
    }
    assert!(table.is_empty());
}

/// A table with the TIME_WAITs of a socket that has connected twice, from port 1 and then from port
/// 2.
fn connected_twice() -> ConnectionTable {
    let mut table = ConnectionTable::default();
    let first = Event::Seed(waiting(1, 1));
    changes_of(&mut table, &first);
    changes_of(&mut table, &Event::DumpEnded { time: at(1) });
    let (old, new) = (TcpState::Close, TcpState::SynSent);
    let opens = Opening::ByProcess(None);
    changes_of(&mut table, &Event::Transition(transition(SECOND, old, new, opens)));
    let (old, new) = (TcpState::SynSent, TcpState::TimeWait);
    changes_of(&mut table, &Event::Transition(transition(2 * SECOND, old, new, Opening::None)));
    assert_eq!(table.len(), 2);
    table
}

#[test]
fn a_direction_is_inferred_from_states_and_listeners() {
    use TcpState::{Close, Established, Listen, SynRecv, SynSent};
    let mut table = ConnectionTable::default();
    let mut found = |cookie, port, state| {
        let tuple = tuple_from(port);
        let seed = Seed { cookie: socket(cookie), tuple, state, ..waiting(1, port) };
        let mut direction = None;
        let result: Result<(), Infallible> = table.apply(&Event::Seed(seed), |change| {
            if let Change::Found { connection, .. } = change {
                direction = connection.inferred_direction;
            }
            Ok(())
        });
        result.expect("infallible");
        if state == Listen {
            let end = Transition::bare(socket(cookie), tuple, Listen, Close);
            let ends = Event::Transition(Transition { time: at(SECOND), ..end });
            return (direction, Some(ends));
        }
        (direction, None)
    };
    assert_eq!(found(1, 1, SynSent).0, Some(Direction::Outbound));
    assert_eq!(found(2, 2, SynRecv).0, Some(Direction::Inbound));
    assert_eq!(found(3, 3, Established).0, None);
    let (direction, ends) = found(4, 4, Listen);
    assert_eq!(direction, None);
    assert_eq!(found(5, 4, Established).0, Some(Direction::Inbound));
    changes_of(&mut table, &ends.expect("a listener"));
    let seed = Seed { cookie: socket(6), state: Established, ..waiting(1, 4) };
    changes_of(&mut table, &Event::Seed(seed));
    let row = table.rows().find(|row| row.id.cookie == socket(6)).expect("a row");
    assert_eq!(row.inferred_direction, None);
}

fn tuple_from(port: u16) -> Tuple {
    let end = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Tuple { netns: 1, interface: 0, local: end(port), remote: end(80) }
}

/// The socket's TIME_WAIT as a dump has it.
fn waiting(time: i64, port: u16) -> Seed {
    let (cookie, tuple, state) = (socket(7), tuple_from(port), TcpState::TimeWait);
    Seed {
        time: at(time),
        cookie,
        tuple,
        binding: Binding::default(),
        state,
        minisocket: true,
        holders: Box::default(),
        young: Box::default(),
    }
}

/// A transition of the socket's second connection.
fn transition(time: i64, old: TcpState, new: TcpState, opening: Opening) -> Transition {
    let bare = Transition::bare(socket(7), tuple_from(2), old, new);
    Transition { time: at(time), opening, ..bare }
}

/// The number of changes that an event makes.
fn changes_of(table: &mut ConnectionTable, event: &Event) -> usize {
    let mut changes = 0;
    let result: Result<(), Infallible> = table.apply(event, |change| {
        changes += usize::from(!matches!(change, Change::Reconciled { .. }));
        Ok(())
    });
    result.expect("infallible");
    changes
}

#[test]
fn a_time_wait_is_there_once_when_the_later_of_its_socket_has_ended_before_it() {
    let mut table = connected_twice();
    assert_eq!(
        changes_of(&mut table, &Event::TimeWaitEnded { time: at(3 * SECOND), cookie: socket(7) }),
        1
    );
    assert_eq!(changes_of(&mut table, &Event::Seed(waiting(4 * SECOND, 1))), 0);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_dump_does_not_bring_back_the_former_time_wait_of_a_socket() {
    let mut table = connected_twice();
    changes_of(&mut table, &Event::DumpBegan);
    // Another socket takes its place, after the dump has had it.
    let takes = Transition {
        cookie: socket(8),
        tuple: tuple_from(1),
        ..transition(4 * SECOND, TcpState::Close, TcpState::SynSent, Opening::ByProcess(None))
    };
    assert_eq!(changes_of(&mut table, &Event::Transition(takes)), 2);
    assert_eq!(changes_of(&mut table, &Event::Seed(waiting(3 * SECOND, 1))), 0);
    assert_eq!(table.len(), 2);
}

/// Socket 7 of namespace 1, connected from `port`, as a dump at a moment has it.
fn seed(time: i64, port: u16, state: TcpState) -> Event {
    let end = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let tuple = Tuple { netns: 1, interface: 0, local: end(port), remote: end(80) };
    let (time, cookie) = (at(time), socket(7));
    Event::Seed(Seed {
        time,
        cookie,
        tuple,
        binding: Binding::default(),
        state,
        minisocket: false,
        holders: Box::default(),
        young: Box::default(),
    })
}

fn apply(table: &mut ConnectionTable, events: impl IntoIterator<Item = Event>) -> usize {
    let mut changes = 0;
    for event in events {
        let applied: Result<(), Infallible> = table.apply(&event, |_| {
            changes += 1;
            Ok(())
        });
        applied.expect("infallible");
    }
    changes
}

/// A socket has connected twice again: two are in TIME_WAIT, in whichever order a dump has them.
#[test]
fn connections_of_one_socket_that_a_dump_finds_have_epochs_of_their_own() {
    use TcpState::{Established, TimeWait};
    let ports = [(1, TimeWait), (2, TimeWait), (3, Established)];
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
        let mut table = ConnectionTable::default();
        let seeds = order.map(|index: usize| seed(SECOND, ports[index].0, ports[index].1));
        assert_eq!(apply(&mut table, seeds), 3);
        let mut epochs: Vec<_> = table.rows().map(|row| row.id.epoch.as_nanos() / 1_000).collect();
        epochs.sort_unstable();
        epochs.dedup();
        assert_eq!(epochs.len(), 3, "{epochs:?}");
    }
}

#[test]
fn a_recording_remembers_every_connection_of_a_socket() {
    let mut former = ConnectionTable::default();
    let both = |time| [seed(time, 1, TcpState::TimeWait), seed(time, 2, TcpState::Established)];
    apply(&mut former, both(SECOND));
    let mut table = ConnectionTable::default();
    table.remember(former.rows().cloned());
    apply(&mut table, both(9 * SECOND));
    let opened = |table: &ConnectionTable| {
        let mut opened: Vec<_> = table.rows().map(|row| (row.tuple.local, row.opened)).collect();
        opened.sort_unstable();
        opened
    };
    assert_eq!(opened(&table), opened(&former));
}

/// Cookies begin again with each boot: the first sockets of two boots have the same ones.
#[test]
fn a_recording_recalls_nothing_of_another_boot() {
    let mut former = ConnectionTable::default();
    let listener = |time| [seed(time, 22, TcpState::Listen)];
    apply(&mut former, listener(SECOND));
    let of_boot = |mut row: Connection| {
        let labels = Labels { boot_id: Some("before".into()), ..Labels::default() };
        row.labels = Some(labels.into());
        row
    };
    let mut table = ConnectionTable::default();
    table.remember(former.rows().cloned().map(of_boot));
    apply(&mut table, listener(9 * SECOND));
    let row = table.rows().next().expect("a row");
    assert_eq!((row.id.epoch, row.first_sight), (at(9 * SECOND), true));
    let mut ended = 0;
    let mut count = |change: Change<'_>| {
        if let Change::Closed(step) = change {
            assert_eq!((step.verdict, step.corrected), (None, true), "a listener");
            ended += 1;
        }
        Ok::<_, Infallible>(())
    };
    let time = at(10 * SECOND);
    let dumped = Event::Dumped { scope: DumpScope::AllBut(Vec::new()), began: time };
    for event in [dumped, Event::DumpEnded { time }] {
        table.apply(&event, &mut count).expect("infallible");
    }
    assert_eq!((ended, table.len()), (1, 1));
}
