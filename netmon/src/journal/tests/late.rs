//! A recorder that begins during traffic reads its first dump before the events that lead to that
//! dump.

use std::collections::BTreeSet;

use super::*;
use crate::core::{
    tcp::TcpState::{CloseWait, FinWait1},
    time::Mono,
};

const MICRO: i64 = 1_000;
/// The greatest distance of times in a life that is over before a dump corrects its row (`SETTLED`,
/// table/dumps.rs).
const APART: i64 = 15_000 * MICRO;
/// The greatest distance of times in a life whose rows dumps correct before its events are read.
const FAR_APART: i64 = 20 * APART;

/// The states of a socket, each with the moment at which it was entered.
type Life = Vec<(i64, TcpState)>;

fn life(far: i64) -> impl Strategy<Value = Life> {
    let states = prop_oneof![
        Just(vec![SynSent, Established, FinWait1, FinWait2, TimeWait]),
        Just(vec![SynSent, Established, CloseWait, LastAck, Close]),
        Just(vec![SynRecv, Established, CloseWait, LastAck, Close]),
        Just(vec![SynSent, Close]),
        Just(vec![Listen]),
    ];
    // Several moments in one microsecond, or far apart.
    let apart = prop_oneof![Just(0), 1..3 * MICRO, 1..far];
    (states, prop::collection::vec(apart, 5), SECOND..SECOND + far).prop_map(
        |(states, apart, mut time)| {
            let entered = states.into_iter().zip(apart).map(|(state, apart)| {
                time += apart;
                (time, state)
            });
            entered.collect()
        },
    )
}

/// The events of lives, in the order of time.
fn events(lives: &[Life]) -> Vec<Transition> {
    let mut events = Vec::new();
    for (cookie, life) in (0..).zip(lives) {
        let mut old = if life[0].1 == SynRecv { Listen } else { Close };
        for (time, new) in life {
            events.push(transition(cookie, old, *new, *time));
            old = *new;
        }
    }
    events.sort_by_key(|event| event.time);
    events
}

fn state_at(life: &Life, moment: i64) -> Option<TcpState> {
    let entered = life.iter().take_while(|(time, _)| *time <= moment);
    entered.last().map(|(_, state)| *state).filter(|state| *state != Close)
}

/// The events of a dump that began at `began` and looks at `moment`.
fn dump(lives: &[Life], moment: i64, began: i64) -> Vec<Event> {
    let sockets = (0..).zip(lives).filter_map(|(cookie, life)| {
        let state = state_at(life, moment)?;
        let minisocket = state == TimeWait;
        let (time, cookie, tuple) = (at(began), id(cookie), tuple(cookie));
        Some(Event::Seed(Seed {
            time,
            cookie,
            tuple,
            binding: Binding::default(),
            state,
            minisocket,
            holders: Box::default(),
            young: Box::default(),
        }))
    });
    sockets.collect()
}

/// Writes the changes of a table, and reads them in the order of time.
fn recorded(table: &mut ConnectionTable, story: &[Event]) -> Vec<(Anchor, Entry)> {
    let mut events = EventBuilder::new(&Arc::from("boot"));
    for event in story {
        apply(table, event, |change| {
            events.push(ANCHOR, &change);
        });
    }
    let batch = events.finish(&mut NoNames).expect("a batch");
    merge_of(vec![sorted(Dataset::Events, &batch).expect("sorted")])
}

fn in_micros(moment: Mono) -> Mono {
    at(moment.as_nanos() / MICRO * MICRO)
}

/// The rows of a table, with times in whole microseconds, as in a journal.
fn rows_in_micros(table: &ConnectionTable) -> Vec<Connection> {
    let mut rows = rows(table);
    for row in &mut rows {
        row.id.epoch = in_micros(row.id.epoch);
        row.opened = Wall::from_micros(row.opened.as_micros());
        row.since = row.since.map(in_micros);
    }
    rows
}

fn redo(table: &mut ConnectionTable, entry: &Entry) {
    let Ok(()) = table.redo(entry, |_| Ok::<_, Infallible>(()));
}

