//! Log messages: to stderr, or held back while they would tear a full screen.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::stderr;

/// The most bytes that are held back: the first messages are the most useful ones.
const MAX_HELD: usize = 64 << 10;

/// The messages that are held back; `None` while messages go to stderr.
static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Vec<u8>>> {
    // The buffer has whole messages only, also after a panic.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds messages back as long as this value lives, and writes them then.
#[derive(Debug)]
pub(in crate::cli) struct HeldLog(());

impl HeldLog {
    pub(in crate::cli) fn new() -> Self {
        held().get_or_insert_default();
        Self(())
    }
}

impl Drop for HeldLog {
    fn drop(&mut self) {
        // Standard error may have no reader left.
        let _ = stderr::write(&held().take().unwrap_or_default());
    }
}

/// The writer of the logger.
pub(in crate::cli) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &mut *held() {
            Some(buffer) if buffer.len() + text.len() <= MAX_HELD => buffer.write(text),
            Some(_) => Ok(text.len()),
            None => stderr::write(text).map(|()| text.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
