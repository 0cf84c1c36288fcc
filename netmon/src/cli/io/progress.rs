//! Progress of work that takes longer than a second, on a terminal that shows nothing else
//! meanwhile.

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::stderr::{end_progress, show_progress};
use crate::{journal::ReadCounter, kernel::host::privilege::narrow};

/// The time before the first line: a shorter wait is not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time between two updates of the line.
const EVERY: Duration = Duration::from_millis(300);

/// Shows the progress of a work as long as this value lives.
pub(in crate::cli) struct Progress {
    /// Dropped first, which ends the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show the progress of reading a journal where stderr is a terminal and standard
    /// output is not: lines on a terminal are progress themselves.
    pub(in crate::cli) fn of(counter: ReadCounter) -> Self {
        if io::stdout().is_terminal() { Self::none() } else { Self::of_quiet(counter) }
    }

    /// Begins to show the progress of reading a journal where stderr is a terminal, for a command
    /// that prints little before its end.
    pub(in crate::cli) fn of_quiet(counter: ReadCounter) -> Self {
        Self::start(move || format!("{} files of the journal read", counter.files()))
    }

    /// Begins to show `text` where stderr is a terminal.
    pub(in crate::cli) fn start(text: impl Fn() -> String + Send + 'static) -> Self {
        if !io::stderr().is_terminal() {
            return Self::none();
        }
        let (end, end_receiver) = channel::<()>();
        let thread = thread::Builder::new().name("netmon:progress".to_owned());
        let thread = thread.spawn(move || {
            // A thread that only counts needs no privilege.
            if let Err(error) = narrow(&[]) {
                log::warn!("a thread has more privileges than it needs: {error}");
            }
            let mut wait = PATIENCE;
            while end_receiver.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = EVERY;
                show_progress(&text());
            }
            end_progress();
        });
        // Progress is not worth an error.
        Self { end: Some(end), thread: thread.ok() }
    }

    const fn none() -> Self {
        Self { end: None, thread: None }
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

/// The steps of a work: its progress is the present step, and the seconds since the step began.
pub(in crate::cli) struct Steps {
    step: Arc<Mutex<(&'static str, Instant)>>,
    _progress: Progress,
}

impl Steps {
    /// Begins the first step.
    pub(in crate::cli) fn start(first: &'static str) -> Self {
        let step = Arc::new(Mutex::new((first, Instant::now())));
        let shown = Arc::clone(&step);
        let progress = Progress::start(move || {
            let (step, began) = *shown.lock().unwrap_or_else(PoisonError::into_inner);
            format!("{step}: {} s", began.elapsed().as_secs())
        });
        Self { step, _progress: progress }
    }

    /// Begins the next step.
    pub(in crate::cli) fn next(&self, step: &'static str) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = (step, Instant::now());
    }
}
