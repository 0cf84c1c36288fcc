//! Cases that a scenario file cannot express.

use std::{convert::Infallible, net::SocketAddr};

use super::*;
use crate::core::{
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

/// A process that has forked holds every descriptor of its parent until it calls exec.
#[test]
fn the_owner_stays_as_long_as_it_holds_the_connection() {
    let owner = |pid| {
        Arc::new(Owner {
            pid,
            host_pid: 0,
            uid: 0,
            real_uid: None,
            cgroup: None,
            comm: b"server".as_slice().into(),
            process: None,
        })
    };
    let held_by = |time, pids: &[u32]| {
        let holders = pids.iter().map(|pid| owner(*pid)).collect();
        let seed = Seed { holders, ..waiting(time, 2) };
        Event::Seed(Seed { state: TcpState::Established, minisocket: false, ..seed })
    };
    let (syn, open) = (TcpState::SynRecv, TcpState::Established);
    // An accept names the process that opened the connection, so that the holder is another fact.
    let other = |evidence| match evidence {
        Evidence::Accept => [Some(40), Some(30)],
        _ => [Some(30), None],
    };
    for evidence in [Evidence::Listen, Evidence::Accept, Evidence::FdScan] {
        let mut table = ConnectionTable::default();
        if evidence != Evidence::FdScan {
            // An accept by the process that listens is no news.
            let listener = owner(if evidence == Evidence::Accept { 39 } else { 40 });
            let listens = Transition {
                cookie: socket(6),
                opening: Opening::ByProcess(Some(listener)),
                ..transition(1, TcpState::Close, TcpState::Listen, Opening::None)
            };
            changes_of(&mut table, &Event::Transition(listens));
            let opening = Opening::FromListener(Some(socket(6)));
            changes_of(
                &mut table,
                &Event::Transition(transition(2, TcpState::Listen, syn, opening)),
            );
            changes_of(&mut table, &Event::Transition(transition(3, syn, open, Opening::None)));
        }
        if evidence == Evidence::Accept {
            let (time, cookie) = (at(4), socket(7));
            changes_of(&mut table, &Event::Accepted { time, cookie, owner: owner(40) });
        }
        let mut held = |time: i64, pids: &[u32]| {
            changes_of(&mut table, &held_by(time * SECOND, pids));
            let row = table.rows().find(|row| row.id.cookie == socket(7)).expect("a row");
            let owner = row.owner.as_ref().map(|owner| owner.pid);
            [owner, row.holder.as_ref().map(|holder| holder.pid)]
        };
        assert_eq!(held(2, &[40]), [Some(40), None], "{evidence:?}");
        assert_eq!(held(4, &[30, 40]), [Some(40), None], "a child, {evidence:?}");
        assert_eq!(held(6, &[30]), other(evidence), "it was handed over, {evidence:?}");
        assert_eq!(held(8, &[50, 30]), other(evidence), "one of several, {evidence:?}");
        assert_eq!(held(10, &[40]), [Some(40), None], "it was handed back, {evidence:?}");
    }
}

/// The process with a number, a name and a program.
fn runs(pid: u32, comm: &str, path: &str) -> Arc<Owner> {
    let path = path.as_bytes().into();
    let program = Some(Arc::new(Program { path, is_deleted: false, arguments: None }));
    let process = KnownProcess { program, ..KnownProcess::started_at(Wall::EPOCH) };
    let (comm, process) = (comm.as_bytes().into(), Some(Arc::new(process)));
    Arc::new(Owner { pid, host_pid: 0, uid: 0, real_uid: None, cgroup: None, comm, process })
}

/// The shape of a reverse shell: a script connects, and becomes a shell, or leaves the connection
/// to a child which does.
#[test]
fn a_connection_keeps_its_opener_beside_its_holder() {
    let python = || runs(40, "python3", "/usr/bin/python3");
    let shell = |pid| runs(pid, "sh", "/usr/bin/dash");
    let mut table = ConnectionTable::default();
    let opening = Opening::ByProcess(Some(python()));
    let syn_sent = TcpState::SynSent;
    changes_of(&mut table, &Event::Transition(transition(1, TcpState::Close, syn_sent, opening)));
    let mut held_by = |time: i64, holders: &[Arc<Owner>]| {
        let seed = Seed { holders: holders.into(), ..waiting(time * SECOND, 2) };
        let seed = Seed { state: syn_sent, minisocket: false, ..seed };
        let news = changes_of(&mut table, &Event::Seed(seed));
        let row = table.rows().next().expect("a row");
        assert_eq!((row.owner.as_ref(), row.evidence), (Some(&python()), Some(Evidence::Connect)));
        let holder = row.holder.as_ref().map(|holder| (holder.pid, holder.comm.to_vec()));
        (news, holder)
    };
    // A thread may have another name.
    let shown = |pid| Some((pid, b"sh".to_vec()));
    assert_eq!(held_by(2, &[runs(40, "worker", "/usr/bin/python3")]), (0, None));
    assert_eq!(held_by(4, &[shell(40)]), (1, shown(40)));
    assert_eq!(held_by(6, &[shell(40)]), (0, shown(40)));
    assert_eq!(held_by(8, &[shell(41)]), (1, shown(41)));
    assert_eq!(held_by(10, &[python()]), (1, None));
    // The script waits for the shell.
    assert_eq!(held_by(12, &[python(), shell(42)]), (1, shown(42)));
    assert_eq!(held_by(14, &[shell(39), python(), shell(42)]), (0, shown(42)), "it is known");
    assert_eq!(held_by(16, &[shell(39), python()]), (1, shown(39)));
    // A copy of the script, as a worker is, and one that becomes a shell while it is known.
    let copy = || runs(43, "python3", "/usr/bin/python3");
    assert_eq!(held_by(18, &[python(), copy()]), (1, None));
    let copied = || Some((43, b"python3".to_vec()));
    assert_eq!(held_by(20, &[copy()]), (1, copied()));
    assert_eq!(held_by(22, &[copy(), shell(44)]), (1, shown(44)), "the child of the copy");
    assert_eq!(held_by(24, &[copy()]), (1, copied()));
    let cron = runs(30, "cron", "/usr/sbin/cron");
    assert_eq!(held_by(26, &[cron, shell(43)]), (1, shown(43)), "the known process");
    // A name alone is no news.
    assert_eq!(held_by(28, &[runs(43, "job 7", "/usr/bin/dash")]), (0, shown(43)));
}

/// A command that the opener starts has inherited the connection, and lives for a moment.
#[test]
fn a_young_process_is_no_holder_beside_another() {
    let mut table = ConnectionTable::default();
    let mut holder = |time: i64, holders: &[Arc<Owner>], young: &[&Arc<Owner>]| {
        let young = young.iter().map(|holder| holder.key()).collect();
        let seed = Seed { holders: holders.into(), young, ..waiting(time * SECOND, 2) };
        let state = TcpState::Established;
        changes_of(&mut table, &Event::Seed(Seed { state, minisocket: false, ..seed }));
        let row = table.rows().next().expect("a row");
        let numbers = (row.owner.as_ref()?.pid, row.holder.as_ref().map(|holder| holder.pid));
        Some(numbers)
    };
    let (server, date) = (runs(40, "server", "/usr/bin/server"), runs(41, "date", "/usr/bin/date"));
    let both = [Arc::clone(&server), Arc::clone(&date)];
    assert_eq!(holder(2, &both, &[&date]), Some((40, None)));
    assert_eq!(holder(4, &both, &[]), Some((40, Some(41))), "it stays");
    assert_eq!(holder(6, &both, &[&date]), Some((40, Some(41))), "and is known");
    assert_eq!(holder(8, &both[1..], &[&date]), Some((41, None)), "the server is gone");
}
