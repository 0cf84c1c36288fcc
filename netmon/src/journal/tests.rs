//! Properties of a journal: a reader gets everything that was written.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use netmon_common::Namespaces;
use proptest::prelude::*;

use super::{
    read::merge_of,
    schema::{CheckpointBuilder, CheckpointReader, Dataset, EventBuilder, NoNames},
    write::sorted,
};
use crate::core::{
    arguments::Arguments,
    cgroup::Cgroup,
    change::{Change, Step},
    connection::Connection,
    entry::Entry,
    event::{DumpScope, Event, Opening, ResetSide, Seed, Totals, Transition},
    id::{Binding, SocketId, Tuple, socket},
    loss::{Gap, Loss},
    process::Owner,
    program::{Ancestor, KnownProcess, Login, Program},
    table::ConnectionTable,
    tcp::TcpState::{
        self, Close, Established, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
    },
    time::{Anchor, Wall, at},
};

mod late;

const SECOND: i64 = 1_000_000_000;
/// A moment in whole microseconds, which is the precision of a journal.
const ANCHOR: Anchor =
    Anchor { monotonic: at(17_000), wall: Wall::from_nanos(1_795_413_012_000_007_000) };

/// The first two sockets have a local port below the remote port, as servers have; the ports of the
/// later sockets are equal or higher, as those of clients are.
fn tuple(cookie: u64) -> Tuple {
    let port = u16::try_from(cookie * 30).expect("a small number");
    let end = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Tuple { netns: 1, interface: device(cookie), local: end(20 + port), remote: end(80) }
}

/// The number of the device that a socket is bound to; 0 for none.
fn device(cookie: u64) -> u32 {
    if cookie.is_multiple_of(3) { 0 } else { 7 }
}

/// The name of a device is not always known.
fn binding(cookie: u64, v6only: Option<bool>) -> Binding {
    let is_known = device(cookie) != 0 && cookie.is_multiple_of(2);
    Binding { device: is_known.then(|| "eth0".into()), v6only }
}

/// The id of the socket with a number, which may be 0.
fn id(number: u64) -> SocketId {
    socket(number + 1)
}

/// Processes with the same program, whose arguments are not always known.
fn process(pid: u32) -> KnownProcess {
    let arguments = (!pid.is_multiple_of(3)).then(|| Arguments::new(b"curl\0-s\0", 100)).flatten();
    let path = b"/usr/bin/curl".as_slice().into();
    let program = Program { path, is_deleted: pid.is_multiple_of(2), arguments };
    let shell = Program { path: b"/bin/sh"[..].into(), is_deleted: false, arguments: None };
    let init = Program { path: b"/sbin/init 2"[..].into(), is_deleted: false, arguments: None };
    let above = Ancestor { pid: pid - 1, program: Arc::new(shell) };
    let first = Ancestor { pid: 1, program: Arc::new(init) };
    KnownProcess {
        parent: pid - 1,
        ancestors: if pid.is_multiple_of(2) { Box::new([above, first]) } else { Box::default() },
        login: Login::new(33, pid).filter(|_| !pid.is_multiple_of(2)),
        program: (!pid.is_multiple_of(5)).then(|| Arc::new(program)),
        namespaces: Namespaces { mnt: pid % 4, pid: pid % 3, user: pid % 2 },
        ..KnownProcess::started_at(Wall::from_micros(1_795_413_000_120_000))
    }
}

/// Cgroups whose paths are not always known.
fn cgroup(pid: u32) -> Cgroup {
    let path = (!pid.is_multiple_of(3)).then(|| b"/system.slice/curl.service"[..].into());
    Cgroup::new(pid.into(), path)
}

