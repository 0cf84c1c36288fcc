//! The load that benches measure under: connections on loopback, made and ended at full speed.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use socket2::SockRef;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ending {
    /// SO_LINGER 0: the client resets. Six transitions in all, and no TIME_WAIT.
    Reset,
    /// The client closes, then the server. Ten transitions, and a TIME_WAIT.
    Close,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Connections in all
    #[arg(long, default_value_t = 200_000)]
    pub(crate) connections: u64,
    /// How each ends
    #[arg(long, value_enum, default_value = "reset")]
    pub(crate) ending: Ending,
    /// Clients and servers, a pair of threads each
    #[arg(long, default_value_t = 2)]
    pub(crate) pairs: u32,
}

impl Load {
    /// Makes the load and prints connections per second.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let begin = Instant::now();
        thread::scope(|scope| {
            let pairs: Vec<_> =
                (0..self.pairs).map(|pair| scope.spawn(move || self.pair(pair))).collect();
            pairs
                .into_iter()
                .try_for_each(|pair| pair.join().map_err(|_| anyhow!("a client panicked"))?)
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = self.connections as f64 / begin.elapsed().as_secs_f64();
        println!("{rate:.0}");
        Ok(())
    }

    fn pair(&self, pair: u32) -> anyhow::Result<()> {
        let share = self.connections / u64::from(self.pairs);
        // An address for each pair: ports for 28,000 connections in TIME_WAIT on each, and reused.
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 1, pair as u8), 0))?;
        let address = listener.local_addr()?;
        let server = thread::spawn(move || -> std::io::Result<()> {
            let mut byte = [0; 1];
            for _ in 0..share {
                let (mut stream, _) = listener.accept()?;
                // The end of the stream, or the client's reset: either way it is over.
                let _ = stream.read(&mut byte);
            }
            Ok(())
        });
        for _ in 0..share {
            let mut stream = TcpStream::connect(address).context("connecting")?;
            if self.ending == Ending::Reset {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            } else {
                stream.flush()?;
            }
        }
        server.join().map_err(|_| anyhow!("a server panicked"))??;
        Ok(())
    }
}
