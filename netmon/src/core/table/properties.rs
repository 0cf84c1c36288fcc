//! Properties that hold for any events in any order.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::core::event::{DumpScope, Seed};
use crate::core::tcp::TcpState::{
    Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
};
use crate::core::{
    id::{Binding, socket},
    time::at,
};

/// Transitions are so far apart that a look between two is certain.
const APART: i64 = 10 * SECOND;
const SECOND: i64 = 1_000_000_000;

fn tuple(place: u16) -> Tuple {
    let end = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    Tuple { netns: 1, interface: 0, local: end(1000 + place), remote: end(80) }
}

fn event(cookie: u64, old: TcpState, new: TcpState, time: i64, opening: Opening) -> Event {
    let place = u16::try_from(cookie).expect("a small number");
    let bare = Transition::bare(socket(cookie), tuple(place), old, new);
    Event::Transition(Transition { time: at(time), opening, ..bare })
}

fn seed(cookie: u64, state: TcpState, time: i64) -> Event {
    let place = u16::try_from(cookie).expect("a small number");
    let minisocket = state == TimeWait;
    let (time, cookie, tuple) = (at(time), socket(cookie), tuple(place));
    Event::Seed(Seed {
        time,
        cookie,
        tuple,
        binding: Binding::default(),
        state,
        minisocket,
        holders: Box::default(),
        young: Box::default(),
    })
}

fn apply(table: &mut ConnectionTable, event: &Event) {
    let result: Result<(), Infallible> = table.apply(event, |_| Ok(()));
    result.expect("infallible");
}

/// The rows of a table, without the marks that only dumps leave in them.
fn rows(table: &ConnectionTable) -> Vec<Connection> {
    let mut rows: Vec<_> = table.rows().cloned().collect();
    for row in &mut rows {
        (row.last_dumped_at, row.last_dump_pass, row.absent_once) = (Mono::MIN, 0, false);
        // An inference takes the listeners of its moment.
        row.inferred_direction = None;
    }
    rows.sort_by_key(|row| (row.id.cookie, row.id.epoch));
    rows
}

/// The life of one socket, as far as it goes: each state that it enters.
fn life() -> impl Strategy<Value = Vec<TcpState>> {
    let outbound = vec![SynSent, Established, FinWait1, FinWait2, TimeWait];
    let by_peer = vec![SynSent, Established, CloseWait, LastAck, Close];
    let inbound = vec![SynRecv, Established, CloseWait, LastAck, Close];
    let refused = vec![SynSent, Close];
    let listener = vec![Listen, Close];
    let whole =
        prop_oneof![Just(outbound), Just(by_peer), Just(inbound), Just(refused), Just(listener)];
    (whole, 1..=5usize).prop_map(|(mut states, length)| {
        states.truncate(length);
        states
    })
}

/// The transitions of a life, with their times.
fn transitions(cookie: u64, states: &[TcpState]) -> Vec<(i64, Event)> {
    let mut old = if states[0] == SynRecv { Listen } else { Close };
    let mut events = Vec::new();
    for (time, new) in (1..).map(|i| i * APART).zip(states) {
        let opening = match (old, new) {
            (Close, _) => Opening::ByProcess(None),
            (Listen, SynRecv) => Opening::FromListener(None),
            _ => Opening::None,
        };
        events.push((time, event(cookie, old, *new, time, opening)));
        old = *new;
    }
    events
}

/// The socket as a dump at `time` finds it.
fn look(cookie: u64, states: &[TcpState], time: i64) -> Option<Event> {
    let entered = usize::try_from(time / APART).expect("small");
    let state = *states.get(entered.checked_sub(1)?.min(states.len() - 1))?;
    (state != Close).then(|| seed(cookie, state, time))
}

/// Merges two sequences: `picks` says from which the next is.
fn merged(first: Vec<Event>, second: Vec<Event>, picks: &[bool]) -> Vec<Event> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    for pick in picks {
        all.extend(if *pick { first.next() } else { second.next() });
    }
    all.extend(first);
    all.extend(second);
    all
}

