//! What a session prints, to the byte: one scene through the table and both views.

use std::{net::SocketAddr, sync::Arc};

use jiff::tz::TimeZone;
use netmon::{
    core::{
        connection::{Change, Resync},
        event::{
            Anchor, Event, Gap, Loss, Opening, Owner, ResetSide, Seed, Totals, Transition, Tuple,
        },
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
        totals: None,
        orphan: false,
        inferred: false,
        opening: Opening::None,
    }
}

fn elsewhere(mut event: Transition) -> Transition {
    event.tuple.netns = 4_026_532_200;
    event
}

fn owner(pid: u32, comm: &[u8]) -> Opening {
    let comm = comm.into();
    Opening::ByProcess(Some(Arc::new(Owner { pid, uid: 33, cgroup: 5, comm })))
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
                opening: owner(1, b"sshd"),
                ..transition(1, 1, ("0.0.0.0:22", "0.0.0.0:0"), Close, Listen)
            },
            Transition { opening: owner(812, b"curl"), ..transition(2, 2, web, Close, SynSent) },
            transition(18, 2, web, SynSent, Established),
            Transition {
                opening: Opening::FromListener(Some(1)),
                ..transition(19, 3, old, Listen, SynRecv)
            },
            transition(20, 2, web, Established, FinWait1),
            Transition { orphan: true, ..transition(40, 2, web, FinWait1, FinWait2) },
            Transition {
                inferred: true,
                totals: Some(Totals {
                    bytes_sent: 517,
                    bytes_received: 4_321_987,
                    retransmits: 2,
                    rtt_us: Some(15_400),
                }),
                ..transition(62, 2, web, FinWait2, TimeWait)
            },
            Transition {
                opening: owner(900, b"\x1b[2J\"\xff"),
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
    let lost = |count, loss| Event::Lost(Gap { from: 85 * MS, time: 95 * MS, count, loss });
    events.extend([lost(17, Loss::RingFull), lost(1, Loss::Recursion)]);
    // One whose beginning was lost, the end of one of those above, and the end of a TIME_WAIT.
    let tuple = transition(0, 7, ("10.0.0.1:40000", web.1), Close, Close).tuple;
    let (state, owner) = (Established, None);
    let seed = Seed { time: 500 * MS, cookie: 7, tuple, state, minisocket: false, owner };
    events.extend([Event::Reconciled { time: 200 * MS }, Event::Seed(seed)]);
    for ms in [600, 700] {
        let reconciled = Event::Reconciled { time: (ms + 1) * MS };
        events.extend([Event::Dumped { netns: 4_026_532_200, began: ms * MS }, reconciled]);
    }
    events.push(Event::Transition(transition(60_062, 2, web, TimeWait, Close)));
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
    let resync = Resync { time: 702 * MS, found: 1, moved: 0, ended: 1 };
    view.change(&Change::Resync(resync)).expect("written");
    view.flush(&table).expect("written");
    shown
}

fn lines(colour: bool) -> String {
    let services = Services::parse(b"ssh 22/tcp\nhttps 443/tcp\nhttp 80/tcp www\n");
    let look = Appearance {
        services,
        colour,
        zone: TimeZone::UTC,
        netns: Some(4_026_531_840),
        dated: false,
    };
    let mut out = Vec::new();
    let mut view = Lines::new(&mut out, look).expect("written");
    assert_eq!(show(&mut view), 14);
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
    assert_eq!(show(&mut view), 14);
    drop(view);
    let text = String::from_utf8(out).expect("UTF-8");
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    insta::assert_snapshot!("json", text);
}
