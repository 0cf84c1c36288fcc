//! Connections of netmon's own over loopback: whether their transitions come out, and what they
//! cost.
//!
//! Every wait is bounded: loopback may be down or filtered, and the machine slow.

use std::{
    collections::VecDeque,
    io::{self, Read},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use aya::{
    programs::Program,
    sys::{Stats, enable_stats},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    core::{
        event::{Event, Loss, Transition},
        finding::{Finding, FindingState},
        tcp::TcpState::{
            self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
            SynSent, TimeWait,
        },
    },
    kernel::{
        Live, Namespace,
        host::privilege,
        program::{error::errno_text, hook_catalog},
    },
    session::Source,
};

/// How long transitions may take to come out, on an emulated machine too.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one step of a connection may take.
const STEP: Duration = Duration::from_secs(3);
/// Connections to measure with, and for how long at most. Each leaves a TIME_WAIT.
const LOAD: usize = 200;
const LOAD_TIME: Duration = Duration::from_secs(3);

/// Whose transition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Listener,
    Client,
    Server,
}

/// What a connection does that is closed by its client first.
const EXPECTED: [(Side, TcpState, TcpState); 12] = [
    (Side::Listener, Close, Listen),
    (Side::Client, Close, SynSent),
    (Side::Client, SynSent, Established),
    (Side::Server, Listen, SynRecv),
    (Side::Server, SynRecv, Established),
    (Side::Client, Established, FinWait1),
    (Side::Client, FinWait1, FinWait2),
    (Side::Server, Established, CloseWait),
    (Side::Server, CloseWait, LastAck),
    (Side::Server, LastAck, Close),
    (Side::Client, FinWait2, TimeWait),
    (Side::Listener, Listen, Close),
];

/// Where the connection was.
struct Ports {
    netns: Option<u32>,
    listener: u16,
    client: u16,
}

impl Ports {
    /// Whose transition that is, if it is one of this connection's.
    fn side(&self, transition: &Transition) -> Option<Side> {
        let tuple = &transition.tuple;
        let (local, remote) = (tuple.local.port(), tuple.remote.port());
        if self.netns.is_some_and(|netns| netns != tuple.netns) {
            None
        } else if (local, remote) == (self.client, self.listener) {
            Some(Side::Client)
        } else if (local, remote) == (self.listener, self.client) {
            Some(Side::Server)
        } else if local == self.listener && [transition.old, transition.new].contains(&Listen) {
            Some(Side::Listener)
        } else {
            None
        }
    }
}

/// Which of the expected transitions are not among the `seen`.
fn missing(ports: &Ports, seen: &[Transition]) -> Vec<String> {
    let is_missing = |(side, old, new): &&(Side, TcpState, TcpState)| {
        !seen.iter().any(|transition| {
            // Where the kernel has no bucket to spare there is no TIME_WAIT.
            let is_new = transition.new == *new || (*new == TimeWait && transition.new == Close);
            ports.side(transition) == Some(*side) && transition.old == *old && is_new
        })
    };
    let of = |(side, old, new): &(Side, TcpState, TcpState)| {
        let whose = match side {
            Side::Listener => "listener",
            Side::Client => "client",
            Side::Server => "server",
        };
        format!("{whose} {old} -> {new}")
    };
    EXPECTED.iter().filter(is_missing).map(of).collect()
}

/// Makes connections over loopback, has their transitions read, and says what came of it. Detaches
/// the hooks.
///
/// # Errors
/// What reading the kernel's records answered.
pub async fn run(live: &mut Live) -> io::Result<Vec<Finding>> {
    let mut test = Test { events: VecDeque::new(), seen: Vec::new(), lost: Vec::new() };
    // What was there before comes first.
    test.read(live).await?;
    let (found, cost) = match test.one(live).await? {
        Ok(found) => (found, test.cost(live).await?),
        Err(error) => (unopened(&error), Finding::new("cost", FindingState::Ok, "not measured")),
    };
    live.finish(&mut test.events).await?;
    test.take();
    Ok(vec![found, cost, test.losses()])
}

fn unopened(error: &io::Error) -> Finding {
    let detail = format!("a connection over loopback could not be made: {}", errno_text(error));
    Finding::new("self-test", FindingState::Degraded, detail)
        .because("whether transitions come out is not known", "ip link set lo up")
}

