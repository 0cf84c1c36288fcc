//! The netmon that `converge` tests, as a process.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// For a start: longer than the kernel needs to check the programs, on a slow and busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look whether it has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// A netmon that runs; killed when dropped.
pub(super) struct Netmon(Child);

impl Netmon {
    /// Starts it, and waits until it follows what happens.
    pub(super) fn start(program: &Path, words: &[&str], stdout: Stdio) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(words)
            // Not -v: with that its kernel side would talk too, which is work of its own.
            .env("RUST_LOG", "netmon=info")
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stderr = BufReader::new(child.stderr.take().context("its stderr")?);
        let netmon = Self(child);
        let attached = show(stderr);
        attached.recv_timeout(PATIENCE).context("netmon did not say that it is attached")?;
        Ok(netmon)
    }

    pub(super) fn stdout(&mut self) -> anyhow::Result<ChildStdout> {
        self.0.stdout.take().context("its output")
    }

    /// Tells it to end, as Ctrl-C does.
    pub(super) fn interrupt(&self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::INT).context("interrupting netmon")
    }

    /// Waits until it has ended.
    pub(super) fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let end = Instant::now() + within;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "netmon did not end within {within:?}");
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Netmon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Shows what it says to its end; tells when it says that it is attached.
fn show(stderr: impl BufRead + Send + 'static) -> Receiver<()> {
    let (tell, told) = channel();
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            eprintln!("{line}");
            if line.contains("attached") {
                // Nobody waits for a second one.
                let _ = tell.send(());
            }
        }
    });
    told
}
