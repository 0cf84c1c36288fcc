//! Captures of real kernels' rings (`netmon record --raw`), completed again by the assembler.
//!
//! `tests/rings` has a capture of each kernel, and the transitions that the assembler makes of it,
//! one a line: the socket (numbered by first appearance), both states, and what is known of the
//! end. A change of the assembler shows as a change of these files, on the bytes that these kernels
//! wrote. `SCENARIOS=write` writes the transitions anew.

use std::{collections::BTreeMap, env, fmt::Write, fs, path::Path};

use netmon::testing::{Event, Opening, Transition, events_of_capture};

/// The transitions of a capture.
fn transitions(capture: &[u8]) -> String {
    let events = events_of_capture(capture).expect("a capture");
    let mut sockets = BTreeMap::new();
    let mut text = String::new();
    for event in events {
        let line = match &event {
            Event::Transition(t) => {
                let count = sockets.len() + 1;
                format!("{} {}", sockets.entry(t.cookie).or_insert(count), line(t))
            }
            Event::TimeWaitEnded { cookie, .. } => {
                let count = sockets.len() + 1;
                format!("{} TIME_WAIT ended", sockets.entry(*cookie).or_insert(count))
            }
            Event::Accepted { cookie, owner, .. } => {
                let count = sockets.len() + 1;
                let comm = String::from_utf8_lossy(&owner.comm).into_owned();
                format!("{} accepted by {comm}", sockets.entry(*cookie).or_insert(count))
            }
            other => panic!("no capture has {other:?}"),
        };
        writeln!(text, "{line}").expect("a string");
    }
    text
}

fn line(t: &Transition) -> String {
    let mut line = format!("{} -> {}", t.old.name(), t.new.name());
    match &t.opening {
        Opening::None => {}
        Opening::ByProcess(owner) => {
            let comm = owner.as_ref().map(|owner| String::from_utf8_lossy(&owner.comm));
            write!(line, " by {}", comm.unwrap_or("the kernel".into())).expect("a string");
        }
        Opening::FromListener(listener) => {
            let listener = if listener.is_some() { "its listener" } else { "a listener" };
            write!(line, " from {listener}").expect("a string");
        }
    }
    if let Some(errno) = t.errno {
        write!(line, " errno {errno}").expect("a string");
    }
    if let Some(side) = t.reset {
        write!(line, " reset {}", side.name()).expect("a string");
    }
    if let Some(totals) = &t.totals {
        let [sent, received] =
            [totals.bytes_sent, totals.bytes_received].map(Option::unwrap_or_default);
        write!(line, " sent {sent} received {received}").expect("a string");
    }
    for (is_set, word) in [(t.orphan, "orphan"), (t.inferred, "inferred")] {
        if is_set {
            write!(line, " {word}").expect("a string");
        }
    }
    line
}

#[test]
fn every_capture_makes_the_transitions_on_file() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rings");
    let is_written = env::var("SCENARIOS").is_ok_and(|value| value == "write");
    let mut captures = 0;
    for entry in fs::read_dir(&directory).expect("the captures") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rings") {
            continue;
        }
        captures += 1;
        let made = transitions(&fs::read(&path).expect("a capture"));
        let expected = path.with_extension("txt");
        if is_written {
            fs::write(&expected, &made).expect("written");
        }
        let text = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(text, made, "{}", path.display());
        assert!(made.lines().count() > 100, "{} has too few transitions", path.display());
    }
    assert!(captures > 1, "{captures} captures");
}

/// Any capture that is cut is refused, or is a shorter capture: nothing panics.
#[test]
fn a_capture_that_is_cut_is_refused_or_shorter() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rings");
    let entry = fs::read_dir(directory)
        .expect("the captures")
        .flatten()
        .find(|entry| entry.path().extension().is_some_and(|extension| extension == "rings"));
    let capture = fs::read(entry.expect("a capture").path()).expect("a capture");
    let whole = events_of_capture(&capture).expect("a capture").len();
    let mut refused = 0;
    for end in 0..capture.len().min(2_000) {
        match events_of_capture(&capture[..end]) {
            Ok(events) => assert!(events.len() <= whole),
            Err(error) => {
                refused += 1;
                assert!(error.at <= end);
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}
