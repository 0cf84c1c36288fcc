//! A first table that comes in parts.

use netmon::testing::{Binding, Seed};

use super::*;

/// A recorder that is asked for a segment in the middle of the first dump waits for its end: every
/// segment but the first begins with a whole table.
#[test]
fn a_segment_begins_with_a_whole_table() {
    let directory = Directory::new("whole");
    let seed = |number: u64| {
        let ends = (&*format!("10.0.0.1:{}", 40_000 + number), "10.0.0.2:443");
        Event::Seed(Seed {
            time: at_ms(100),
            cookie: socket(number),
            tuple: transition(0, number, ends, Close, Close).tuple,
            binding: Binding::default(),
            state: Established,
            minisocket: false,
            holders: Box::default(),
            young: Box::default(),
        })
    };
    let is_anchor = |event: &Event| matches!(event, Event::Anchor(_));
    let mut events: Vec<_> = sample_events().into_iter().filter(is_anchor).take(1).collect();
    events.push(Event::DumpBegan);
    events.extend((1..=3).map(seed));
    events.push(Event::DumpEnded { time: at_ms(200) });
    let mut recorder = open(&directory.0, "host", "a boot");
    // The segment is wanted when the first of the sockets comes.
    let rotate = Some((3, recorder.handle()));
    play(&mut Script { rotate, ..Script::new(events) }, &mut recorder, &scope());
    assert_eq!(recorder.close().segments, 2);
    let words = ["export", "--dataset", "checkpoints", "--format", "jsonl"];
    assert_eq!(stdout(&words, &directory.0).lines().count(), 3);
}
