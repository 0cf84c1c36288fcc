//! What a session prints, to the byte: one scene through the table and both views.

use std::{net::SocketAddr, sync::Arc};

use jiff::tz::TimeZone;
use netmon::{
    core::{
        event::{Anchor, Event, Evidence, Loss, Opening, Owner, ResetSide, Transition, Tuple},
        names::Services,
        table::ConnectionTable,
        tcp::TcpState,
    },
    session::View,
    view::{
        json::Json,
        lines::{Appearance, Lines},
    },
};

const MS: u64 = 1_000_000;

fn transition(
    ms: u64,
    cookie: u64,
    ends: (&str, &str),
    old: TcpState,
    new: TcpState,
) -> Transition {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Transition {
        time: ms * MS,
        cookie,
        tuple: Tuple { netns: 4_026_531_840, local: end(ends.0), remote: end(ends.1) },
        old,
        new,
        errno: None,
        reset: None,
        orphan: false,
        inferred: false,
        opening: Opening::None,
    }
}

fn elsewhere(mut event: Transition) -> Transition {
    event.tuple.netns = 4_026_532_200;
    event
}

fn owner(pid: u32, comm: &[u8], evidence: Evidence) -> Opening {
    let comm = comm.into();
    Opening::ByProcess(Some(Arc::new(Owner { pid, uid: 33, cgroup: 5, comm, evidence })))
}

/// Everything that looks different from anything else.
fn scene() -> Vec<Event> {
    use TcpState::*;
    let web = ("10.0.0.1:43210", "93.184.216.34:443");
    let refused = ("[::1]:50000", "[::1]:81");
    let old = ("10.0.0.1:22", "10.0.0.9:60000");
    let mut events = vec![Event::Anchor(Anchor { monotonic: 0, wall: 1_766_000_000_123_456_789 })];
    events.extend(
        [
            Transition {
                opening: owner(1, b"sshd", Evidence::Listen),
                ..transition(1, 1, ("0.0.0.0:22", "0.0.0.0:0"), Close, Listen)
            },
            Transition {
                opening: owner(812, b"curl", Evidence::Connect),
                ..transition(2, 2, web, Close, SynSent)
            },
            transition(18, 2, web, SynSent, Established),
            Transition {
                opening: Opening::FromListener(Some(1)),
                ..transition(19, 3, old, Listen, SynRecv)
            },
            transition(20, 2, web, Established, FinWait1),
            Transition { orphan: true, ..transition(40, 2, web, FinWait1, FinWait2) },
            Transition { inferred: true, ..transition(62, 2, web, FinWait2, TimeWait) },
            Transition {
                opening: owner(900, b"\x1b[2J\"\xff", Evidence::Connect),
                ..transition(70, 4, refused, Close, SynSent)
            },
            Transition {
                errno: Some(111),
                reset: Some(ResetSide::Received),
                ..transition(71, 4, refused, SynSent, Close)
            },
            Transition { errno: Some(133), ..transition(80, 5, old, Established, Close) },
            Transition {
                opening: Opening::ByProcess(None),
                ..elsewhere(transition(90, 6, ("10.0.0.1:0", "10.0.0.2:80"), Close, SynSent))
            },
        ]
        .map(Event::Transition),
    );
    events.push(Event::Lost { time: 95 * MS, count: 17, loss: Loss::RingFull });
    events.push(Event::Lost { time: 96 * MS, count: 1, loss: Loss::Recursion });
    events
}

fn show(view: &mut impl View) -> u32 {
    let mut table = ConnectionTable::default();
    let mut shown = 0;
    for event in scene() {
        table
            .apply(&event, |change| {
                shown += u32::from(view.change(&change)?);
                std::io::Result::Ok(())
            })
            .expect("written");
    }
    view.flush().expect("written");
    shown
}

fn lines(colour: bool) -> String {
    let services = Services::parse(b"ssh 22/tcp\nhttps 443/tcp\nhttp 80/tcp www\n");
    let look = Appearance { services, colour, zone: TimeZone::UTC, netns: Some(4_026_531_840) };
    let mut out = Vec::new();
    let mut view = Lines::new(&mut out, look).expect("written");
    assert_eq!(show(&mut view), 11);
    drop(view);
    String::from_utf8(out).expect("text")
}

#[test]
fn text() {
    insta::assert_snapshot!("text", lines(false));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let coloured = lines(true);
    assert!(
        coloured.contains("\u{1b}[31mrefused ECONNREFUSED RST received \u{1b}[0m"),
        "{coloured}"
    );
    let plain = ["\u{1b}[31m", "\u{1b}[33m", "\u{1b}[0m"]
        .iter()
        .fold(coloured, |text, colour| text.replace(colour, ""));
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n"), lines(false).trim_end());
}

#[test]
fn json() {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out);
    assert_eq!(show(&mut view), 11);
    drop(view);
    let text = String::from_utf8(out).expect("UTF-8");
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    insta::assert_snapshot!("json", text);
}