proptest! {
    /// Looks come late, early, and between: the end is what transitions alone make.
    ///
    /// Not later than the table remembers, as their reader sees to.
    #[test]
    fn seeds_in_any_order_change_nothing(
        states in life(),
        looks in prop::collection::vec(0..60 * SECOND, 0..4),
        picks in prop::collection::vec(any::<bool>(), 10),
    ) {
        let events: Vec<_> = transitions(1, &states).into_iter().map(|(_, event)| event).collect();
        let mut alone = ConnectionTable::default();
        for event in &events {
            apply(&mut alone, event);
        }
        // In the middle between two transitions.
        let looks = looks.into_iter().map(|time| time / APART * APART + APART / 2);
        let seeds = looks.filter_map(|time| look(1, &states, time)).collect();
        let mut table = ConnectionTable::default();
        apply(&mut table, &Event::DumpBegan);
        for event in merged(events, seeds, &picks) {
            apply(&mut table, &event);
        }
        prop_assert_eq!(rows(&table), rows(&alone));
    }

    /// Any of the events lost, two dumps put it right: the same connections, in the same states.
    #[test]
    fn two_dumps_repair_any_loss(
        lives in prop::collection::vec(life(), 1..6),
        keeps in prop::collection::vec(any::<bool>(), 32),
    ) {
        let mut events = Vec::new();
        for (cookie, states) in (1..).zip(&lives) {
            events.extend(transitions(cookie, states));
        }
        events.sort_by_key(|(time, _)| *time);
        let mut whole = ConnectionTable::default();
        let mut holed = ConnectionTable::default();
        for (i, (_, event)) in events.iter().enumerate() {
            apply(&mut whole, event);
            if keeps[i] {
                apply(&mut holed, event);
            }
        }
        for time in [60 * SECOND, 70 * SECOND] {
            for (cookie, states) in (1..).zip(&lives) {
                if let Some(seed) = look(cookie, states, time) {
                    apply(&mut holed, &seed);
                }
            }
            apply(&mut holed, &Event::Dumped { scope: DumpScope::Namespace(1), began: at(time) });
            apply(&mut holed, &Event::DumpEnded { time: at(time) });
        }
        let what = |table: &ConnectionTable| -> Vec<_> {
            rows(table).iter().map(|row| (row.id.cookie, row.tuple, row.state)).collect()
        };
        prop_assert_eq!(what(&holed), what(&whole));
        let waiting = |row: &&Connection| row.state == TimeWait;
        prop_assert_eq!(holed.waiting.len(), holed.rows().filter(waiting).count());
    }

    /// Repeated, late, unknown: nothing panics, and a table made of its rows goes on like itself.
    #[test]
    fn a_restored_table_goes_on_the_same(
        events in prop::collection::vec((1..6u64, 0..8usize, 0..7usize, 0..100i64), 0..60),
        cut in 0..60usize,
    ) {
        let states = [Close, SynSent, SynRecv, Established, FinWait2, TimeWait, LastAck, Listen];
        let events: Vec<Event> = events
            .into_iter()
            .map(|(cookie, old, new, time)| {
                let (old, new, time) = (states[old], states[(old + new + 1) % 8], time * SECOND);
                match (old, new, time % 5) {
                    (_, _, 0) => seed(cookie, if new == Close { SynSent } else { new }, time),
                    (Close, SynSent | Listen, _) => {
                        event(cookie, old, new, time, Opening::ByProcess(None))
                    }
                    (Listen, SynRecv, _) => {
                        event(cookie, old, new, time, Opening::FromListener(Some(socket(2))))
                    }
                    _ => event(cookie, old, new, time, Opening::None),
                }
            })
            .collect();
        let (before, after) = events.split_at(cut.min(events.len()));
        let mut table = ConnectionTable::default();
        for event in before {
            apply(&mut table, event);
        }
        let mut restored = ConnectionTable::restore(table.rows().cloned());
        prop_assert_eq!(rows(&restored), rows(&table));
        // What closed a moment ago is not among the rows.
        table.closed = RecentlyClosed::default();
        for event in after {
            apply(&mut table, event);
            apply(&mut restored, event);
        }
        prop_assert_eq!(rows(&restored), rows(&table));
    }
}
