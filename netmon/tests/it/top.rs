//! The screen: sample events are played, keys are pressed, frames are compared. Each scenario is a
//! file that can be read from top to bottom.
//!
//! | line | |
//! |---|---|
//! | `size WIDTH HEIGHT` | the size of the screen: the first line, or when the screen is resized |
//! | `filter TEXT` | the filter at the beginning, before the first key |
//! | `until MS` | plays the sample events up to that time, and looks then |
//! | `press KEY …` | presses keys |
//! | `type TEXT` | types a text, character by character |
//! | `click COLUMN LINE [S]` | clicks the left button, with Shift if `S`; both count from 0 |
//! | `kernel` | answers the questions of the screen: about a socket, for names and filters |
//! | `journal` | the same, for questions to a journal, which has the sample events |
//! | `show` | the frame |
//!
//! A key is a single character, `Enter`, `Esc`, `Up`, `Down`, `Left`, `Right`, `PgUp`, `PgDn`,
//! `Home`, `End`, `Space`, `Backspace` or `F2`. The prefix `S-` holds Shift, and `C-` holds
//! Control: `S-Left`, `C-u`. An empty line and a line that begins with `#` have no effect.
//!
//! The lines of a frame begin with two spaces. This test makes these lines again and compares. With
//! `SCENARIOS=write` it writes them.

use std::{collections::VecDeque, env, fmt::Write, fs, net::IpAddr, path::Path, time::Duration};

use crate::sample_events::{at_ms, sample_events};
use jiff::tz::TimeZone;
use netmon::testing::{
    Connection, ConnectionTable, Event, Filter, FilterNames, Inspected, Jump, Mono, NameQuery,
    PastFrame, RowKind, ScreenAnswer, ScreenOptions, ScreenQuery, ScreenSettings, ScreenState,
    Services, Size, TIMELINE_PARTS, TcpInfo, TcpState, TerminalEvent, TimeSpan, Timeline, Traffic,
    TrafficFigures, TrafficScope, Wall, frame,
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind},
};

const WALL: Wall = Wall::from_nanos(1_766_000_000_123_456_789);

struct Names;

impl FilterNames for Names {
    fn service(&self, name: &str) -> Option<u16> {
        (name == "https").then_some(443)
    }

    fn host(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "web" => Ok(vec![IpAddr::from([93, 184, 216, 34])]),
            _ => Err("no such name is known".to_owned()),
        }
    }
}

#[test]
fn every_scenario_goes_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/top");
    let mut played = 0;
    for file in fs::read_dir(directory).expect("scenarios") {
        let path = file.expect("a file").path();
        let written = fs::read_to_string(&path).expect("text");
        let made = Player::default().play(&written);
        if env::var_os("SCENARIOS").is_some_and(|value| value == "write") {
            fs::write(&path, &made).expect("written");
        } else {
            assert!(made == written, "{}: this is what it makes:\n{made}", path.display());
        }
        played += 1;
    }
    assert!(played >= 6, "{played}");
}

#[derive(Default)]
struct Player {
    state: Option<ScreenState>,
    size: (u16, u16),
    filter: String,
    table: ConnectionTable,
    events: VecDeque<Event>,
    now: Mono,
}

impl Player {
    fn play(mut self, written: &str) -> String {
        self.events = sample_events().into();
        let mut made = String::new();
        for line in written.lines().filter(|line| !line.starts_with("  ")) {
            let _ = writeln!(made, "{line}");
            if !line.is_empty() && !line.starts_with('#') {
                self.line(line, &mut made);
            }
        }
        made
    }

    fn state(&mut self) -> &mut ScreenState {
        let filter = self.filter.clone();
        let size = Size::new(self.size.0, self.size.1);
        self.state.get_or_insert_with(|| ScreenState::new(options(filter), size))
    }

