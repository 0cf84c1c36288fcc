//! Sockets, and processes, that stay during a measurement.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::shell::xtask;

/// Sockets that one process holds: below the usual limit of 20,000 descriptors.
const PER_PROCESS: u32 = 16_000;

/// Processes that hold connections until the value is dropped.
pub(super) struct Holders(Vec<Holder>);

impl Holders {
    /// Starts processes that hold `sockets` sockets: both ends of each connection.
    pub(super) fn start(sockets: u32) -> anyhow::Result<Self> {
        let mut left = sockets;
        let mut holders = Vec::new();
        for index in 0..sockets.div_ceil(PER_PROCESS) {
            let part = left.min(PER_PROCESS);
            left -= part;
            let address = format!("--address=127.0.2.{index}");
            let connections = format!("--connections={}", part / 2);
            holders.push(Holder::start(&["hold", &address, &connections])?);
        }
        Ok(Self(holders))
    }

    pub(super) fn processes(&self) -> usize {
        self.0.len()
    }
}

/// A process of this program that makes something, prints `ready`, and waits for the end of its
/// input.
pub(super) struct Holder(Child);

impl Holder {
    pub(super) fn start(words: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(xtask())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting xtask {}", words.join(" ")))?;
        let stdout = child.stdout.take().context("its output")?;
        let holder = Self(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "xtask {} failed", words.join(" "));
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // `wait` also closes the standard input of the process, which ends with its input.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
