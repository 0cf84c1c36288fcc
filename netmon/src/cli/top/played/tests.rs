//! Jumps through a journal: what was kept shows the same as a journal that is read anew.

use std::{collections::VecDeque, env, fs, io, path::PathBuf};

use clap::Parser;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::{
    core::{
        event::{Event, Transition},
        id::{SocketId, Tuple},
        services::Services,
        table::ConnectionTable,
        tcp::TcpState::{self, Close, Established, SynSent},
        time::Mono,
    },
    journal::{HostNames, Recorder, RecorderHandle, RecorderOptions, Retention},
    session::{Limits, SessionScope, Source, run},
    view::tui::{ScreenAnswer, ScreenOptions, ScreenSettings, ScreenState, Size, frame, text},
};

/// Noon of 2025-12-18, UTC.
const NOON: Wall = Wall::from_nanos(1_766_059_200_000_000_000);
/// Connections, one each 10 ms; each lasts 5 s.
const CONNECTIONS: i64 = 9_000;
const OPEN: i64 = 500;

struct NoNames;

impl HostNames for NoNames {}

/// Events, and the number of events that are left when a segment begins.
struct Script(VecDeque<Event>, Option<(usize, RecorderHandle)>);

impl Source for Script {
    type Item = Event;

    async fn next(&mut self, events: &mut VecDeque<Event>) -> io::Result<bool> {
        events.extend(self.0.drain(..self.0.len().min(100)));
        if let Some((_, handle)) = self.1.take_if(|(left, _)| self.0.len() <= *left) {
            handle.rotate();
        }
        Ok(!self.0.is_empty())
    }

    async fn finish(&mut self, _: &mut VecDeque<Event>) -> io::Result<()> {
        Ok(())
    }
}

fn step(number: i64, old: TcpState, new: TcpState, micros: i64) -> Event {
    let cookie = SocketId::new(u64::try_from(number + 1).expect("positive")).expect("not 0");
    let port = u16::try_from(1024 + number % 60_000).expect("a port");
    let end = |port| ([127, 0, 0, 1], port).into();
    let tuple = Tuple { netns: 1, interface: 0, local: end(port), remote: end(443) };
    let time = Mono::from_nanos((number * 10_000 + micros) * 1_000);
    Event::Transition(Transition { time, ..Transition::bare(cookie, tuple, old, new) })
}

/// A journal of two segments in a directory, which is removed on drop.
struct Recorded(PathBuf);

impl Recorded {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("netmon-played-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        let options = RecorderOptions {
            retention: Retention::default(),
            segment_time: Duration::from_secs(3_600),
            boot_id: "a boot".to_owned(),
            netns: 1,
            names: Box::new(NoNames),
        };
        let mut recorder = Recorder::open(&path, "host", options).expect("a recorder");
        let mut events =
            VecDeque::from([Event::Anchor(Anchor { monotonic: Mono::BOOT, wall: NOON })]);
        for number in 0..CONNECTIONS {
            events.push_back(step(number, Close, SynSent, 0));
            events.push_back(step(number, SynSent, Established, 1_000));
            if number >= OPEN {
                events.push_back(step(number - OPEN, Established, Close, OPEN * 10_000 + 2_000));
            }
        }
        let rotate = Some((events.len() / 4, recorder.handle()));
        let mut script = Script(events, rotate);
        let scope = SessionScope { initial: true, ..SessionScope::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let stop = Notify::new();
        let session = run(&mut script, &mut recorder, &scope, Limits::default(), &stop);
        runtime.expect("a runtime").block_on(session).expect("recorded");
        let _ = recorder.close();
        Self(path)
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    journal: JournalArgs,
}

/// Everything that the screen shows of a frame.
fn screen(frame_of_past: PastFrame) -> String {
    let options = ScreenOptions {
        host: "host".to_owned(),
        own_netns: Some(1),
        filter: Default::default(),
        parse: Box::new(|_| None),
        services: Services::default(),
        numeric: true,
        zone: TimeZone::UTC,
        colour: false,
        settings: ScreenSettings::default(),
        past: true,
        moment: Box::new(|text| Err(text.to_owned())),
        at: Some(NOON),
    };
    let size = Size::new(160, 50);
    let mut state = ScreenState::new(options, size);
    state.answer(ScreenAnswer::Past(Box::new(frame_of_past)));
    state.settle(&ConnectionTable::default(), Mono::BOOT);
    text(&frame(&state, size))
}

fn jump() -> impl Strategy<Value = Jump> {
    prop_oneof![
        4 => (-2..=2_i64).prop_map(Jump::Seconds),
        1 => (-40..=40_i64).prop_map(Jump::Seconds),
        1 => Just(Jump::Next),
        1 => Just(Jump::Previous),
        1 => (0..95_000_u64).prop_map(|ms| Jump::To(NOON + Duration::from_millis(ms))),
    ]
}

#[test]
fn what_was_kept_is_what_was_recorded() {
    let recorded = Recorded::new();
    let path = recorded.0.to_str().expect("a path");
    let arguments = Arguments::parse_from(["top", "--utc", "--journal", path]);
    let jumps = proptest::collection::vec(jump(), 12);
    let config = ProptestConfig { cases: 2, ..ProptestConfig::default() };
    proptest!(config, |(jumps in jumps)| {
        let mut reader = PastReader::new(&arguments.journal);
        let mut at = NOON + Duration::from_secs(60);
        for jump in jumps {
            let stepped = reader.frame(at, jump, &Filter::default());
            let anew = PastReader::new(&arguments.journal).frame(at, jump, &Filter::default());
            match (stepped, anew) {
                (Ok(stepped), Ok(anew)) => {
                    at = anew.at.wall;
                    prop_assert_eq!(screen(stepped), screen(anew), "{:?}", jump);
                }
                (Err(_), Err(_)) => {}
                (stepped, anew) => {
                    prop_assert!(false, "{jump:?}: {:?} {:?}", stepped.is_ok(), anew.is_ok());
                }
            }
        }
    });
}
