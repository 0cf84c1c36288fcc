//! Processes that hold connections, for `bench` and `converge`, and a stopwatch.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::{IpAddr, TcpListener},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike},
};

use super::mix::socket_at;

#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// Connections, each with both ends in this process
    #[arg(long)]
    connections: u32,
    /// The address of both ends; an address for each process gives it ports of its own
    #[arg(long)]
    address: IpAddr,
}

impl Hold {
    /// Opens the connections, prints `ready`, and holds them until standard input ends.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind((self.address, 0))?;
        let address = listener.local_addr()?;
        let mut held = Vec::new();
        for _ in 0..self.connections {
            let client = socket_at(self.address)?;
            client.connect(&address.into()).context("connecting")?;
            held.push(client.into());
            held.push(listener.accept().context("accepting")?.0);
        }
        println!("ready");
        io::stdout().flush()?;
        io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

/// Runs a command without its output. Prints its seconds, its peak memory in kilobytes, and its
/// seconds of CPU.
pub(crate) fn measure(command: &[OsString]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("a command")?;
    let begin = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(status.success(), "{} failed: {status}", program.display());
    // The command is the only child of this process.
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = [used.user_time(), used.system_time()];
    let cpu: Duration = cpu.map(|time| Duration::from_micros(micros(time))).iter().sum();
    println!("{seconds} {} {}", used.max_rss(), cpu.as_secs_f64());
    Ok(())
}

fn micros(time: TimeVal) -> u64 {
    u64::try_from(time.num_microseconds()).unwrap_or(0)
}
