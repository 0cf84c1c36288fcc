//! Makes connections over loopback, and tests whether netmon sees their transitions and at what
//! cost.
//!
//! Every wait is bounded: loopback may be down or filtered, and the machine slow.

use std::{
    collections::VecDeque,
    io::{self, Read},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
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

use super::expected::{EXPECTED, Ports, missing};
use super::findings::REPORT;
use crate::{
    core::{
        event::{Event, Transition},
        finding::{Finding, FindingState},
        loss::Loss,
    },
    kernel::{
        Live, Namespace,
        host::privilege,
        program::{
            error::errno_text,
            hook_catalog::{ON_TRANSITIONS, follows_processes},
        },
        stream::dump_schedule::RARE,
    },
    session::Source,
};

/// The time within which transitions must come out, on an emulated machine too.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time limit of one step of a connection.
const STEP: Duration = Duration::from_secs(3);
/// The advice where comparisons are rare.
const COMPARE_AT_ONCE: &str = "`netmon verify` compares at once";
/// The number of connections to measure with. Each leaves a TIME_WAIT bucket.
const LOAD: usize = 200;
/// The number of programs to measure with.
const PROGRAMS: usize = 50;
/// The time limit of these connections, and of these programs.
const LOAD_TIME: Duration = Duration::from_secs(3);

/// Makes connections over loopback, reads their transitions, and returns the findings. Detaches the
/// hooks.
///
/// # Errors
/// The error of reading the kernel's records.
pub(crate) async fn run(live: &mut Live) -> io::Result<Vec<Finding>> {
    let mut test = Test { events: VecDeque::new(), seen: Vec::new(), lost: Vec::new() };
    // The sockets that existed before come first.
    let begin = Instant::now();
    while !live.is_seeded() && begin.elapsed() < PATIENCE {
        test.read(live).await?;
    }
    let comparisons = if live.is_seeded() {
        comparisons(live.dump_distance(), live.attachment().walk.is_ok())
    } else {
        let detail = format!("the first one has not ended after {} s", PATIENCE.as_secs());
        Finding::new("comparisons", FindingState::Degraded, detail)
            .because("a change that no event reports is corrected late", COMPARE_AT_ONCE)
    };
    let (finding, costs) = match test.one_connection(live).await? {
        Ok(finding) => (finding, test.costs(live).await?),
        Err(error) => {
            (no_connection(&error), vec![Finding::new("cost", FindingState::Ok, "not measured")])
        }
    };
    live.finish(&mut test.events).await?;
    test.take();
    Ok([comparisons, finding].into_iter().chain(costs).chain([test.losses()]).collect())
}

/// Returns the finding about comparisons with the kernel's tables; `distance` is the time between
/// two, none if the first has failed.
fn comparisons(distance: Option<Duration>, has_walk: bool) -> Finding {
    let Some(distance) = distance else {
        return Finding::new("comparisons", FindingState::Degraded, "the first one failed")
            .because(
                "a change that no event reports is not corrected",
                "read the warning above, and look for a limit of threads, descriptors or memory",
            );
    };
    let seconds = distance.as_secs();
    let detail =
        format!("after a change, the table is compared with the kernel's every {seconds} s");
    if distance <= RARE {
        return Finding::new("comparisons", FindingState::Ok, detail);
    }
    Finding::new("comparisons", FindingState::Degraded, detail).because(
        "a comparison costs so much that netmon keeps to 2 % of a core: a change that no event \
         reports is corrected that late",
        if has_walk {
            COMPARE_AT_ONCE
        } else {
            "Linux 5.19 or newer, with BTF, reads all namespaces in one walk"
        },
    )
}

fn no_connection(error: &io::Error) -> Finding {
    let detail = format!("a connection over loopback could not be made: {}", errno_text(error));
    Finding::new("self-test", FindingState::Degraded, detail)
        .because("it is unknown whether transitions come out", "ip link set lo up")
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

    /// Reads transitions while `work` runs on a separate thread. Returns the result of `work`.
    async fn meanwhile<T: Send + 'static>(
        &mut self,
        live: &mut Live,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<io::Result<T>> {
        let thread = thread::Builder::new().name("netmon:selftest".to_owned());
        let working = thread.spawn(|| {
            privilege::narrow(&[])?;
            work()
        })?;
        while !working.is_finished() {
            self.read(live).await?;
        }
        Ok(working.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked"))))
    }

    /// Makes one connection. Returns a finding about its transitions.
    async fn one_connection(&mut self, live: &mut Live) -> io::Result<io::Result<Finding>> {
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
        let seen = expected - left.len();
        let summary = format!(
            "{seen} of {expected} transitions of a connection over loopback came out within \
             {:.1} ms",
            took.as_secs_f64() * 1e3
        );
        let finding = if left.is_empty() {
            Finding::new("self-test", FindingState::Ok, summary)
        } else {
            let state = if seen == 0 { FindingState::Failed } else { FindingState::Degraded };
            Finding::new("self-test", state, format!("{summary}; missing: {}", left.join(", ")))
                .because("transitions are missed: dumps infer them, some seconds late", REPORT)
        };
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let finding = finding.number("expected", expected as u64).number("seen", seen as u64);
        Ok(Ok(finding.number("took_us", took)))
    }

    /// Returns the cost of the programs for each transition, and for each process.
    async fn costs(&mut self, live: &mut Live) -> io::Result<Vec<Finding>> {
        let not_measured =
            |why: String| Finding::new("cost", FindingState::Ok, format!("not measured: {why}"));
        // Dropping it turns the statistics off.
        let _stats = match enable_stats(Stats::RunTime) {
            Ok(stats) => stats,
            Err(error) => {
                let why = errno_text(&error.io_error);
                return Ok(vec![not_measured(format!(
                    "the kernel answered {why}; it takes CAP_SYS_ADMIN"
                ))]);
            }
        };
        let before = runs(live);
        let load = || converse(LOAD, LOAD_TIME).map(|_| ()).and(run_programs(PROGRAMS, LOAD_TIME));
        if let Err(error) = self.meanwhile(live, load).await? {
            log::debug!("not as many connections or programs as wanted: {error}");
        }
        let after = runs(live);
        let costs = after
            .iter()
            .zip(&before)
            .map(|(after, before)| Cost {
                program: after.program,
                runs: after.runs.saturating_sub(before.runs),
                time: after.time.saturating_sub(before.time),
            })
            .filter(|cost| cost.runs > 0);
        let is_of_process = |cost: &Cost| follows_processes(cost.program);
        let (of_processes, mut costs): (Vec<Cost>, Vec<Cost>) = costs.partition(is_of_process);
        let processes = process_costs(live, &of_processes);
        costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
        let is_main = |cost: &&Cost| ON_TRANSITIONS.contains(&cost.program);
        let transitions = costs.iter().find(is_main).map_or(0, |cost| cost.runs);
        let total: u64 = costs.iter().map(|cost| cost.time).sum();
        let Some(mean) = total.checked_div(transitions) else {
            return Ok(vec![not_measured("no program has run".to_owned())]);
        };
        let each = each(&costs);
        let detail = format!(
            "{mean} ns for each of {transitions} transitions, in the kernel, measuring included \
             ({each} a run)"
        );
        let finding = Finding::new("cost", FindingState::Ok, detail)
            .number("mean_ns", mean)
            .number("transitions", transitions)
            .text("programs", each);
        Ok([finding].into_iter().chain(processes).collect())
    }

    /// Returns the losses of the whole host during the test.
    fn losses(&self) -> Finding {
        let count_of = |loss: Loss| {
            self.lost
                .iter()
                .filter(|(reason, _)| *reason == loss)
                .map(|(_, count)| count)
                .sum::<u64>()
        };
        let counts: Vec<_> = Loss::ALL
            .into_iter()
            .map(|loss| (loss, count_of(loss)))
            .filter(|(_, n)| *n > 0)
            .collect();
        let total = counts.iter().map(|(_, count)| count).sum();
        if total == 0 {
            return Finding::new("lost", FindingState::Ok, "0 events").number("count", 0);
        }
        let each: Vec<_> =
            counts.iter().map(|(loss, count)| format!("{} {count}", loss.name())).collect();
        let advice = if count_of(Loss::RingFull) > 0 {
            "a larger --buffer"
        } else if count_of(Loss::Malformed) > 0 {
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

/// The number of runs of a program, and their time, ns.
struct Cost {
    program: &'static str,
    runs: u64,
    time: u64,
}

/// Returns the costs of a run as text.
fn each(costs: &[Cost]) -> String {
    let each = |cost: &Cost| format!("{} {} ns", cost.program, cost.time / cost.runs);
    costs.iter().map(each).collect::<Vec<_>>().join(", ")
}

/// Returns the finding about the programs that follow processes, if they are attached.
fn process_costs(live: &Live, costs: &[Cost]) -> Option<Finding> {
    let attached = live.programs().filter(|(name, _)| follows_processes(name));
    let new = |state, detail| Finding {
        name: "processes".to_owned(),
        ..Finding::new("cost", state, detail)
    };
    match (costs.len(), attached.count()) {
        (_, 0) => None,
        (run, attached) if run < attached => Some(
            new(FindingState::Degraded, "a hook of processes did not run".to_owned())
                .because("owners have a former program, or none", REPORT),
        ),
        _ => {
            let detail = format!("{} a run, in the kernel, measuring included", each(costs));
            Some(new(FindingState::Ok, detail).text("programs", each(costs)))
        }
    }
}

fn runs(live: &Live) -> Vec<Cost> {
    let cost = |(program, loaded): (&'static str, &Program)| {
        let info = loaded.info().inspect_err(|error| log::debug!("{program}: {error}")).ok();
        let (runs, time) = info.map_or((0, 0), |info| {
            (info.run_count(), u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX))
        });
        Cost { program, runs, time }
    };
    live.programs().map(cost).collect()
}

/// Makes and closes `count` connections, one after the other, for `time` at most. Returns the ports
/// of the last one.
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

/// Runs netmon itself `count` times, one after the other, for `time` at most.
fn run_programs(count: usize, time: Duration) -> io::Result<()> {
    let end = Instant::now() + time;
    for _ in 0..count {
        if Instant::now() >= end {
            break;
        }
        let mut command = Command::new("/proc/self/exe");
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status()?;
    }
    Ok(())
}

/// Makes one connection, which the client closes first. Returns the client's port.
fn connect(listener: &TcpListener, address: SocketAddr) -> io::Result<u16> {
    let mut client = TcpStream::connect_timeout(&address, STEP)?;
    let own = client.local_addr()?;
    let end = Instant::now() + STEP;
    let mut server = loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut ready, Some(&left)) {
            // A signal interrupted the wait: the loop computes the remaining time again.
            Err(Errno::INTR) => continue,
            result if result? == 0 => return Err(io::ErrorKind::TimedOut.into()),
            _ => {}
        }
        let (server, peer) = listener.accept()?;
        // Any process may connect to the listener.
        if peer == own {
            break server;
        }
    };
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(STEP))?;
    }
    client.shutdown(Shutdown::Write)?;
    server.read_exact(&mut [0]).or_else(expect_end)?;
    drop(server);
    client.read_exact(&mut [0]).or_else(expect_end)?;
    Ok(own.port())
}

/// Accepts the end of the stream, which the read waits for.
fn expect_end(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) }
}