proptest! {
    /// At every moment a connection is shown in the state that it had, although the dump that found
    /// the connection was read before its events. In the end the replayed table is equal to the
    /// table that was recorded.
    #[test]
    fn a_connection_is_shown_as_it_was_before_a_dump_found_it(
        lives in prop::collection::vec(life(APART), 1..5),
        dumped in SECOND..SECOND + 6 * APART,
        took in prop_oneof![Just(0), 0..5 * MICRO, 0..APART],
        behind in prop_oneof![Just(0), 0..5 * MICRO, 0..6 * APART],
    ) {
        let began = dumped - took;
        let mut story = vec![Event::Anchor(ANCHOR), Event::DumpBegan];
        let (read, unread): (Vec<_>, Vec<_>) =
            events(&lives).into_iter().partition(|event| event.time.as_nanos() + behind <= dumped);
        story.extend(read.into_iter().map(Event::Transition));
        story.extend(dump(&lives, dumped, began));
        story.push(Event::Dumped { scope: DumpScope::Namespace(1), began: at(began) });
        story.push(Event::DumpEnded { time: at(dumped) });
        story.extend(unread.into_iter().map(Event::Transition));
        let mut lived = ConnectionTable::default();
        let entries = recorded(&mut lived, &story);

        let mut moments: BTreeSet<i64> = lives.iter().flatten().map(|(time, _)| *time).collect();
        moments.insert(dumped);
        let (mut table, mut entries) = (ConnectionTable::default(), entries.iter().peekable());
        for moment in moments {
            // A moment of a journal is a microsecond.
            let moment = moment / MICRO;
            while let Some((_, entry)) =
                entries.next_if(|(moved, _)| moved.monotonic.as_nanos() / MICRO <= moment)
            {
                redo(&mut table, entry);
            }
            for (cookie, life) in (0..).zip(&lives) {
                // A dump may find a socket at any moment since the dump began.
                if moment >= began / MICRO && moment < dumped / MICRO {
                    continue;
                }
                let shown = table.rows().find(|row| row.id.cookie == id(cookie));
                let was = state_at(life, moment * MICRO + MICRO - 1);
                prop_assert_eq!(shown.map(|row| row.state), was, "socket {} at {}", cookie, moment);
            }
        }
        prop_assert!(entries.next().is_none());
        prop_assert_eq!(rows_in_micros(&table), rows_in_micros(&lived));
    }

    /// The replayed table is equal to the table that was recorded, whichever events were lost, and
    /// however late the events were read.
    #[test]
    fn a_table_is_made_again_however_late_its_events_were_read(
        lives in prop::collection::vec(life(FAR_APART), 1..5),
        is_lost in prop::collection::vec(prop::bool::weighted(0.2), 25),
        dumps in prop::collection::vec((0..8 * FAR_APART, 0..FAR_APART, 0..8 * FAR_APART), 1..4),
    ) {
        let events: Vec<_> = events(&lives);
        let kept = events.into_iter().zip(&is_lost).filter(|(_, is_lost)| !**is_lost);
        let mut unread: std::collections::VecDeque<_> = kept.map(|(event, _)| event).collect();
        let mut story = vec![Event::Anchor(ANCHOR)];
        let mut dumped = SECOND;
        for (after, took, behind) in dumps {
            // An event before a dump is read before the next dump ends.
            let read = dumped.max(dumped + after - behind);
            dumped += after;
            while let Some(event) = unread.pop_front_if(|event| event.time.as_nanos() <= read) {
                story.push(Event::Transition(event));
            }
            let began = (dumped - took).max(SECOND);
            story.push(Event::DumpBegan);
            story.extend(dump(&lives, dumped, began));
            story.push(Event::Dumped { scope: DumpScope::Namespace(1), began: at(began) });
            story.push(Event::DumpEnded { time: at(dumped) });
        }
        story.extend(unread.into_iter().map(Event::Transition));
        let (mut lived, mut table) = (ConnectionTable::default(), ConnectionTable::default());
        for (_, entry) in recorded(&mut lived, &story) {
            redo(&mut table, &entry);
        }
        // An event that comes after a dump has shown the same state adds only the time of that
        // state, and is not recorded again.
        let undated = |table: &ConnectionTable| {
            let mut rows = rows_in_micros(table);
            rows.iter_mut().for_each(|row| row.since = None);
            rows
        };
        prop_assert_eq!(undated(&table), undated(&lived));
    }

    /// A checkpoint between the events is later than the events that are read late after the
    /// checkpoint.
    #[test]
    fn late_events_do_not_change_a_checkpoint(
        lives in prop::collection::vec(life(APART), 1..5),
        dumped in SECOND..SECOND + 6 * APART,
        behind in 0..6 * APART,
    ) {
        let (read, unread): (Vec<_>, Vec<_>) =
            events(&lives).into_iter().partition(|event| event.time.as_nanos() + behind <= dumped);
        let mut story = vec![Event::Anchor(ANCHOR), Event::DumpBegan];
        story.extend(read.into_iter().map(Event::Transition));
        story.extend(dump(&lives, dumped, dumped));
        story.push(Event::Dumped { scope: DumpScope::Namespace(1), began: at(dumped) });
        story.push(Event::DumpEnded { time: at(dumped) });
        let mut lived = ConnectionTable::default();
        recorded(&mut lived, &story);
        let checkpoint = Entry::Checkpoint {
            time: at(dumped),
            rows: rows_in_micros(&lived),
            after_gap: false,
        };
        let rest: Vec<_> = unread.into_iter().map(Event::Transition).collect();
        let mut table = ConnectionTable::default();
        redo(&mut table, &checkpoint);
        for (_, entry) in recorded(&mut lived, &rest) {
            redo(&mut table, &entry);
        }
        prop_assert_eq!(rows_in_micros(&table), rows_in_micros(&lived));
    }
}
