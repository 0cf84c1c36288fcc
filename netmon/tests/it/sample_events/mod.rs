//! Sample events for the tests of views, of `netmon top` and of journals.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use netmon::testing::{
    Ancestor, Anchor, Arguments, Binding, Cgroup, DumpScope, Event, Gap, KnownProcess, Login, Loss,
    Mono, Namespaces, Opening, Owner, Program, ResetSide, Seed, SocketId, TcpState, Totals,
    Transition, Tuple, Wall,
};

/// The socket with a number that is not 0.
pub(crate) fn socket(number: u64) -> SocketId {
    SocketId::new(number).expect("not 0")
}

/// The moment so many milliseconds after the boot.
pub(crate) fn at_ms(ms: i64) -> Mono {
    Mono::from_nanos(ms * 1_000_000)
}

/// A transition at a moment, ms after the boot.
pub(crate) fn transition(
    ms: i64,
    cookie: u64,
    ends: (&str, &str),
    old: TcpState,
    new: TcpState,
) -> Transition {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let tuple =
        Tuple { netns: 4_026_531_840, interface: 0, local: end(ends.0), remote: end(ends.1) };
    Transition { time: at_ms(ms), ..Transition::bare(socket(cookie), tuple, old, new) }
}

fn on_loopback(mut event: Transition) -> Transition {
    event.tuple.interface = 1;
    event.binding.device = Some("lo".into());
    event
}

fn elsewhere(mut event: Transition) -> Transition {
    event.tuple.netns = 4_026_532_200;
    event
}

/// A process as netmon follows it.
pub(crate) fn process(arguments: &[u8]) -> KnownProcess {
    let program = |path: &[u8], arguments| {
        Arc::new(Program { path: path.into(), is_deleted: false, arguments })
    };
    let ancestors = [(790, &b"/usr/bin/bash"[..]), (1, b"/usr/lib/systemd/systemd")];
    KnownProcess {
        parent: 790,
        login: Some(Login { uid: 1_000, session: 3, user: Some("alice".into()) }),
        program: Some(program(b"/usr/bin/curl", Arguments::new(arguments, arguments.len() + 1))),
        namespaces: Namespaces { mnt: 4_026_531_841, pid: 4_026_531_836, user: 4_026_531_837 },
        ancestors: ancestors
            .map(|(pid, path)| Ancestor { pid, program: program(path, None) })
            .into(),
        ..KnownProcess::started_at(Wall::from_nanos(1_766_000_000_120_000_000))
    }
}

pub(crate) fn owner(pid: u32, comm: &[u8]) -> Opening {
    let process = (comm == b"curl").then(|| Arc::new(process(b"curl\0-s\0https://example.org")));
    let comm = comm.into();
    Opening::ByProcess(Some(Arc::new(Owner {
        pid,
        host_pid: 0,
        uid: 33,
        real_uid: Some(1_000),
        cgroup: Some(Arc::new(Cgroup::new(5, Some(b"/system.slice/web.service"[..].into())))),
        comm,
        process,
    })))
}

/// One event of each kind that looks different from every other kind.
pub(crate) fn sample_events() -> Vec<Event> {
    use TcpState::*;
    let web = ("10.0.0.1:43210", "93.184.216.34:443");
    let refused = ("[::1]:50000", "[::1]:81");
    let old = ("10.0.0.1:22", "10.0.0.9:60000");
    let mut events = vec![Event::Anchor(Anchor {
        monotonic: Mono::BOOT,
        wall: Wall::from_nanos(1_766_000_000_123_456_000),
    })];
    events.extend(
        [
            Transition {
                opening: owner(1, b"sshd"),
                ..transition(1, 1, ("0.0.0.0:22", "0.0.0.0:0"), Close, Listen)
            },
            Transition { opening: owner(812, b"curl"), ..transition(2, 2, web, Close, SynSent) },
            transition(18, 2, web, SynSent, Established),
            Transition {
                opening: Opening::FromListener(Some(socket(1))),
                ..transition(19, 3, old, Listen, SynRecv)
            },
            transition(20, 2, web, Established, FinWait1),
            Transition { orphan: true, ..transition(40, 2, web, FinWait1, FinWait2) },
            Transition {
                inferred: true,
                totals: Some(Totals {
                    bytes_sent: Some(517),
                    bytes_received: Some(4_321_987),
                    retransmits: Some(2),
                    rtt_us: Some(15_400),
                }),
                ..transition(62, 2, web, FinWait2, TimeWait)
            },
            Transition {
                opening: owner(900, b"\x1b[2J\"\xff"),
                ..on_loopback(transition(70, 4, refused, Close, SynSent))
            },
            Transition {
                errno: Some(111),
                reset: Some(ResetSide::Received),
                ..on_loopback(transition(71, 4, refused, SynSent, Close))
            },
            Transition { errno: Some(133), ..transition(80, 5, old, Established, Close) },
            Transition {
                opening: Opening::ByProcess(None),
                ..elsewhere(transition(90, 6, ("10.0.0.1:0", "10.0.0.2:80"), Close, SynSent))
            },
        ]
        .map(Event::Transition),
    );
    let lost = |count, loss| Event::Lost(Gap { from: at_ms(85), time: at_ms(95), count, loss });
    events.extend([lost(17, Loss::RingFull), lost(1, Loss::Recursion)]);
    // A connection whose beginning was lost, the end of a connection above, the end of a TIME_WAIT.
    let tuple = transition(0, 7, ("10.0.0.1:40000", web.1), Close, Close).tuple;
    let state = Established;
    let seed = Seed {
        time: at_ms(500),
        cookie: socket(7),
        tuple,
        binding: Binding::default(),
        state,
        minisocket: false,
        holders: Box::default(),
        young: Box::default(),
    };
    events.extend([Event::DumpEnded { time: at_ms(200) }, Event::Seed(seed)]);
    for ms in [600, 700] {
        let reconciled = Event::DumpEnded { time: at_ms(ms + 1) };
        events.extend([
            Event::Dumped { scope: DumpScope::Namespace(4_026_532_200), began: at_ms(ms) },
            reconciled,
        ]);
    }
    events.push(Event::DumpsRare { time: at_ms(702), distance: Duration::from_secs(42) });
    events.push(Event::Transition(transition(60_062, 2, web, TimeWait, Close)));
    events
}
