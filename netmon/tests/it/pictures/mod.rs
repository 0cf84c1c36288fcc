//! The pictures of README: what commands show of the sample host ([`host`]), as SVG.
//!
//! The test draws each picture again, and compares the picture with the file in `docs/pictures`.
//! With `SCENARIOS=write`, which `cargo xtask docs --pictures` sets, the test writes the file.

mod host;
mod svg;

use std::{env, fs, num::NonZeroU64, path::Path, time::Duration};

use jiff::tz::TimeZone;
use netmon::testing::{
    Appearance, Change, ConnectionTable, Event, Filter, FilterNames, HolderKey, Lines, Listening,
    ListingNames, ListingView, Mono, Netstat, NetstatColumns, PastFrame, RowKind, ScreenAnswer,
    ScreenOptions, ScreenQuery, ScreenSettings, ScreenState, Services, Size, SocketHolders,
    TIMELINE_PARTS, TimeSpan, Timeline, View, Wall, frame,
};
use ratatui::{
    backend::{Backend, CrosstermBackend},
    crossterm::style::force_color_output,
};
use vt100::{Parser, Screen};

use crate::listing::socket;

const COLUMNS: u16 = 100;
const LINES: u16 = 26;
/// The moment of the failure that pictures show, 03:12:07, in microseconds of the hour.
const FAILED_AT: u64 = 2_527_611_204;
/// The moment of the live screen, 03:29:41.
const LIVE_AT: u64 = 3_581_204_518;
/// The filter of pictures of the failure: a database, the server behind, and curl.
const FILTER: &str = "port in 5432,8080 or comm = curl";

#[test]
fn pictures_are_as_drawn_now() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).expect("README");
    for (name, screen) in
        [("snapshot", snapshot()), ("watch", watch()), ("top", top()), ("past", past())]
    {
        let path = format!("docs/pictures/{name}.svg");
        assert!(readme.contains(&path), "README does not show {path}");
        let (there, drawn) = (root.join(&path), svg::draw(&screen));
        if env::var_os("SCENARIOS").is_some_and(|value| value == "write") {
            fs::write(there, drawn).expect("written");
        } else {
            let is_so = fs::read_to_string(there).is_ok_and(|there| there == drawn);
            assert!(is_so, "{path} is stale: `cargo xtask docs --pictures` draws it again");
        }
    }
}

/// Returns the screen of a terminal after a command that prints lines.
fn printed(command: &str, lines: Vec<u8>) -> Screen {
    let lines = String::from_utf8(lines).expect("UTF-8");
    let text = format!("\x1b[2m$\x1b[0m {command}\n{}", lines.trim_end()).replace('\n', "\r\n");
    let height = text.lines().count().try_into().expect("a screen");
    shown(height, text.as_bytes())
}

/// Returns the screen of a terminal after a full screen.
fn drawn(state: &ScreenState) -> Screen {
    // The colours of a picture do not depend on NO_COLOR.
    force_color_output(true);
    let frame = frame(state, state.size());
    let cells = (0..).zip(&frame.content).map(|(at, cell)| {
        let (x, y) = frame.pos_of(at);
        (x, y, cell)
    });
    let mut bytes = Vec::new();
    CrosstermBackend::new(&mut bytes).draw(cells).expect("drawn");
    shown(LINES, &bytes)
}

fn shown(lines: u16, bytes: &[u8]) -> Screen {
    let mut terminal = Parser::new(lines, COLUMNS, 0);
    terminal.process(bytes);
    terminal.screen().clone()
}

fn snapshot() -> Screen {
    let mut lines = Vec::new();
    let columns = NetstatColumns { heading: true, owners: true, ..NetstatColumns::default() };
    let names = ListingNames { services: services(), ..ListingNames::default() };
    let width = Some(COLUMNS.into());
    let mut rows = Netstat::new(&mut lines, columns, Listening::All, names, width, true);
    let mut owners = SocketHolders::default();
    let mut sockets = Vec::new();
    for (inode, (protocol, state, local, remote, queues, holders)) in (1..).zip(host::SOCKETS) {
        let is_held = !holders.is_empty();
        let mut socket = socket(*protocol, *state, local, remote, if is_held { inode } else { 0 });
        (socket.recv_q, socket.send_q) = (Some(queues[0]), Some(queues[1]));
        for (pid, comm) in *holders {
            let key = HolderKey::of_inode(NonZeroU64::new(inode).expect("not 0"));
            owners.add(key, *pid, 0, comm.as_bytes());
        }
        sockets.push(socket);
    }
    for socket in &sockets {
        rows.socket(socket, &owners).expect("written");
    }
    rows.finish(&owners).expect("written");
    drop(rows);
    printed("sudo netmon snapshot", lines)
}

