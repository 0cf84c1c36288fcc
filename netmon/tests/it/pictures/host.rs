//! The sample host: a web server with a database, in an hour of a night in which a server behind it
//! fails. Nothing is by chance, so that the hour is the same each time.

use std::{ops::Range, sync::Arc, time::Duration};

use crate::sample_events::{socket, transition};
use netmon::testing::{
    Anchor, Event, Mono, Opening, Owner, Protocol, ResetSide, TcpState, TimeSpan, Totals, Wall,
};

/// Names of the ports.
pub(super) const SERVICES: &[u8] =
    b"ssh 22/tcp\nhttp 80/tcp\nhttps 443/tcp\npostgresql 5432/tcp\ndomain 53/udp\nntp 123/udp\n";

/// The beginning of the hour, 02:30, on both clocks.
const BEGIN: Anchor =
    Anchor { monotonic: Mono::BOOT, wall: Wall::from_nanos(1_773_455_400_000_000_000) };
/// The seconds of an hour and of a minute.
const HOUR: i64 = 3_600;
const MINUTE: i64 = 60;
/// The seconds in which the server behind fails: from 03:12:04 on.
const FAILURE: Range<i64> = 2_524..2_551;
/// The microseconds of a second.
const SECOND: i64 = 1_000_000;

/// The hour.
pub(super) const SPAN: TimeSpan = TimeSpan { from: BEGIN.wall, to: wall(HOUR) };
/// A time of which a journal has nothing.
pub(super) const GAP: TimeSpan = TimeSpan { from: wall(1_260), to: wall(1_421) };

/// The moment so many seconds after the beginning of the hour.
const fn wall(seconds: i64) -> Wall {
    Wall::from_nanos(BEGIN.wall.as_nanos() + seconds * 1_000 * SECOND)
}

/// The moment so many microseconds after the beginning of the hour.
pub(super) fn at(us: u64) -> Anchor {
    let length = Duration::from_micros(us);
    Anchor { monotonic: BEGIN.monotonic + length, wall: BEGIN.wall + length }
}

/// Everything that happens on the host in the hour.
pub(super) fn events() -> impl Iterator<Item = (Mono, Event)> {
    let mut host = Host::default();
    host.begin();
    (0..HOUR).for_each(|second| host.second(second));
    host.events.sort_by_key(|(time, _)| *time);
    host.events.into_iter()
}

/// The steps of a connection: the microseconds since its beginning, and the state from then on.
type Steps = [(i64, TcpState)];

const LISTENING: &Steps = &[(0, TcpState::Listen)];
const KEPT: &Steps = &[(0, TcpState::SynRecv), (800, TcpState::Established)];
const CLOSED_BY_SERVER: &Steps = &[
    (0, TcpState::SynRecv),
    (18_300, TcpState::Established),
    (242_900, TcpState::FinWait1),
    (243_100, TcpState::FinWait2),
    (262_400, TcpState::TimeWait),
];
const CLOSED_BY_CLIENT: &Steps = &[
    (0, TcpState::SynRecv),
    (31_700, TcpState::Established),
    (910_200, TcpState::CloseWait),
    (910_900, TcpState::LastAck),
    (942_800, TcpState::Close),
];
const ASKED: &Steps = &[
    (0, TcpState::SynSent),
    (410, TcpState::Established),
    (38_200, TcpState::CloseWait),
    (38_260, TcpState::LastAck),
    (38_700, TcpState::Close),
];
const REFUSED: &Steps = &[(0, TcpState::SynSent), (390, TcpState::Close)];
const FETCHED: &Steps = &[
    (0, TcpState::SynSent),
    (16_200, TcpState::Established),
    (148_700, TcpState::FinWait1),
    (164_900, TcpState::FinWait2),
    (165_100, TcpState::TimeWait),
];

/// The end of a connection: the error that a RST brought, and the bytes sent and received.
#[derive(Clone, Copy)]
struct Ending(Option<u8>, u64, u64);

const OPEN: Ending = Ending(None, 0, 0);
const ECONNREFUSED: u8 = 111;
const ECONNRESET: u8 = 104;

