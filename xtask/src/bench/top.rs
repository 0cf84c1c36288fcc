//! `bench top`: the frames a second of the full screen, its time to answer a key, and its losses,
//! while there is a lot to show.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::Stdio,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use rustix::io::{read, retry_on_intr};

use super::{
    churn::{load_for, number},
    figure::Figure,
    hold::Holders,
    process::KilledOnDrop,
    terminal,
};
use crate::{
    shell::{as_root, release_binary},
    workload::churn::Ending,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct Top {
    /// Sockets to hold open while measuring
    #[arg(long, default_value_t = 200_000)]
    pub(super) sockets: u32,
    /// Length of the load, seconds
    #[arg(long, default_value_t = 30)]
    pub(super) seconds: u64,
}

const COLUMNS: u16 = 160;
const LINES: u16 = 50;
/// A key and a text that the screen then shows, and the key that leads back, with a text of its
/// own.
const THERE: (&[u8], &str) = (b"?", "any key");
const BACK: (&[u8], &str) = (b"x", "LAST_ACK");
/// The pause between two keys. A frame without a key comes near a key by chance only.
const BETWEEN: Duration = Duration::from_millis(370);
/// The time after which an answer counts as missing.
const PATIENCE: Duration = Duration::from_secs(10);
/// The beginning of a frame: the cursor is hidden.
const FRAME: &[u8] = b"\x1b[?25l";

impl Top {
    pub(super) fn run(&self) -> anyhow::Result<Vec<Figure>> {
        let _holders = Holders::start(self.sockets)?;
        let (mut screen, terminal) = Screen::open()?;
        let mut command = as_root("setsid");
        command.arg("--ctty").arg(release_binary()).args(["top", "--numeric"]);
        command.env("TERM", "xterm-256color").stdin(Stdio::from(terminal.try_clone()?));
        command.stdout(Stdio::from(terminal)).stderr(Stdio::piped());
        let netmon = KilledOnDrop(command.spawn().context("starting netmon in a terminal")?);
        screen.until("ESTABLISHED", PATIENCE)?;
        let seconds = self.seconds;
        let load = thread::spawn(move || load_for(seconds, None, Ending::Close));
        let (began, mut answers) = (Instant::now(), Vec::new());
        screen.frames = 0;
        while began.elapsed() < Duration::from_secs(self.seconds) {
            for (key, answer) in [THERE, BACK] {
                thread::sleep(BETWEEN);
                let pressed = Instant::now();
                screen.press(key)?;
                screen.until(answer, PATIENCE)?;
                answers.push(pressed.elapsed().as_secs_f64() * 1e3);
            }
        }
        let frames = f64::from(screen.frames) / began.elapsed().as_secs_f64();
        let rate = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        screen.press(b"q")?;
        let messages = ended(netmon)?;
        #[expect(clippy::cast_precision_loss, reason = "a figure")]
        let lost = number(&messages, "lost")? as f64;
        let there = format!("top, {} sockets, {rate:.0} connections a second", self.sockets);
        Ok(vec![
            Figure::new(format!("{there}: ms from a key to its frame"), answers).at_most(100.0),
            Figure::new(format!("{there}: frames a second"), vec![frames]).at_most(10.0),
            Figure::new(format!("{there}: events lost"), vec![lost]).at_most(0.0),
        ])
    }
}

/// Waits for the end of netmon, after the key for it. Returns netmon's messages.
fn ended(mut netmon: KilledOnDrop) -> anyhow::Result<String> {
    let end = Instant::now() + PATIENCE;
    while netmon.0.try_wait()?.is_none() {
        ensure!(Instant::now() < end, "netmon did not end");
        thread::sleep(BETWEEN);
    }
    let mut messages = String::new();
    netmon.0.stderr.take().context("its stderr")?.read_to_string(&mut messages)?;
    Ok(messages)
}

/// A terminal, and the contents of its screen.
struct Screen {
    keys: File,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    frames: u32,
}

impl Screen {
    /// Opens a screen. Returns the other side too, which a program takes for its terminal.
    fn open() -> anyhow::Result<(Self, OwnedFd)> {
        let (keys, theirs) = terminal::open(LINES, COLUMNS)?;
        let from = keys.try_clone()?;
        let (to, output) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            // The loop ends with the program that has the other side.
            while let Ok(count @ 1..) = retry_on_intr(|| read(&from, buffer.as_mut_slice())) {
                if to.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let parser = vt100::Parser::new(LINES, COLUMNS, 0);
        Ok((Self { keys, output, parser, frames: 0 }, theirs))
    }

    fn press(&mut self, key: &[u8]) -> anyhow::Result<()> {
        // Frames that were drawn before the key are no answer.
        while let Ok(bytes) = self.output.try_recv() {
            self.take(&bytes);
        }
        Ok(self.keys.write_all(key)?)
    }

    /// Waits until `text` is on the screen.
    fn until(&mut self, text: &str, patience: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        while !self.parser.screen().contents().contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout) => {
                    ensure!(!left.is_zero(), "no {text} on the screen");
                }
                Err(error) => return Err(error).context("netmon has ended"),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        let frames = bytes.windows(FRAME.len()).filter(|window| *window == FRAME).count();
        self.frames += u32::try_from(frames).unwrap_or(0);
        self.parser.process(bytes);
    }
}