    fn line(&mut self, line: &str, made: &mut String) {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u16>().expect("a number");
        match command {
            "size" => {
                self.size = (number(0), number(1));
                if self.state.is_some() {
                    self.event(&TerminalEvent::Resize(number(0), number(1)));
                }
            }
            "filter" => rest.clone_into(&mut self.filter),
            "until" => self.until(rest.parse().expect("a time")),
            "press" => words.iter().for_each(|word| self.event(&key(word))),
            "type" => rest.chars().for_each(|c| self.event(&key(&c.to_string()))),
            "click" => self.event(&TerminalEvent::Mouse(MouseEvent {
                kind: MouseEventKind::Down(MouseButton::Left),
                column: number(0),
                row: number(1),
                modifiers: match words.get(2) {
                    Some(_) => KeyModifiers::SHIFT,
                    None => KeyModifiers::NONE,
                },
            })),
            "kernel" | "journal" => self.answer(),
            "show" => self.show(made),
            _ => panic!("{line}"),
        }
    }

    fn event(&mut self, event: &TerminalEvent) {
        self.state().event(event);
        self.settle();
    }

    fn settle(&mut self) {
        let table = std::mem::take(&mut self.table);
        let now = self.now;
        self.state().settle(&table, now);
        self.table = table;
    }

    fn until(&mut self, ms: i64) {
        while self.events.front().is_some_and(|event| time(event) <= at_ms(ms)) {
            let event = self.events.pop_front().expect("an event");
            let mut table = std::mem::take(&mut self.table);
            let state = self.state();
            let applied = table.apply(&event, |change| {
                state.change(&change);
                Ok::<_, ()>(())
            });
            assert_eq!(applied, Ok(()));
            self.table = table;
        }
        self.now = at_ms(ms);
        self.settle();
    }

    fn answer(&mut self) {
        let asks = self.state().asks();
        assert!(!asks.is_empty(), "nothing was asked");
        for ask in asks {
            let answer = match ask {
                ScreenQuery::Name(query) => ScreenAnswer::Name(query, name(query)),
                ScreenQuery::Inspect(_, cookie) => {
                    ScreenAnswer::Inspected(cookie, Some(Box::new(inspected())))
                }
                ScreenQuery::Traffic(scope) => ScreenAnswer::Traffic(traffic(&scope, &self.table)),
                ScreenQuery::Filter(text) => {
                    let filter = Filter::parse(&text, &Names, RowKind::Connection);
                    ScreenAnswer::Filter(text, filter)
                }
                ScreenQuery::Timeline(span) => ScreenAnswer::Timeline(timeline(span)),
                ScreenQuery::Past(from, jump, filter) => {
                    let at = match jump {
                        Jump::Seconds(seconds) => {
                            let length = Duration::from_secs(seconds.unsigned_abs());
                            if seconds < 0 { from - length } else { from + length }
                        }
                        Jump::To(moment) => moment,
                        _ => panic!("{jump:?}"),
                    };
                    let until = Mono::BOOT + at.since(WALL);
                    let events = sample_events().into_iter().filter(|event| time(event) <= until);
                    let mut moment = PastFrame::new(at, *filter);
                    moment.coverage = TimeSpan { from: WALL, to: WALL + Duration::from_secs(60) };
                    events.for_each(|event| moment.take(&event));
                    moment.arrive();
                    ScreenAnswer::Past(Box::new(moment))
                }
            };
            self.state().answer(answer);
        }
        self.settle();
    }

    fn show(&mut self, made: &mut String) {
        self.settle();
        let mut terminal =
            Terminal::new(TestBackend::new(self.size.0, self.size.1)).expect("a terminal");
        let state = self.state();
        let frame = frame(state, state.size());
        terminal.draw(|target| *target.buffer_mut() = frame).expect("drawn");
        for line in terminal.backend().to_string().lines() {
            let _ = writeln!(made, "  {line}");
        }
    }
}

fn options(filter: String) -> ScreenOptions {
    let parse = |text: &str| Filter::parse(text, &Names, RowKind::Connection);
    ScreenOptions {
        host: "web1".to_owned(),
        own_netns: Some(4_026_531_840),
        filter: (parse(&filter).expect("a filter"), filter),
        // Names of hosts are looked up.
        parse: Box::new(move |text| (!text.contains("dst")).then(|| parse(text))),
        services: Services::parse(b"ssh 22/tcp\nhttps 443/tcp\nhttp 80/tcp www\n"),
        numeric: false,
        zone: TimeZone::UTC,
        colour: true,
        settings: ScreenSettings::default(),
        past: true,
        moment: Box::new(|text| match text.parse() {
            Ok(seconds) => Ok(WALL + Duration::from_secs(seconds)),
            Err(_) => Err(format!("'{text}' is no moment")),
        }),
        at: None,
    }
}

