//! The load of `bench processes`: processes that run a program and end, or processes that stay.

use std::{
    io::{self, Write},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::Args;

/// Threads that start processes.
const THREADS: u8 = 2;
/// The first process that stays waits for so many bytes, the next one for one more. So all have the
/// same length of arguments, and none has those of another.
const BYTES: u32 = 1_000_000_000;

#[derive(Debug, Args)]
pub(crate) struct Spawn {
    /// Seconds after which the load ends
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Most processes a second; by default as many as possible
    #[arg(long)]
    rate: Option<u32>,
    /// Processes that stay until standard input ends, instead of processes that end at once
    #[arg(long, value_name = "COUNT")]
    hold: Option<u32>,
}

impl Spawn {
    /// Makes the load and prints processes per second; or holds processes, and prints `ready`.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        if let Some(count) = self.hold {
            return hold(count);
        }
        let begin = Instant::now();
        let made = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| self.part(begin))).collect();
            threads.into_iter().try_fold(0, |made, thread| {
                anyhow::Ok(made + thread.join().map_err(|_| anyhow!("a thread panicked"))??)
            })
        })?;
        println!("{:.0}", f64::from(made) / begin.elapsed().as_secs_f64());
        Ok(())
    }

    /// Starts one thread's processes. Returns their number.
    fn part(&self, begin: Instant) -> anyhow::Result<u32> {
        let end = begin + Duration::from_secs(self.seconds);
        let apart = self.rate.map(|rate| f64::from(THREADS) / f64::from(rate.max(1)));
        let (mut due, mut made) = (begin, 0);
        while Instant::now() < end {
            if let Some(apart) = apart {
                due += Duration::from_secs_f64(apart);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            Command::new("true").status().context("starting true")?;
            made += 1;
        }
        Ok(made)
    }
}

/// Starts processes that read the same standard input until it ends, and waits for them.
fn hold(count: u32) -> anyhow::Result<()> {
    let start = |number| {
        let bytes = format!("--bytes={}", BYTES + number);
        Command::new("head").arg(bytes).stdout(Stdio::null()).spawn().context("starting head")
    };
    let held: Vec<Child> = (0..count).map(start).collect::<anyhow::Result<_>>()?;
    println!("ready");
    io::stdout().flush()?;
    for mut child in held {
        child.wait()?;
    }
    Ok(())
}
