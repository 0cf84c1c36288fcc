//! Where log messages go: to stderr, or aside while the terminal is a screen that they would tear.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What is kept aside at most: the first messages say most.
const MOST: usize = 64 << 10;

/// Kept aside, if anything is.
static ASIDE: Mutex<Option<Vec<u8>>> = Mutex::new(None);

fn aside() -> MutexGuard<'static, Option<Vec<u8>>> {
    // Whole messages, or none, are in it whatever happened.
    ASIDE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages are kept aside as long as this lives; then they are written.
#[derive(Debug)]
pub(in crate::cli) struct HeldLog(());

impl HeldLog {
    pub(in crate::cli) fn new() -> Self {
        aside().get_or_insert_default();
        Self(())
    }
}

impl Drop for HeldLog {
    fn drop(&mut self) {
        // Nobody may be left to read it.
        let _ = io::stderr().write_all(&aside().take().unwrap_or_default());
    }
}

/// Where the logger writes.
pub(in crate::cli) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &mut *aside() {
            Some(kept) if kept.len() + text.len() <= MOST => kept.write(text),
            Some(_) => Ok(text.len()),
            None => io::stderr().write(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