/// Traffic that is greater where the number of the socket is greater; of a listener, its queues.
fn traffic(scope: &TrafficScope, table: &ConnectionTable) -> Traffic {
    let is_asked = |row: &&Connection| match scope {
        TrafficScope::Rows(rows) => rows.iter().any(|(_, cookie)| *cookie == row.id.cookie),
        TrafficScope::Namespaces(namespaces) => namespaces.contains(&row.tuple.netns),
    };
    let rows = table.rows().filter(is_asked).filter(|row| row.state != TcpState::TimeWait);
    let figures = rows.map(|row| {
        let number = row.id.cookie.get();
        let small = u32::try_from(number).expect("small");
        let queues =
            TrafficFigures { recv_q: Some(small), send_q: Some(128), ..Default::default() };
        let figures = match row.state {
            TcpState::Listen => queues,
            _ => TrafficFigures {
                sent: Some(number * 1000),
                received: Some(number * 1_000_000),
                sent_rate: Some(number * 10),
                received_rate: Some(number * 10_000),
                rtt_us: Some(small * 100),
                retransmits: Some(small),
                ..queues
            },
        };
        (row.id.cookie, figures)
    });
    let is_all = matches!(scope, TrafficScope::Namespaces(_));
    let cost = Duration::from_millis(if is_all { 100 } else { 1 });
    Traffic { sockets: figures.collect(), is_all, cost }
}

/// A timeline whose changes grow from part to part, with a gap of five minutes.
fn timeline(span: TimeSpan) -> Timeline {
    let minutes = |count: u64| span.from + Duration::from_secs(60 * count);
    let gaps = vec![TimeSpan { from: minutes(10), to: minutes(15) }];
    Timeline { span, counts: (0..).take(TIMELINE_PARTS).collect(), gaps }
}

fn name(query: NameQuery) -> Option<String> {
    match query {
        NameQuery::User(33) => Some("www-data".to_owned()),
        _ => None,
    }
}

fn inspected() -> Inspected {
    let info = TcpInfo {
        rtt_us: Some(15_400),
        cwnd: 10,
        bytes_sent: 517,
        bytes_received: 4_321_987,
        retransmits: 2,
        ..TcpInfo::default()
    };
    Inspected { recv_q: 0, send_q: 12, info: Some(info) }
}

fn time(event: &Event) -> Mono {
    match event {
        Event::Transition(t) => t.time,
        Event::Lost(gap) => gap.time,
        Event::Seed(seed) => seed.time,
        Event::DumpEnded { time } | Event::DumpsRare { time, .. } => *time,
        Event::Dumped { began, .. } => *began,
        Event::Anchor(anchor) => anchor.monotonic,
        other => panic!("{other:?}"),
    }
}

fn key(word: &str) -> TerminalEvent {
    let (modifiers, name) = match word.split_once('-') {
        Some(("S", name)) => (KeyModifiers::SHIFT, name),
        Some(("C", name)) => (KeyModifiers::CONTROL, name),
        _ => (KeyModifiers::NONE, word),
    };
    let mut characters = name.chars();
    let code = match (characters.next(), characters.next()) {
        (Some(c), None) => KeyCode::Char(c),
        _ => match name {
            "Enter" => KeyCode::Enter,
            "Esc" => KeyCode::Esc,
            "Up" => KeyCode::Up,
            "Down" => KeyCode::Down,
            "Left" => KeyCode::Left,
            "Right" => KeyCode::Right,
            "PgUp" => KeyCode::PageUp,
            "PgDn" => KeyCode::PageDown,
            "Home" => KeyCode::Home,
            "End" => KeyCode::End,
            "Space" => KeyCode::Char(' '),
            "Backspace" => KeyCode::Backspace,
            "F2" => KeyCode::F(2),
            _ => panic!("{word} is no key"),
        },
    };
    TerminalEvent::Key(KeyEvent::new(code, modifiers))
}