/// A process: its number and its name.
type Program = (u32, &'static str);

const NGINX: Program = (812, "nginx");
/// The process of nginx that serves.
const WORKER: Program = (813, "nginx");
const POSTGRES: Program = (932, "postgres");

/// A socket in a listing: its protocol and state, both ends, both queues, and its processes.
type Listed = (Protocol, TcpState, &'static str, &'static str, [u32; 2], &'static [Program]);

/// The sockets of the host at a quiet moment.
pub(super) const SOCKETS: &[Listed] = {
    use Protocol::{Tcp, Udp};
    use TcpState::{Close, CloseWait, Established, Listen, SynSent, TimeWait};
    const WEB: &[Program] = &[NGINX, WORKER];
    const NONE: &str = "0.0.0.0:0";
    &[
        (Tcp, Listen, "0.0.0.0:22", NONE, [0, 128], &[(641, "sshd")]),
        (Tcp, Listen, "0.0.0.0:443", NONE, [0, 511], WEB),
        (Tcp, Listen, "192.0.2.10:5432", NONE, [0, 244], &[POSTGRES]),
        (Tcp, Established, "192.0.2.10:22", "198.51.100.7:50412", [0, 36], &[(4020, "sshd")]),
        (Tcp, Established, "192.0.2.10:443", "203.0.113.61:58112", [0, 0], &[WORKER]),
        (Tcp, CloseWait, "192.0.2.10:443", "203.0.113.96:40127", [1, 0], &[WORKER]),
        (Tcp, TimeWait, "192.0.2.10:443", "198.51.100.23:51877", [0, 0], &[]),
        (Tcp, Established, "192.0.2.10:5432", "192.0.2.20:48730", [0, 0], &[(5377, "postgres")]),
        (Tcp, SynSent, "192.0.2.10:42087", "203.0.113.80:443", [0, 1], &[(5241, "curl")]),
        (Tcp, Listen, "[::]:443", "[::]:0", [0, 511], WEB),
        (Tcp, Established, "[2001:db8::10]:443", "[2001:db8:7::51]:61002", [0, 0], &[WORKER]),
        (Udp, Close, "127.0.0.1:53", NONE, [0, 0], &[(700, "unbound")]),
        (Udp, Established, "192.0.2.10:123", "192.0.2.1:123", [0, 0], &[(655, "chronyd")]),
    ]
};

/// The process behind a connection, and its part. A connection is accepted from a listener.
#[derive(Clone, Copy)]
enum By {
    Listen(Program),
    Connect(Program),
    Accept(u64, Program),
}

#[derive(Default)]
struct Host {
    events: Vec<(Mono, Event)>,
    /// The number of sockets.
    sockets: u64,
    /// The number of visits to the web server.
    visits: i64,
}

impl Host {
    /// Opens the listeners, and the connections that are there at the beginning of the hour.
    fn begin(&mut self) {
        self.events.push((Mono::MIN, Event::Anchor(BEGIN)));
        for (program, local, none) in [
            ((641, "sshd"), "0.0.0.0:22", "0.0.0.0:0"),
            (NGINX, "0.0.0.0:443", "0.0.0.0:0"),
            (NGINX, "[::]:443", "[::]:0"),
            (POSTGRES, "192.0.2.10:5432", "0.0.0.0:0"),
        ] {
            let begin = -9 * 24 * HOUR * SECOND;
            self.connection(By::Listen(program), (local, none), begin, LISTENING, OPEN);
        }
        let database = "192.0.2.10:5432";
        for (begin, by, ends) in [
            (-95 * MINUTE, By::Accept(1, (4020, "sshd")), ("192.0.2.10:22", "198.51.100.7:50412")),
            (-41 * MINUTE, By::Accept(2, WORKER), ("192.0.2.10:443", "203.0.113.61:58112")),
            (1_301, By::Accept(3, WORKER), ("[2001:db8::10]:443", "[2001:db8:7::51]:61002")),
            (FAILURE.end + 2, By::Accept(4, (5377, "postgres")), (database, "192.0.2.20:48730")),
        ] {
            self.connection(by, ends, begin * SECOND, KEPT, OPEN);
        }
        let begin = -312 * MINUTE * SECOND;
        let mut lost = |pid, port, steps: &Steps, ending| {
            let ends = (database, &*format!("192.0.2.20:{port}"));
            let by = By::Accept(4, (pid, "postgres"));
            self.connection(by, ends, begin, &[KEPT, steps].concat(), ending);
        };
        // Of two connections of the server that fails, a process keeps one that is half closed.
        let failed_at = FAILURE.start * SECOND - begin;
        let reset = (failed_at + 107_311, TcpState::Close);
        lost(4101, 41_222, &[reset], Ending(Some(ECONNRESET), 48_213_007, 3_511_920));
        lost(4102, 41_224, &[(failed_at + 9_804, TcpState::CloseWait)], OPEN);
    }

    /// Serves the visits of a second, and fetches something once a minute.
    fn second(&mut self, second: i64) {
        let minute = second / MINUTE;
        let visits = 1 + (minute % 14 - 7).abs() / 2 + second * 7 % 3;
        for visit in 0..visits {
            self.visits += 1;
            let begin = second * SECOND + visit * SECOND / visits + self.visits * 7_919 % 90_000;
            self.visit(begin, FAILURE.contains(&second));
        }
        if second % MINUTE == 6 {
            let program = (5_200 + u32::try_from(minute).expect("a minute"), "curl");
            let local = format!("192.0.2.10:{}", 33_000 + minute * 311);
            let (ends, begin) = ((&*local, "203.0.113.80:443"), second * SECOND + 241_309);
            let ending = Ending(None, 517, 4_321_987);
            self.connection(By::Connect(program), ends, begin, FETCHED, ending);
        }
    }

    /// Serves a visit. Every fifth takes an answer of the server behind.
    fn visit(&mut self, begin: i64, has_failed: bool) {
        let visit = self.visits;
        let (client, port) = (visit * 37 % 250 + 1, 32_768 + visit * 101 % 28_000);
        let (listener, local, remote) = match visit % 5 {
            0 => (3, "[2001:db8::10]:443", format!("[2001:db8:7::{client:x}]:{port}")),
            1 => (2, "192.0.2.10:443", format!("198.51.100.{client}:{port}")),
            _ => (2, "192.0.2.10:443", format!("203.0.113.{client}:{port}")),
        };
        let pace = |steps: &Steps| -> Vec<_> {
            let percent = 80 + visit * 13 % 41;
            steps.iter().map(|(after, state)| (after * percent / 100, *state)).collect()
        };
        let steps = if visit % 4 == 0 { CLOSED_BY_CLIENT } else { CLOSED_BY_SERVER };
        let ending = Ending(None, (visit * 977 % 60_000).unsigned_abs(), 517);
        let (by, ends) = (By::Accept(listener, WORKER), (local, &*remote));
        self.connection(by, ends, begin, &pace(steps), ending);
        if visit % 5 == 2 {
            let local = format!("192.0.2.10:{}", 33_000 + visit * 53 % 27_000);
            let (steps, ending) = match has_failed {
                true => (REFUSED, Ending(Some(ECONNREFUSED), 0, 0)),
                false => (ASKED, Ending(None, 412, 18_033)),
            };
            let ends = (&*local, "192.0.2.20:8080");
            self.connection(By::Connect(WORKER), ends, begin + 24_100, &pace(steps), ending);
        }
    }

    /// Adds the events of a connection.
    fn connection(
        &mut self,
        by: By,
        ends: (&str, &str),
        begin: i64,
        steps: &Steps,
        ending: Ending,
    ) {
        self.sockets += 1;
        let owner = |(pid, comm): Program| {
            let comm = comm.as_bytes().into();
            let (real_uid, cgroup, process) = (Some(33), None, None);
            Arc::new(Owner { pid, host_pid: 0, uid: 33, real_uid, cgroup, comm, process })
        };
        let (mut old, mut opening) = match by {
            By::Listen(program) | By::Connect(program) => {
                (TcpState::Close, Opening::ByProcess(Some(owner(program))))
            }
            By::Accept(listener, _) => {
                (TcpState::Listen, Opening::FromListener(Some(socket(listener))))
            }
        };
        let Ending(errno, bytes_sent, bytes_received) = ending;
        // The kernel keeps a TIME_WAIT for a minute.
        let expired = steps.last().filter(|(_, state)| *state == TcpState::TimeWait);
        let expired = expired.map(|(after, _)| (after + MINUTE * SECOND, TcpState::Close));
        for (after, new) in steps.iter().copied().chain(expired) {
            let time = Mono::from_nanos((begin + after) * 1_000);
            let mut step = transition(0, self.sockets, ends, old, new);
            (step.time, step.opening) = (time, std::mem::take(&mut opening));
            step.orphan = new == TcpState::FinWait2;
            if step.is_last() && old != TcpState::TimeWait {
                step.errno = errno;
                step.reset = errno.map(|_| ResetSide::Received);
                step.totals = Some(Totals {
                    bytes_sent: Some(bytes_sent),
                    bytes_received: Some(bytes_received),
                    ..Totals::default()
                });
            }
            let cookie = step.cookie;
            self.events.push((time, Event::Transition(step)));
            if let (By::Accept(_, program), TcpState::Established) = (by, new) {
                let owner = owner(program);
                self.events.push((time, Event::Accepted { time, cookie, owner }));
            }
            old = new;
        }
    }
}
