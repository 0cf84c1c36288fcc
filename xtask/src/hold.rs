//! What `bench snapshot` starts: processes that hold connections, and a stopwatch.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, ensure};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};

#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// Connections, each with both ends in this process
    #[arg(long)]
    connections: u32,
    /// Which process this is: each has an address of its own, for its ports
    #[arg(long)]
    index: u8,
}

impl Hold {
    /// Opens the connections, says `ready`, and holds them until standard input ends.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 2, self.index), 0))?;
        let address = listener.local_addr()?;
        let mut held = Vec::new();
        for _ in 0..self.connections {
            held.push(TcpStream::connect(address).context("connecting")?);
            held.push(listener.accept().context("accepting")?.0);
        }
        println!("ready");
        io::stdout().flush()?;
        io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

/// Runs a command with its output to nowhere; prints seconds and the kilobytes it took at most.
pub(crate) fn measure(command: &[OsString]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("a command")?;
    let begin = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(status.success(), "{} failed: {status}", program.display());
    // Of this process' children there was but one.
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!("{seconds} {kilobytes}");
    Ok(())
}
