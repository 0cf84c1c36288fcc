//! The work of user space for each event: its record is taken from the rings, the event is
//! completed, put into the table, filtered, written. Times are for one transition, or one record.

use std::{collections::VecDeque, hint::black_box, io, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use netmon::testing::{
    Appearance, Change, ConnectionTable, Event, Filter, FilterNames, Json, Lines, Mono,
    OfflineAssembler, OfflineRings, RowKind, Services, View,
};

mod synthetic_records;

use synthetic_records::{SyntheticRecords, TRANSITIONS, anchor};

const CONNECTIONS: u64 = 2_000;
/// Records between two flushes of a view, as when they are read every 5 ms.
const TOGETHER: usize = 1_000;
/// The numbers of rings: those of a small host, of a common one, and of a large one.
const RINGS: [usize; 3] = [2, 16, 128];

struct NoNames;

impl FilterNames for NoNames {}

fn appearance() -> Appearance {
    let (services, zone) = (Services::load(), jiff::tz::TimeZone::UTC);
    Appearance {
        services,
        terminal: None,
        zone,
        colour: false,
        dated: false,
        own_netns: None,
        wide_owner: false,
        host_width: 0,
    }
}

/// Follows `records` with `table`, and hands each change to `view`. Returns the number of
/// transitions.
fn follow(
    records: &SyntheticRecords,
    table: &mut ConnectionTable,
    mut view: impl FnMut(Change<'_>),
    mut flush: impl FnMut(&ConnectionTable),
) -> u64 {
    let (mut offline, mut events) = (OfflineAssembler::default(), VecDeque::new());
    let mut transitions = 0;
    for chunk in records.passing.chunks(TOGETHER) {
        for record in chunk {
            offline.record(record, &mut events).expect("a record of ours");
        }
        for event in events.drain(..) {
            transitions += u64::from(matches!(event, Event::Transition(_)));
            let _ = table.apply(&event, |change| {
                view(change);
                Ok::<_, ()>(())
            });
        }
        flush(table);
    }
    transitions
}

fn through(view: &mut impl View, records: &SyntheticRecords, table: &mut ConnectionTable) -> u64 {
    let view = std::cell::RefCell::new(view);
    let _ = table.apply(&anchor(), |change| view.borrow_mut().change(&change).map(|_| ()));
    let shown = |change: Change<'_>| {
        let _ = view.borrow_mut().change(&change);
    };
    follow(records, table, shown, |table| view.borrow_mut().flush(table).expect("nowhere"))
}

fn events(criterion: &mut Criterion) {
    let records = SyntheticRecords::new(CONNECTIONS);
    let table = records.table();
    assert_eq!(
        follow(&records, &mut table.clone(), |_| {}, |_| {}),
        CONNECTIONS * TRANSITIONS,
        "the records are whole"
    );
    let mut group = criterion.benchmark_group("events");
    group.throughput(Throughput::Elements(CONNECTIONS * TRANSITIONS));
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    group.bench_function("decode", |bencher| {
        bencher.iter_batched(
            || (OfflineAssembler::default(), VecDeque::with_capacity(records.passing.len() * 2)),
            |(mut offline, mut events)| {
                for record in &records.passing {
                    offline.record(record, &mut events).expect("a record of ours");
                }
                events
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("decode and apply", |bencher| {
        bencher.iter_batched_ref(
            || table.clone(),
            |table| follow(&records, table, |change| _ = black_box(&change), |_| {}),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("decode, apply, JSON", |bencher| {
        bencher.iter_batched_ref(
            || (table.clone(), Json::new(io::sink(), Box::new(|_| None))),
            |(table, view)| through(view, &records, table),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("decode, apply, text", |bencher| {
        bencher.iter_batched_ref(
            || {
                let lines =
                    Lines::new(io::sink(), appearance(), Box::new(|_| None)).expect("nowhere");
                (table.clone(), lines)
            },
            |(table, view)| through(view, &records, table),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    filter(criterion, &records);
    merge(criterion, &records);
}

/// Deals the records out: the ring of each has nothing to do with the ring of the one before.
fn dealt(records: &SyntheticRecords, rings: usize) -> Vec<Vec<&[u8]>> {
    let mut dealt = vec![Vec::new(); rings];
    let mut state: u64 = 1;
    for record in &records.passing {
        // A linear congruential generator (Knuth's MMIX): its upper bits look like chance, and each
        // run is the same.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let ring = usize::try_from(state >> 33).expect("31 bits") % rings;
        dealt[ring].push(record.as_slice());
    }
    dealt
}

fn merge(criterion: &mut Criterion, records: &SyntheticRecords) {
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements(records.passing.len() as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    for number in RINGS {
        let dealt = dealt(records, number);
        let (mut last, mut is_sorted) = (Mono::MIN, true);
        let count = OfflineRings::new(dealt.clone()).read(|time| {
            is_sorted &= last <= time;
            last = time;
        });
        assert!(is_sorted && count == records.passing.len(), "{count} records by time");
        group.bench_function(format!("{number} rings"), |bencher| {
            bencher.iter_batched_ref(
                || OfflineRings::new(dealt.clone()),
                |rings| rings.read(|time| _ = black_box(time)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn filter(criterion: &mut Criterion, records: &SyntheticRecords) {
    let text = "state established and ( dport = :443 or sport = :80 ) and not src 10.0.0.0/8";
    let filter = Filter::parse(text, &NoNames, RowKind::Connection).expect("a filter");
    let rows: Vec<_> = records.table().rows().cloned().collect();
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    group.bench_function("five terms", |bencher| {
        bencher.iter(|| rows.iter().filter(|row| filter.matches(&(*row, Mono::BOOT))).count());
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
