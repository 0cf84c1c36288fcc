//! Progress of work that takes longer than a second, on a terminal that shows nothing else
//! meanwhile.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::journal::ReadCounter;

/// The time before the first line: a shorter wait is not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time between two updates of the line.
const EVERY: Duration = Duration::from_millis(300);

/// Shows the progress of reading a journal as long as this value lives.
pub(in crate::cli) struct Progress {
    /// Dropped first, which ends the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show progress where stderr is a terminal and standard output is not: lines on a
    /// terminal are progress themselves.
    pub(in crate::cli) fn of(counter: ReadCounter) -> Self {
        Self::start(counter, !io::stdout().is_terminal())
    }

    /// Begins to show progress where stderr is a terminal, for a command that prints little before
    /// its end.
    pub(in crate::cli) fn of_quiet(counter: ReadCounter) -> Self {
        Self::start(counter, true)
    }

    fn start(counter: ReadCounter, is_wanted: bool) -> Self {
        if !is_wanted || !io::stderr().is_terminal() {
            return Self { end: None, thread: None };
        }
        let (end, end_receiver) = channel::<()>();
        let thread = thread::Builder::new().name("netmon:progress".to_owned());
        let thread = thread.spawn(move || {
            let mut wait = PATIENCE;
            let mut has_shown = false;
            while end_receiver.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                (wait, has_shown) = (EVERY, true);
                // Standard error may have no reader left.
                let _ = write!(io::stderr(), "\r{} files of the journal read", counter.files());
            }
            if has_shown {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
        });
        // Progress is not worth an error.
        Self { end: Some(end), thread: thread.ok() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