struct Test {
    events: VecDeque<Event>,
    seen: Vec<Transition>,
    lost: Vec<(Loss, u64)>,
}

impl Test {
    async fn read(&mut self, live: &mut Live) -> io::Result<()> {
        live.next(&mut self.events).await?;
        self.take();
        Ok(())
    }

    fn take(&mut self) {
        for event in self.events.drain(..) {
            match event {
                Event::Transition(transition) => self.seen.push(transition),
                Event::Lost(gap) => self.lost.push((gap.loss, gap.count)),
                _ => {}
            }
        }
    }

    /// What `work` answers, done aside while transitions are read.
    async fn meanwhile<T: Send + 'static>(
        &mut self,
        live: &mut Live,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<io::Result<T>> {
        let working = thread::Builder::new().spawn(|| {
            privilege::narrow(&[])?;
            work()
        })?;
        while !working.is_finished() {
            self.read(live).await?;
        }
        Ok(working.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked"))))
    }

    /// One connection, and whether all that it does comes out.
    async fn one(&mut self, live: &mut Live) -> io::Result<io::Result<Finding>> {
        let begin = Instant::now();
        let ports = match self.meanwhile(live, || converse(1, STEP)).await? {
            Ok((listener, client)) => {
                let netns = Namespace::current().ok().map(|own| own.inum);
                Ports { netns, listener, client }
            }
            Err(error) => return Ok(Err(error)),
        };
        let mut left = missing(&ports, &self.seen);
        while !left.is_empty() && begin.elapsed() < PATIENCE {
            self.read(live).await?;
            left = missing(&ports, &self.seen);
        }
        let (expected, took) = (EXPECTED.len(), begin.elapsed());
        let came = expected - left.len();
        let told = format!(
            "{came} of {expected} transitions of a connection over loopback came out within {:.1} ms",
            took.as_secs_f64() * 1e3
        );
        let found = if left.is_empty() {
            Finding::new("self-test", FindingState::Ok, told)
        } else {
            let state = if came == 0 { FindingState::Failed } else { FindingState::Degraded };
            Finding::new("self-test", state, format!("{told}; missing: {}", left.join(", ")))
                .because(
                    "transitions are missed: what a dump finds is inferred, some seconds late",
                    "report it, with what `netmon -v doctor` says",
                )
        };
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let found = found.number("expected", expected as u64).number("seen", came as u64);
        Ok(Ok(found.number("took_us", took)))
    }

    /// What the programs take for each transition.
    async fn cost(&mut self, live: &mut Live) -> io::Result<Finding> {
        let not =
            |why: String| Finding::new("cost", FindingState::Ok, format!("not measured: {why}"));
        // Given back when it is dropped.
        let _stats = match enable_stats(Stats::RunTime) {
            Ok(stats) => stats,
            Err(error) => {
                let why = errno_text(&error.io_error);
                return Ok(not(format!("the kernel answered {why}; it takes CAP_SYS_ADMIN")));
            }
        };
        let before = runs(live);
        if let Err(error) = self.meanwhile(live, || converse(LOAD, LOAD_TIME)).await? {
            log::debug!("not as many connections as wanted: {error}");
        }
        let mut costs: Vec<Cost> = runs(live)
            .iter()
            .zip(&before)
            .map(|(after, before)| Cost {
                program: after.program,
                runs: after.runs.saturating_sub(before.runs),
                time: after.time.saturating_sub(before.time),
            })
            .filter(|cost| cost.runs > 0)
            .collect();
        costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
        let is_main = |cost: &&Cost| hook_catalog::ON_TRANSITIONS.contains(&cost.program);
        let transitions = costs.iter().find(is_main).map_or(0, |cost| cost.runs);
        let total: u64 = costs.iter().map(|cost| cost.time).sum();
        let Some(mean) = total.checked_div(transitions) else {
            return Ok(not("no program has run".to_owned()));
        };
        let each = |cost: &Cost| format!("{} {} ns", cost.program, cost.time / cost.runs);
        let each: Vec<String> = costs.iter().map(each).collect();
        let detail = format!(
            "{mean} ns for each of {transitions} transitions, in the kernel, measuring included \
             ({} a run)",
            each.join(", ")
        );
        Ok(Finding::new("cost", FindingState::Ok, detail)
            .number("mean_ns", mean)
            .number("transitions", transitions)
            .text("programs", each.join(", ")))
    }

    /// What was lost meanwhile, of the whole host's.
    fn losses(&self) -> Finding {
        let of = |loss: Loss| {
            self.lost.iter().filter(|(of, _)| *of == loss).map(|(_, count)| count).sum::<u64>()
        };
        let counts: Vec<_> =
            Loss::ALL.into_iter().map(|loss| (loss, of(loss))).filter(|(_, n)| *n > 0).collect();
        let total = counts.iter().map(|(_, count)| count).sum();
        if total == 0 {
            return Finding::new("lost", FindingState::Ok, "0 events").number("count", 0);
        }
        let each: Vec<_> =
            counts.iter().map(|(loss, count)| format!("{} {count}", loss.name())).collect();
        let advice = if of(Loss::RingFull) > 0 {
            "a larger --buffer"
        } else if of(Loss::Malformed) > 0 {
            "rebuild netmon: the object is of another version"
        } else {
            ""
        };
        Finding::new(
            "lost",
            FindingState::Degraded,
            format!("{total} events ({})", each.join(", ")),
        )
        .because("dumps repair the table, some seconds late; the lines are missing", advice)
        .number("count", total)
    }
}

/// How often a program has run, and for how long, ns.
struct Cost {
    program: &'static str,
    runs: u64,
    time: u64,
}

fn runs(live: &Live) -> Vec<Cost> {
    let of = |(program, loaded): (&'static str, &Program)| {
        let info = loaded.info().inspect_err(|error| log::debug!("{program}: {error}")).ok();
        let (runs, time) = info.map_or((0, 0), |info| {
            (info.run_count(), u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX))
        });
        Cost { program, runs, time }
    };
    live.programs().map(of).collect()
}

