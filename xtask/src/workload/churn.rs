//! The load of the benches: connections on loopback, made and ended at full speed.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::SockRef;

/// The way in which a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ending {
    /// SO_LINGER 0: the client resets. Six transitions in all, and no TIME_WAIT.
    Reset,
    /// The client closes, then the server. Ten transitions, and a TIME_WAIT.
    Close,
}

/// Connections between two looks at the clock and at the number that is left.
const SOMETIMES: u64 = 64;

/// Addresses that each thread connects to in turn.
const ADDRESSES: u8 = 16;

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Connections in all
    #[arg(long, default_value_t = 200_000)]
    pub(crate) connections: u64,
    /// Seconds after which the load ends, also when connections are left
    #[arg(long, default_value_t = 3600)]
    pub(crate) seconds: u64,
    /// Most connections a second; by default as many as possible
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// The way in which each connection ends
    #[arg(long, value_enum, default_value = "reset")]
    pub(crate) ending: Ending,
    /// Threads, each with both ends of its connections
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) pairs: u8,
}

impl Load {
    /// Makes the load and prints connections per second.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let begin = Instant::now();
        // The threads share the connections. With a part for each thread, the thread that gives way
        // to netmon would end later, while the other's core is idle.
        let left = AtomicU64::new(self.connections);
        let left = &left;
        let made = thread::scope(|scope| {
            let spawn = |pair| scope.spawn(move || self.pair(pair, begin, left));
            let pairs: Vec<_> = (0..self.pairs).map(spawn).collect();
            pairs.into_iter().try_fold(0, |made, pair| {
                anyhow::Ok(made + pair.join().map_err(|_| anyhow!("a client panicked"))??)
            })
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = made as f64 / begin.elapsed().as_secs_f64();
        println!("{rate:.0}");
        Ok(())
    }

    /// Makes one thread's connections. Returns their number.
    fn pair(&self, pair: u8, begin: Instant, left: &AtomicU64) -> anyhow::Result<u64> {
        // Each thread has a core of its own, and both ends of its connections. A client that runs
        // ahead of its server fills the accept queue and waits a second for its SYN to be sent
        // again. The scheduler's choice of cores for two threads makes a difference of half.
        // Neither is to be measured.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut core = CpuSet::new();
        core.set(usize::from(pair) % cores);
        sched_setaffinity(None, &core).context("pinning a thread to its core")?;
        // A client has 28,000 ports for each address of a server, and a TIME_WAIT gives its port
        // away after a second at the earliest. With one address, connections would wait for ports.
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = listener.local_addr()?.port();
        let addresses = (0..ADDRESSES).map(|last| Ipv4Addr::new(127, 1, pair, last));
        let mut addresses = addresses.cycle().map(|address| SocketAddrV4::new(address, port));
        let mut byte = [0; 1];
        let end = begin + Duration::from_secs(self.seconds);
        let apart = self.rate.map(|rate| f64::from(self.pairs) / f64::from(rate.max(1)));
        let mut due = begin;
        let (mut made, mut mine) = (0, 0);
        loop {
            if mine == 0 {
                let take = |left: u64| left.saturating_sub(SOMETIMES);
                mine = left.update(Ordering::Relaxed, Ordering::Relaxed, take).min(SOMETIMES);
                if mine == 0 || Instant::now() >= end {
                    return Ok(made);
                }
            }
            if let Some(apart) = apart {
                due += Duration::from_secs_f64(apart);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let address = addresses.next().context("a cycle does not end")?;
            let client = TcpStream::connect(address).context("connecting")?;
            let (mut server, _) = listener.accept().context("accepting")?;
            if self.ending == Ending::Reset {
                SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            }
            drop(client);
            // The end of the stream, or the client's reset: either way it is over.
            let _ = server.read_exact(&mut byte);
            (made, mine) = (made + 1, mine - 1);
        }
    }
}
