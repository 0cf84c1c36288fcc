//! A running netmon, for `bench`, `converge`, `docs` and `past`.

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

/// The limit of a start, and of an end, which writes the remaining events. The verifier needs less
/// for the programs, also on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks for netmon's end.
const PAUSE: Duration = Duration::from_millis(50);

/// A running netmon; killed when dropped.
pub(crate) struct RunningNetmon {
    child: Child,
    /// The thread that reads its stderr, and returns the text at the end.
    messages: Option<JoinHandle<String>>,
    /// The time from its start until its hooks were attached.
    pub(crate) start: Duration,
}

impl RunningNetmon {
    /// Starts netmon, and waits until its hooks are attached.
    pub(crate) fn start(program: &Path, words: &[&str], stdout: Stdio) -> anyhow::Result<Self> {
        let begin = Instant::now();
        let mut child = as_root(program)
            .args(words)
            // Not -v: the kernel programs would log too, which costs time.
            .env("RUST_LOG", "netmon=info")
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let stderr = BufReader::new(child.stderr.take().context("its stderr")?);
        let (attached, messages) = listen(stderr);
        let mut netmon = Self { child, messages: Some(messages), start: Duration::ZERO };
        if attached.recv_timeout(PATIENCE).is_err() {
            let _ = netmon.child.kill();
            return Err(anyhow!(
                "netmon did not report that it is attached: {}",
                netmon.messages()
            ));
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

    /// Asks netmon to end, as Ctrl-C does.
    pub(crate) fn interrupt(&self) -> anyhow::Result<()> {
        output(as_root("kill").args(["-INT", &self.id().to_string()])).map(drop)
    }

    /// Waits until netmon has ended.
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

    /// Ends netmon in order, and returns its messages.
    pub(crate) fn stop(mut self) -> anyhow::Result<String> {
        self.interrupt()?;
        let status = self.ended(PATIENCE)?;
        let messages = self.messages();
        ensure!(status.success(), "netmon failed: {status}: {messages}");
        Ok(messages)
    }

    /// Returns the messages of a netmon that has ended, once.
    pub(crate) fn messages(&mut self) -> String {
        self.messages.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for RunningNetmon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads netmon's messages to their end on a thread. The channel reports that netmon is attached.
fn listen(stderr: impl BufRead + Send + 'static) -> (Receiver<()>, JoinHandle<String>) {
    let (sender, receiver) = channel();
    let thread = thread::spawn(move || {
        let mut messages = String::new();
        for line in stderr.lines().map_while(Result::ok) {
            if line.contains("attached") {
                // After the first message, no thread receives any more.
                let _ = sender.send(());
            }
            messages += &line;
            messages.push('\n');
        }
        messages
    });
    (receiver, thread)
}
