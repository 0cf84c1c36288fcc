//! `past`: compares netmon's view of the past with the result of SQL over the journal's files.
//!
//! The journal is recorded under full churn in namespaces of its own, with a new segment every few
//! seconds.

use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};

use super::{
    converge::networks::{Network, Parties, Process, mix},
    daemon::RunningNetmon,
    python::python,
    shell::{as_root, build_release, cargo, output, release_binary, root, run},
    workload::mix::Counts,
};

/// Namespaces of the mix, and the namespace of the plain load.
const MIXED: [u8; 2] = [0, 1];
const LOADED: u8 = 2;
/// Connections that are open from before the recording to its end, in each namespace of the mix.
const HELD: u32 = 1_000;
/// The time for which connections come and go around the beginning of the recording.
const EARLY: Duration = Duration::from_secs(4);
/// The length of a round of churn, s, and of a segment.
const ROUND: u64 = 10;
const SEGMENT: Duration = Duration::from_secs(2);
/// Events of an accepted connection at least, both ends together.
const LEAST: u64 = 6;
/// Rounds at most: a load that needs more is broken.
const ROUNDS: u32 = 100;
/// Connections of a socket that connects again, and the pause between two such sockets.
const AGAIN: u32 = 2;
const PAUSE: Duration = Duration::from_millis(5);
/// A timeout that is longer than a connection on the loopback takes.
const PATIENCE: Duration = Duration::from_secs(3);
/// The address of a few connections. They go to the address and its neighbours in turn, from
/// processes of the name [`RARE_COMM`], with a pause between two of them.
pub(crate) const RARE: Ipv4Addr = Ipv4Addr::new(127, 77, 7, 7);
const NEIGHBOURS: RangeInclusive<u8> = 1..=20;
pub(crate) const RARE_COMM: &str = "bash";
const RARELY: Duration = Duration::from_millis(200);
/// The address of a listener with a full queue.
const FULL: Ipv4Addr = Ipv4Addr::new(127, 77, 8, 1);
/// The time after which a connect without an answer is given up.
const TIMED_OUT: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(crate) struct PastCheck {
    /// Least number of events of the journal
    #[arg(long, default_value_t = 3_000_000)]
    events: u64,
    /// Moments at which netmon's table is compared with SQL's
    #[arg(long, default_value_t = 200)]
    moments: u32,
    /// Seed of the moments: the same seed draws the same moments from the same journal
    #[arg(long)]
    seed: Option<u64>,
    /// Compare an existing journal instead of recording one
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// The netmon to run, instead of a fresh build
    #[arg(long, value_name = "FILE", hide = true)]
    netmon: Option<PathBuf>,
}

impl PastCheck {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match &self.netmon {
            Some(netmon) => self.record_and_compare(netmon),
            None => start_over(),
        }
    }

    fn record_and_compare(&self, netmon: &Path) -> anyhow::Result<()> {
        let python = python("past", &["duckdb"])?;
        if let Some(journal) = &self.journal {
            return self.compare(&python, netmon, journal);
        }
        let journal = root().join(format!("target/past/journal-{}", id()));
        let compared = record(netmon, &journal, self.events, None)
            .and_then(|_| self.compare(&python, netmon, &journal));
        if compared.is_ok() {
            fs::remove_dir_all(&journal)
                .with_context(|| format!("removing {}", journal.display()))?;
        } else {
            eprintln!("the journal is kept: --journal {}", journal.display());
        }
        compared
    }

    fn compare(&self, python: &Path, netmon: &Path, journal: &Path) -> anyhow::Result<()> {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let seed = self.seed.unwrap_or(since_1970.as_secs());
        run(Command::new(python)
            .arg(root().join("xtask/src/past.py"))
            .args([journal, netmon])
            .args([self.moments.to_string(), seed.to_string()]))
    }
}

/// Builds netmon and this program, and runs the optimised program as root.
fn start_over() -> anyhow::Result<()> {
    build_release()?;
    run(cargo().args(["build", "--release", "--quiet", "--package", "xtask"]))?;
    let netmon = release_binary();
    let words = std::env::args_os().skip(1);
    run(as_root(netmon.with_file_name("xtask")).args(words).arg("--netmon").arg(netmon))
}

