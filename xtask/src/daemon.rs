//! A netmon that runs: what `bench`, `converge` and `docs` look at.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};

use super::shell::{as_root, output};

/// For a start: longer than the kernel needs to check the programs, on a slow and busy machine too. And for an end, which
/// writes what is left.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look whether it has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// A netmon that runs; killed when dropped.
pub(crate) struct RunningNetmon {
    child: Child,
    /// What it said, at its end.
    said: Option<JoinHandle<String>>,
    /// From its start until it followed what happened.
    pub(crate) start: Duration,
}

impl RunningNetmon {
    /// Starts it, and waits until it follows what happens.
    pub(crate) fn start(program: &Path, words: &[&str], stdout: Stdio) -> anyhow::Result<Self> {
        let begin = Instant::now();
        let mut child = as_root(program)
            .args(words)
            // Not -v: with that its kernel side would talk too, which is work of its own.
            .env("RUST_LOG", "netmon=info")
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stderr = BufReader::new(child.stderr.take().context("its stderr")?);
        let (attached, said) = listen(stderr);
        let mut netmon = Self { child, said: Some(said), start: Duration::ZERO };
        if attached.recv_timeout(PATIENCE).is_err() {
            let _ = netmon.child.kill();
            return Err(anyhow!("netmon did not say that it is attached: {}", netmon.said()));
        }
        netmon.start = begin.elapsed();
        Ok(netmon)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&mut self) -> anyhow::Result<ChildStdout> {
        self.child.stdout.take().context("its output")
    }

    /// Tells it to end, as Ctrl-C does.
    pub(crate) fn interrupt(&self) -> anyhow::Result<()> {
        output(as_root("kill").args(["-INT", &self.id().to_string()])).map(drop)
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let end = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "netmon did not end within {within:?}");
            thread::sleep(PAUSE);
        }
    }

    /// Ends it in order; what it said.
    pub(crate) fn stop(mut self) -> anyhow::Result<String> {
        self.interrupt()?;
        let status = self.ended(PATIENCE)?;
        let said = self.said();
        ensure!(status.success(), "netmon failed: {status}: {said}");
        Ok(said)
    }

    /// What it has said, once it has ended.
    pub(crate) fn said(&mut self) -> String {
        self.said.take().and_then(|said| said.join().ok()).unwrap_or_default()
    }
}

impl Drop for RunningNetmon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what it says to its end; tells when it says that it is attached.
fn listen(stderr: impl BufRead + Send + 'static) -> (Receiver<()>, JoinHandle<String>) {
    let (tell, told) = channel();
    let thread = thread::spawn(move || {
        let mut said = String::new();
        for line in stderr.lines().map_while(Result::ok) {
            if line.contains("attached") {
                // Nobody waits for a second one.
                let _ = tell.send(());
            }
            said += &line;
            said.push('\n');
        }
        said
    });
    (told, thread)
}