fn watch() -> Screen {
    let mut lines = Vec::new();
    let look = Appearance {
        services: services(),
        terminal: Some(COLUMNS.into()),
        colour: true,
        zone: TimeZone::UTC,
        dated: false,
        own_netns: Some(4_026_531_840),
        wide_owner: false,
        host_width: 0,
    };
    let mut view = Lines::new(&mut lines, look, Box::new(|_| None)).expect("written");
    let mut table = ConnectionTable::default();
    let filter = parse(FILTER);
    for (time, event) in until(FAILED_AT) {
        let is_in_sight = time + Duration::from_secs(4) >= host::at(FAILED_AT).monotonic;
        let applied = table.apply(&event, |change| {
            let passes = change.step().is_some_and(|step| filter.matches(step));
            if passes && is_in_sight || matches!(change, Change::Anchor(_)) {
                view.change(&change)?;
            }
            std::io::Result::Ok(())
        });
        applied.expect("written");
    }
    view.flush(&table).expect("written");
    drop(view);
    printed(&format!("sudo netmon watch '{FILTER}'"), lines)
}

fn top() -> Screen {
    let mut state = screen("", None);
    let mut table = ConnectionTable::default();
    // netmon began five minutes ago: curves are no longer.
    let end = host::at(LIVE_AT).monotonic;
    let begin = end - Duration::from_secs(300);
    let mut second = begin;
    for (time, event) in until(LIVE_AT) {
        while time > second {
            state.settle(&table, second);
            second = second + Duration::from_secs(1);
        }
        let applied = table.apply(&event, |change| {
            if time >= begin || matches!(change, Change::Anchor(_)) {
                state.change(&change);
            }
            Ok::<_, ()>(())
        });
        assert_eq!(applied, Ok(()));
    }
    state.settle(&table, end);
    drawn(&state)
}

fn past() -> Screen {
    let at = host::at(FAILED_AT);
    let mut moment = PastFrame::new(at.wall, parse(FILTER));
    moment.coverage = host::SPAN;
    until(FAILED_AT).for_each(|(_, event)| moment.take(&event));
    moment.arrive();
    let mut state = screen(FILTER, Some(at.wall));
    state.answer(ScreenAnswer::Past(Box::new(moment)));
    for query in state.asks() {
        if let ScreenQuery::Timeline(span) = query {
            state.answer(ScreenAnswer::Timeline(timeline(span)));
        }
    }
    state.settle(&ConnectionTable::default(), at.monotonic);
    drawn(&state)
}

/// Returns everything that happens on the host until so many microseconds of the hour.
fn until(us: u64) -> impl Iterator<Item = (Mono, Event)> {
    let end = host::at(us).monotonic;
    host::events().take_while(move |(time, _)| *time <= end)
}

/// Returns the changes of an hour, with a gap in which no recorder ran.
fn timeline(span: TimeSpan) -> Timeline {
    let part = span.to.since(span.from) / u32::try_from(TIMELINE_PARTS).expect("a number");
    let mut counts = vec![0; TIMELINE_PARTS];
    for (time, _) in host::events() {
        let wall = host::at(0).wall_time(time);
        if span.contains(wall) && !host::GAP.contains(wall) {
            let place = wall.since(span.from).as_nanos() / part.as_nanos();
            counts[usize::try_from(place).expect("a place")] += 1;
        }
    }
    Timeline { span, counts, gaps: vec![host::GAP] }
}

fn screen(filter: &str, at: Option<Wall>) -> ScreenState {
    let options = ScreenOptions {
        own_netns: Some(4_026_531_840),
        host: "web1".to_owned(),
        filter: (parse(filter), filter.to_owned()),
        parse: Box::new(|text| Some(Ok(parse(text)))),
        services: services(),
        numeric: false,
        zone: TimeZone::UTC,
        colour: true,
        settings: ScreenSettings::default(),
        past: true,
        moment: Box::new(|text| Err(text.to_owned())),
        at,
    };
    ScreenState::new(options, Size::new(COLUMNS, LINES))
}

fn services() -> Services {
    Services::parse(host::SERVICES)
}

fn parse(filter: &str) -> Filter {
    struct NoNames;
    impl FilterNames for NoNames {}
    Filter::parse(filter, &NoNames, RowKind::Connection).expect("a filter")
}
