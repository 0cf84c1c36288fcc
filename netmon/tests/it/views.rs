//! The output of a session, to the byte: the sample events through the table and both views.

use std::sync::Arc;

use crate::sample_events::{at_ms, owner, process, sample_events, socket, transition};
use crate::schema::object;
use jiff::tz::TimeZone;
use netmon::testing::{
    Anchor, Appearance, Change, Connection, ConnectionId, ConnectionTable, Evidence, Json, Lines,
    Mono, Opening, Process, Resync, Services, Step, TcpState, View, Wall,
};

fn show(view: &mut impl View) -> u32 {
    let mut table = ConnectionTable::default();
    let mut shown = 0;
    for event in sample_events() {
        table
            .apply(&event, |change| {
                shown += u32::from(view.change(&change)?);
                std::io::Result::Ok(())
            })
            .expect("written");
    }
    let resync = Resync { time: at_ms(702), found: 1, moved: 0, ended: 1, distance: None };
    view.change(&Change::Resync(resync)).expect("written");
    view.flush(&table).expect("written");
    shown
}

fn look(terminal: Option<usize>) -> Appearance {
    Appearance {
        services: Services::parse(b"ssh 22/tcp\nhttps 443/tcp\nhttp 80/tcp www\n"),
        terminal,
        colour: false,
        zone: TimeZone::UTC,
        own_netns: Some(4_026_531_840),
        wide_owner: false,
        host_width: 0,
        dated: false,
    }
}

fn lines(look: Appearance) -> String {
    let mut out = Vec::new();
    let names = |inum| (inum == 4_026_532_200).then(|| "blue\u{7}".into());
    let mut view = Lines::new(&mut out, look, Box::new(names)).expect("written");
    assert_eq!(show(&mut view), 14);
    drop(view);
    String::from_utf8(out).expect("text")
}

#[test]
fn text() {
    insta::assert_snapshot!("text", lines(look(None)));
}

/// Each connection has its processes once.
#[test]
fn text_with_wide_owners() {
    insta::assert_snapshot!(
        "text_with_wide_owners",
        lines(Appearance { wide_owner: true, ..look(None) })
    );
}

#[test]
fn a_holder_is_named_in_the_line_and_on_a_line_of_its_own() {
    let id = ConnectionId { cookie: socket(7), epoch: at_ms(0) };
    let transition =
        transition(1, 7, ("10.0.0.1:43210", "10.0.0.2:4444"), TcpState::Close, TcpState::SynSent);
    let mut connection = Connection::new(id, transition.tuple, TcpState::SynSent);
    let Opening::ByProcess(owner) = owner(812, b"curl") else { panic!("a process") };
    (connection.owner, connection.evidence) = (owner, Some(Evidence::Connect));
    let (comm, known) = (b"sh"[..].into(), Some(Arc::new(process(b"sh\0-i\0"))));
    connection.holder =
        Some(Arc::new(Process { pid: 813, host_pid: 0, comm, known, cgroup: None }));
    let mut out = Vec::new();
    let look = Appearance { wide_owner: true, ..look(None) };
    let mut view = Lines::new(&mut out, look, Box::new(|_| None)).expect("written");
    let step = Step {
        transition: &transition,
        connection: &connection,
        in_state: None,
        verdict: None,
        corrected: false,
    };
    view.change(&Change::Opened(step)).expect("written");
    view.flush(&ConnectionTable::default()).expect("written");
    drop(view);
    insta::assert_snapshot!("a_holder", String::from_utf8(out).expect("text"));
}

#[test]
fn text_fits_a_terminal() {
    let frames = [40, 80, 120, 200].map(|width| {
        let frame = lines(look(Some(width)));
        assert!(frame.lines().all(|line| line.chars().count() <= width), "{frame}");
        format!("{width} columns\n{frame}")
    });
    insta::assert_snapshot!("text_fits_a_terminal", frames.join("\n"));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let coloured = lines(Appearance { colour: true, ..look(None) });
    for words in [
        "\u{1b}[31mrefused\u{1b}[0m",
        "\u{1b}[32mESTABLISHED\u{1b}[0m",
        "\u{1b}[36mout\u{1b}[0m",
        "\u{1b}[1;33m17 events lost",
    ] {
        assert!(coloured.contains(words), "{words:?}: {coloured}");
    }
    let plain = ["0", "1", "2", "31", "32", "35", "36", "1;33"]
        .map(|number| format!("\u{1b}[{number}m"))
        .iter()
        .fold(coloured, |text, colour| text.replace(colour, ""));
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n"), lines(look(None)).trim_end());
}

#[test]
fn rows_before_a_change_of_the_clock_show_their_offset() {
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let now = jiff::Timestamp::now().to_zoned(zone.clone()).strftime("%:z").to_string();
    let look = Appearance {
        services: Services::default(),
        terminal: None,
        colour: false,
        zone,
        own_netns: None,
        wide_owner: false,
        host_width: 0,
        dated: true,
    };
    let mut out = Vec::new();
    let mut view = Lines::new(&mut out, look, Box::new(|_| None)).expect("written");
    // The clock goes back at 2026-10-25T01:00:00Z. One anchor is five days before, one five after.
    for (second, monotonic) in [(1_792_458_727, 1), (1_793_322_727, 2)] {
        let monotonic = Mono::from_nanos(monotonic);
        let wall = Wall::from_nanos(second * 1_000_000_000 + 123_456_000);
        let anchor = Anchor { monotonic, wall };
        view.change(&Change::Anchor(anchor)).expect("written");
        let resync = Resync { time: monotonic, found: 1, moved: 0, ended: 0, distance: None };
        view.change(&Change::Resync(resync)).expect("written");
    }
    view.flush(&ConnectionTable::default()).expect("written");
    drop(view);
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<_> = text.lines().collect();
    // The day of the test run decides which of the two offsets is in the heading.
    assert!(lines[0].starts_with(&format!("Date       Time ({now})   PID")), "{text}");
    let suffix = |offset: &str| if offset == now { "" } else { offset }.to_owned();
    let before = format!("2026-10-20 03:12:07.123456{} ", suffix("+02:00"));
    let after = format!("2026-10-30 02:12:07.123456{} ", suffix("+01:00"));
    assert!(lines[1].starts_with(&before), "{text}");
    assert!(lines[2].starts_with(&after), "{text}");
}

#[test]
fn json() {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out, Box::new(|_| None));
    assert_eq!(show(&mut view), 14);
    drop(view);
    let text = String::from_utf8(out).expect("UTF-8");
    for line in text.lines() {
        object(line);
    }
    insta::assert_snapshot!("json", text);
}
