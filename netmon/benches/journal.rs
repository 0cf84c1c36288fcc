//! The cost of the journal for each event: on the thread that follows events, on the thread that
//! writes the journal, and when the journal is read again.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use netmon::testing::{
    ConnectionTable, Event, HostNames, Journal, OfflineAssembler, Recorder, RecorderOptions,
    Retention, Source, TableInput, Tables, TimeSpan, View, Wall,
};
use rustix::time::{ClockId, clock_gettime};

mod synthetic_records;

use synthetic_records::{SyntheticRecords, TRANSITIONS, anchor};

const CONNECTIONS: u64 = 20_000;
/// Records between two flushes, as when they are read every 5 ms.
const TOGETHER: usize = 1_000;
/// A time longer than writing all records takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The path of a directory in cargo's own for benches. The directory itself is removed.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

/// Records `records` at `path`. Returns the CPU time of this thread, and of the thread that writes.
fn record(records: &SyntheticRecords, path: &Path) -> (Duration, Duration) {
    let options = RecorderOptions {
        retention: Retention { max_size: None, max_age: None },
        segment_time: Duration::from_secs(3_600),
        boot_id: "a boot".to_owned(),
        netns: 0,
        names: Box::new(NoNames),
    };
    let mut recorder = Recorder::open(path, "bench", options).expect("a journal");
    let mut table = records.table();
    let (mut offline, mut events) = (OfflineAssembler::default(), VecDeque::new());
    let apply = |table: &mut ConnectionTable, event: &Event, recorder: &mut Recorder| {
        table.apply(event, |change| recorder.change(&change).map(|_| ())).expect("recorded");
    };
    apply(&mut table, &anchor(), &mut recorder);
    recorder.flush(&table).expect("recorded");
    let begin = own_time();
    for chunk in records.passing.chunks(TOGETHER) {
        for record in chunk {
            offline.record(record, &mut events).expect("a record of ours");
        }
        for event in events.drain(..) {
            apply(&mut table, &event, &mut recorder);
        }
        recorder.flush(&table).expect("recorded");
    }
    let here = own_time() - begin;
    // Events that follow the last batch too soon wait for more events.
    thread::sleep(Duration::from_millis(350));
    recorder.flush(&table).expect("recorded");
    let handle = recorder.handle();
    let end = Instant::now() + PATIENCE;
    while handle.health().written < CONNECTIONS * TRANSITIONS {
        assert!(Instant::now() < end, "the journal was not written in time: {:?}", handle.health());
        thread::sleep(Duration::from_millis(1));
    }
    let there = thread_time("netmon:journal");
    assert_eq!(recorder.close().unwritten, 0, "all of it was written");
    (here, there)
}

/// A host that has no names: looking names up is not measured.
struct NoNames;

impl HostNames for NoNames {}

fn own_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a time")
}

/// The CPU time of this process' threads of that name: a thread and its enclosed helper.
fn thread_time(name: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("tasks").flatten();
    let is_it = |path: &PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let time = |task: PathBuf| {
        let stat = fs::read_to_string(task.join("schedstat")).expect("its times");
        stat.split(' ').next().and_then(|ns| ns.parse().ok()).map(Duration::from_nanos)
    };
    tasks.map(|task| task.path()).filter(is_it).map(|task| time(task).expect("its time")).sum()
}

/// Reads the whole journal and applies its events. Returns the number of changes.
async fn replay(journal: &Journal, span: TimeSpan) -> io::Result<u64> {
    let (mut source, mut events) = (journal.replay(span), VecDeque::new());
    let mut tables = Tables::default();
    let (mut goes_on, mut count) = (true, 0);
    while goes_on {
        goes_on = source.next(&mut events).await?;
        for event in events.drain(..) {
            event.apply(&mut tables, |_| {
                count += 1;
                io::Result::Ok(())
            })?;
        }
    }
    Ok(count)
}

fn journal(criterion: &mut Criterion) {
    let records = SyntheticRecords::new(CONNECTIONS);
    let events = CONNECTIONS * TRANSITIONS;
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(events));
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let path = directory("journal");
    let mut run = |name: &str, which: fn((Duration, Duration)) -> Duration| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let one = |_| {
                    let times = record(&records, &path);
                    fs::remove_dir_all(&path).expect("removed");
                    which(times)
                };
                (0..times).map(one).sum()
            });
        });
    };
    run("decode, apply, hand over", |(here, _)| here);
    run("write", |(_, there)| there);
    record(&records, &path);
    let journal = Journal::open(&path, None, |_| true).expect("a journal");
    let span = TimeSpan { from: Wall::MIN, to: Wall::MAX };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let count = runtime.block_on(replay(&journal, span)).expect("read");
    assert!(count >= events, "{count} of {events} were read");
    group.bench_function("read, apply", |bencher| {
        bencher.iter(|| runtime.block_on(replay(&journal, span)).expect("read"));
    });
    group.finish();
    fs::remove_dir_all(&path).expect("removed");
}

criterion_group!(benches, journal);
criterion_main!(benches);
