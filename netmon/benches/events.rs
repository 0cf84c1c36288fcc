//! The work of user space for each event: it is completed, put into the table, filtered, written.
//! Times are for one transition.

use std::{collections::VecDeque, hint::black_box, io, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use netmon::{
    core::{
        connection::Change,
        event::Event,
        filter::{Filter, FilterNames},
        services::Services,
        table::ConnectionTable,
    },
    kernel::OfflineAssembler,
    session::View,
    view::changes::{
        json::Json,
        lines::{Appearance, Lines},
    },
};

mod story;

use story::{Story, TRANSITIONS, anchor};

const CONNECTIONS: u64 = 2_000;
/// Records between two flushes of a view, as when they are read every 5 ms.
const TOGETHER: usize = 1_000;

struct NoNames;

impl FilterNames for NoNames {
    fn service(&self, _: &str) -> Option<u16> {
        None
    }
    fn user(&self, _: &str) -> Option<u32> {
        None
    }
    fn netns(&self, _: &str) -> Option<u32> {
        None
    }
    fn cgroup(&self, _: &str) -> Option<u64> {
        None
    }
}

fn appearance() -> Appearance {
    let (services, zone) = (Services::load(), jiff::tz::TimeZone::UTC);
    Appearance { services, zone, colour: false, dated: false, netns: Vec::new(), host_width: 0 }
}

/// Follows `story` with `table`; each change is handed to `view`.
fn follow(
    story: &Story,
    table: &mut ConnectionTable,
    mut view: impl FnMut(Change<'_>),
    mut flush: impl FnMut(&ConnectionTable),
) -> u64 {
    let (mut offline, mut events) = (OfflineAssembler::default(), VecDeque::new());
    let mut transitions = 0;
    for records in story.records.chunks(TOGETHER) {
        for record in records {
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

fn through(view: &mut impl View, story: &Story, table: &mut ConnectionTable) -> u64 {
    let view = std::cell::RefCell::new(view);
    let _ = table.apply(&anchor(), |change| view.borrow_mut().change(&change).map(|_| ()));
    let shown = |change: Change<'_>| {
        let _ = view.borrow_mut().change(&change);
    };
    follow(story, table, shown, |table| view.borrow_mut().flush(table).expect("nowhere"))
}

fn events(criterion: &mut Criterion) {
    let story = Story::new(CONNECTIONS);
    let table = story.table();
    assert_eq!(
        follow(&story, &mut table.clone(), |_| {}, |_| {}),
        CONNECTIONS * TRANSITIONS,
        "the story is whole"
    );
    let mut group = criterion.benchmark_group("events");
    group.throughput(Throughput::Elements(CONNECTIONS * TRANSITIONS));
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    group.bench_function("decode", |bencher| {
        bencher.iter_batched(
            || (OfflineAssembler::default(), VecDeque::with_capacity(story.records.len() * 2)),
            |(mut offline, mut events)| {
                for record in &story.records {
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
            |table| follow(&story, table, |change| _ = black_box(&change), |_| {}),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("decode, apply, JSON", |bencher| {
        bencher.iter_batched_ref(
            || (table.clone(), Json::new(io::sink())),
            |(table, view)| through(view, &story, table),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("decode, apply, text", |bencher| {
        bencher.iter_batched_ref(
            || {
                let lines = Lines::new(io::sink(), appearance()).expect("nowhere");
                (table.clone(), lines)
            },
            |(table, view)| through(view, &story, table),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    filter(criterion, &story);
}

fn filter(criterion: &mut Criterion, story: &Story) {
    let text = "state established and ( dport = :443 or sport = :80 ) and not src 10.0.0.0/8";
    let filter = Filter::parse(text, &NoNames).expect("a filter");
    let rows: Vec<_> = story.table().rows().cloned().collect();
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    group.bench_function("five terms", |bencher| {
        bencher.iter(|| rows.iter().filter(|row| filter.matches(*row)).count());
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