/// Records a journal of `events` events at least under full churn, with `waiting` TIME_WAITs at
/// most in each namespace. Returns the number of events.
pub(crate) fn record(
    netmon: &Path,
    journal: &Path,
    events: u64,
    waiting: Option<u32>,
) -> anyhow::Result<u64> {
    let networks = MIXED.map(Network::new).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let loaded = Network::new(LOADED)?;
    if let Some(most) = waiting {
        networks.iter().chain([&loaded]).try_for_each(|network| network.limit_waiting(most))?;
    }
    let mut holders = Vec::new();
    for network in &networks {
        holders.extend(network.hold(HELD)?);
    }
    holders.iter_mut().try_for_each(Process::ready)?;
    // A host is busy when a recorder starts: the rings have earlier events of sockets that the
    // first dump finds.
    let mut early = plain_load(&loaded, EARLY.as_secs())?;
    thread::sleep(EARLY / 2);
    let to = journal.to_str().context("a path that is text")?;
    let recorder = RunningNetmon::start(netmon, &["record", "--journal", to], Stdio::null())?;
    let pid = i32::try_from(recorder.id()).ok().and_then(Pid::from_raw).context("a pid")?;
    early.ended()?;
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let rotating = scope.spawn(move || rotate(pid, stop));
        let reconnecting = scope.spawn(|| reconnect(&loaded, stop));
        let rare = scope.spawn(|| be_rare(&loaded, stop));
        let churned = churn(&networks, &loaded, events);
        stop.store(true, Ordering::Relaxed);
        let segments = rotating.join().map_err(|_| anyhow!("the thread of segments panicked"))?;
        let again =
            reconnecting.join().map_err(|_| anyhow!("the thread that connects again panicked"))?;
        let rare = rare.join().map_err(|_| anyhow!("the thread of rare connections panicked"))?;
        churned.and(rare)?;
        let (segments, again) = (segments?, again?);
        eprintln!(
            "{segments} segments requested, {again} connections of sockets that connect again"
        );
        anyhow::Ok(())
    })?;
    let messages = recorder.stop()?;
    eprint!("{messages}");
    let words: Vec<_> = messages.split_whitespace().collect();
    let count = words.windows(3).find(|words| words[1..] == ["events", "recorded,"]);
    count.and_then(|words| words[0].parse().ok()).context("netmon reports no number of events")
}

/// Starts a load of as many connections as possible for `seconds`. The client closes them.
fn plain_load(network: &Network, seconds: u64) -> anyhow::Result<Process> {
    let (seconds, most) = (seconds.to_string(), u64::MAX.to_string());
    network.client(&["load", "--ending", "close", "--seconds", &seconds, "--connections", &most])
}

/// Makes connections of every kind until there should be `events` events.
fn churn(networks: &[Network], loaded: &Network, events: u64) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut made = 0;
    for round in 1..=ROUNDS {
        let mut load = plain_load(loaded, ROUND)?;
        let counts: Counts = mix(networks, ROUND, &mut Parties::new())?;
        let rate: u64 = load.ended()?.trim().parse().context("the load prints a rate")?;
        made += rate * ROUND + counts.get("accepted").copied().unwrap_or(0);
        let least = made * LEAST;
        let seconds = begin.elapsed().as_secs();
        eprintln!("round {round}, {seconds} s: {made} connections, {least} events at least");
        if least >= events {
            return Ok(());
        }
    }
    Err(anyhow!("{made} connections in {ROUNDS} rounds are too few"))
}

/// Makes the recorder begin a segment every [`SEGMENT`]. Returns the number of segments.
fn rotate(recorder: Pid, stop: &AtomicBool) -> anyhow::Result<u32> {
    let mut segments = 0;
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
        if last.elapsed() >= SEGMENT {
            kill_process(recorder, Signal::HUP).context("asking for a segment")?;
            (last, segments) = (Instant::now(), segments + 1);
        }
    }
    Ok(segments)
}

/// Connects sockets again while the TIME_WAIT of their former connection lasts, so that there are
/// two rows of one cookie. Returns the number of connections.
fn reconnect(network: &Network, stop: &AtomicBool) -> anyhow::Result<u32> {
    network.enter()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = listener.local_addr()?.into();
    let mut again = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        for _ in 0..AGAIN {
            socket.connect(&to).context("connecting again")?;
            let (server, _) = listener.accept()?;
            socket.shutdown(Shutdown::Write)?;
            drop(server);
            ensure!(socket.read(&mut [0])? == 0, "a server that closed has sent something");
            rustix::net::connect_unspec(&socket)?;
            again += 1;
        }
        thread::sleep(PAUSE);
    }
    Ok(again)
}

/// Makes a few connections that differ from all others: by their address, by the name of their
/// process, and by their end.
fn be_rare(network: &Network, stop: &AtomicBool) -> anyhow::Result<()> {
    network.enter()?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let [net @ .., _] = RARE.octets();
    let mut neighbours = NEIGHBOURS.cycle();
    // The queue takes one connection, and a later SYN gets no answer.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    full.bind(&SocketAddr::from((FULL, 0)).into())?;
    full.listen(0)?;
    let to = full.local_addr()?;
    let filler = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    filler.connect(&to).context("filling a queue")?;
    let mut waiting = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let [a, b, c] = net;
        let neighbour = Ipv4Addr::new(a, b, c, neighbours.next().unwrap_or_default());
        let script = format!("exec 3<>/dev/tcp/{neighbour}/{port}");
        let seconds = PATIENCE.as_secs().to_string();
        output(Command::new("timeout").args([&seconds, RARE_COMM, "-c", &script]))?;
        // A connection that has not arrived yet is accepted in a later round.
        let _ = listener.accept();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_user_timeout(Some(TIMED_OUT))?;
        let _ = socket.connect(&to);
        waiting.push(socket);
        thread::sleep(RARELY);
    }
    Ok(())
}