/// Makes and closes `count` connections, one after the other, until `time` is over; the ports of
/// the last.
fn converse(count: usize, time: Duration) -> io::Result<(u16, u16)> {
    let end = Instant::now() + time;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut port = connect(&listener, address)?;
    for _ in 1..count {
        if Instant::now() >= end {
            break;
        }
        port = connect(&listener, address)?;
    }
    Ok((address.port(), port))
}

/// One connection, which its client closes first; the client's port.
fn connect(listener: &TcpListener, address: SocketAddr) -> io::Result<u16> {
    let mut client = TcpStream::connect_timeout(&address, STEP)?;
    let own = client.local_addr()?;
    let end = Instant::now() + STEP;
    let mut server = loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut ready, Some(&left)) {
            // Only a signal came, and the time that is left is known anew.
            Err(Errno::INTR) => continue,
            result if result? == 0 => return Err(io::ErrorKind::TimedOut.into()),
            _ => {}
        }
        let (server, peer) = listener.accept()?;
        // Anybody may connect to it.
        if peer == own {
            break server;
        }
    };
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(STEP))?;
    }
    client.shutdown(Shutdown::Write)?;
    server.read_exact(&mut [0]).or_else(ended)?;
    drop(server);
    client.read_exact(&mut [0]).or_else(ended)?;
    Ok(own.port())
}

/// The end is what is read for.
fn ended(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::{Opening, Tuple};

    fn transition(local: u16, remote: u16, old: TcpState, new: TcpState) -> Transition {
        let end = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Transition {
            time: 0,
            cookie: 1,
            tuple: Tuple { netns: 7, local: end(local), remote: end(remote) },
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

    #[test]
    fn what_is_missing_is_told_by_side_and_states() {
        let ports = Ports { netns: Some(7), listener: 80, client: 5000 };
        let mut seen: Vec<_> = EXPECTED
            .iter()
            .map(|(side, old, new)| match side {
                Side::Listener => transition(80, 0, *old, *new),
                Side::Client => transition(5000, 80, *old, *new),
                Side::Server => transition(80, 5000, *old, *new),
            })
            .collect();
        assert_eq!(missing(&ports, &seen), Vec::<String>::new());
        // No bucket was left for a TIME_WAIT.
        seen[10].new = Close;
        assert_eq!(missing(&ports, &seen), Vec::<String>::new());
        seen.remove(6);
        assert_eq!(missing(&ports, &seen), ["client FIN_WAIT1 -> FIN_WAIT2"]);
        let elsewhere = Ports { netns: Some(8), ..ports };
        assert_eq!(missing(&elsewhere, &seen).len(), EXPECTED.len());
    }
}