fn transition(cookie: u64, old: TcpState, new: TcpState, time: i64) -> Transition {
    let opening = match (old, new) {
        (Close, SynSent | Listen) => {
            let pid = u32::try_from(cookie + 1).expect("a small number");
            let owner = Owner {
                pid,
                host_pid: 0,
                uid: 33,
                real_uid: Some(pid % 4),
                cgroup: Some(Arc::new(cgroup(pid))),
                // A process may have no name (prctl's PR_SET_NAME).
                comm: if pid == 1 { b"".as_slice() } else { "curl é".as_bytes() }.into(),
                process: (pid > 1).then(|| Arc::new(process(pid))),
            };
            Opening::ByProcess((cookie.is_multiple_of(2)).then(|| Arc::new(owner)))
        }
        (Listen, SynRecv) => Opening::FromListener(Some(id(1))),
        _ => Opening::None,
    };
    let is_over = new == Close;
    let number = u32::try_from(time / SECOND).expect("a small number");
    Transition {
        time: at(time),
        cookie: id(cookie),
        tuple: tuple(cookie),
        binding: binding(cookie, (new == Listen).then_some(cookie.is_multiple_of(2))),
        old,
        new,
        errno: (is_over && number.is_multiple_of(3)).then_some(104),
        reset: (is_over && number.is_multiple_of(2)).then_some(ResetSide::Sent),
        totals: is_over.then_some(Totals {
            bytes_sent: Some(i64::MAX.cast_unsigned()),
            bytes_received: (!number.is_multiple_of(5)).then_some(time.unsigned_abs()),
            retransmits: Some(number),
            rtt_us: (number.is_multiple_of(2)).then_some(number),
        }),
        orphan: number % 4 == 1,
        silent: false,
        inferred: number % 5 == 1,
        opening,
    }
}

/// Events in the order of time, with dumps between them.
fn story() -> impl Strategy<Value = Vec<Event>> {
    const STATES: [TcpState; 8] =
        [Close, SynSent, SynRecv, Established, FinWait2, TimeWait, LastAck, Listen];
    let happening = (0..5u64, 0..8usize, 0..7usize, 0..8u8);
    prop::collection::vec(happening, 0..80).prop_map(|happenings| {
        let mut events = Vec::new();
        for (time, (cookie, old, step, kind)) in (1..).map(|i| i * SECOND).zip(happenings) {
            let (old, new) = (STATES[old], STATES[(old + step + 1) % 8]);
            let state = if new == Close { SynSent } else { new };
            let holder = Owner {
                pid: 99,
                host_pid: 0,
                uid: 0,
                real_uid: None,
                cgroup: None,
                comm: b"sshd".as_slice().into(),
                process: (step % 2 == 0).then(|| Arc::new(process(99))),
            };
            let held = (old == Established || kind == 1).then(|| Arc::new(holder));
            let holders = held.into_iter().collect();
            let (tuple, binding) = (tuple(cookie), binding(cookie, None));
            let next = transition(cookie, old, new, time);
            let (time, cookie) = (at(time), id(cookie));
            events.extend(match kind {
                0 | 1 => {
                    vec![Event::Seed(Seed {
                        time,
                        cookie,
                        tuple,
                        binding,
                        state,
                        minisocket: false,
                        holders,
                        young: Box::default(),
                    })]
                }
                2 => vec![
                    Event::DumpBegan,
                    Event::Dumped { scope: DumpScope::Namespace(1), began: time },
                    Event::DumpEnded { time },
                ],
                3 => vec![Event::SocketFailed { time, cookie, errno: 110 }],
                4 => {
                    vec![Event::Lost(Gap {
                        from: time - Duration::from_micros(1),
                        time,
                        count: 7,
                        loss: Loss::RingFull,
                    })]
                }
                // No hook reports the end of a TIME_WAIT.
                _ if old == TimeWait => vec![],
                _ => vec![Event::Transition(next)],
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

/// The rows of a table, without the marks that only dumps leave in a row.
fn rows(table: &ConnectionTable) -> Vec<Connection> {
    let mut rows: Vec<_> = table.rows().cloned().map(Connection::bare).collect();
    rows.sort_by_key(|row| (row.id.cookie, row.id.epoch));
    rows
}

/// The parts of a change that a view can show, as text.
fn visible_parts(change: &Change<'_>) -> String {
    let row = |row: &Connection| {
        let Connection { id, opened, first_sight, tuple, binding, .. } = row;
        let Connection { direction, owner, evidence, holder, .. } = row;
        let place = format!("{id:?} {opened:?} {first_sight} {tuple:?} {binding:?}");
        format!("{place} {direction:?} {owner:?} {evidence:?} {holder:?}")
    };
    match change {
        Change::Opened(step)
        | Change::StateChanged(step)
        | Change::Closed(step)
        | Change::Expired(step) => {
            let Step { transition, connection, in_state, verdict, corrected } = step;
            // The row has the binding.
            let transition = Transition { binding: Binding::default(), ..(*transition).clone() };
            let kind = format!("{change:?}").chars().take(6).collect::<String>();
            let row = row(connection);
            format!("{kind} {transition:?} {row} {in_state:?} {verdict:?} {corrected}")
        }
        Change::Found { time, connection, initial } => {
            format!("found {time:?} {} {:?} {initial}", row(connection), connection.state)
        }
        Change::Owned { time, connection } => format!("owned {time:?} {}", row(connection)),
        other => format!("{other:?}"),
    }
}

proptest! {
    /// The changes of any story make the same table and the same changes after they were written,
    /// cut into blocks at any place, sorted, merged and replayed.
    #[test]
    fn a_replay_repeats_the_recorded_changes(
        story in story(),
        cut_at in 0..80usize,
        cuts in prop::collection::vec(1..12usize, 1..40),
    ) {
        let mut table = ConnectionTable::default();
        apply(&mut table, &Event::Anchor(ANCHOR), |_| ());
        let boot = Arc::from("boot");
        let mut events = EventBuilder::new(&boot);
        let mut checkpoints = CheckpointBuilder::new(&boot);
        let (mut blocks, mut seen) = (Vec::new(), Vec::new());
        let mut cuts = cuts.iter().cycle();
        let mut cut = *cuts.next().expect("a cut");
        for (number, event) in story.iter().enumerate() {
            // A checkpoint does not show that a TIME_WAIT is of a socket's former connection,
            // unless the checkpoint has the current connection as well.
            prop_assume!(number != cut_at || !table.has_former());
            if number == cut_at {
                // Later events change the table of a checkpoint.
                for row in table.rows() {
                    checkpoints.push(ANCHOR, row);
                }
                (events, blocks) = (EventBuilder::new(&boot), Vec::new());
                seen.clear();
            }
            apply(&mut table, event, |change| {
                if events.push(ANCHOR, &change).is_some() {
                    seen.push(visible_parts(&change));
                }
            });
            if events.len() >= cut {
                blocks.push(events.finish(&mut NoNames).expect("a batch"));
                cut = *cuts.next().expect("a cut");
            }
        }
        blocks.push(events.finish(&mut NoNames).expect("a batch"));
        let checkpoint = checkpoints.finish(&mut NoNames).expect("a batch");
        let mut reader = CheckpointReader::new(&checkpoint).expect("a checkpoint");
        let before: Vec<_> =
            (0..reader.len()).map(|row| reader.get(row).expect("a row")).collect();
        seen.sort();
        let sort = |block| sorted(Dataset::Events, block).expect("sorted");
        let done: Vec<_> = blocks.iter().map(sort).collect();
        // The blocks of a segment that is being written, and of a segment that is done.
        for blocks in [blocks, done] {
            let mut again = ConnectionTable::default();
            let after_gap = false;
            let checkpoint = Entry::Checkpoint { time: at(0), rows: before.clone(), after_gap };
            let Ok(()) = again.redo(&checkpoint, |_| Ok::<_, Infallible>(()));
            let mut seen_again = Vec::new();
            let mut last = Wall::MIN;
            for (moment, entry) in merge_of(blocks) {
                prop_assert!(last <= moment.wall, "rows are in the order of time");
                last = moment.wall;
                prop_assert_eq!(ANCHOR.wall_time(moment.monotonic), moment.wall);
                let Ok(()) = again.redo(&entry, |change| {
                    seen_again.push(visible_parts(&change));
                    Ok::<_, Infallible>(())
                });
            }
            prop_assert_eq!(rows(&again), rows(&table));
            seen_again.sort();
            prop_assert_eq!(&seen_again, &seen);
        }
    }
}
