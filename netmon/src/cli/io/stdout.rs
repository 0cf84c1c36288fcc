//! Standard output that notices when its reader has left, even while there is nothing to write.

use std::{
    io::{self, StdoutLock, Write},
    os::fd::AsFd,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};

/// Standard output; [`Write::flush`] fails with `BrokenPipe` once the reader has left.
pub(in crate::cli) struct Stdout(StdoutLock<'static>);

impl Stdout {
    pub(in crate::cli) fn lock() -> Self {
        Self(io::stdout().lock())
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|error| named(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(|error| named(&error))?;
        is_read(&self.0)
    }
}

/// Returns the error of a write with the name of what was written to.
fn named(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output cannot be written to: {error}"))
}

/// Fails with `BrokenPipe` once the reader of `output` has left.
pub(super) fn is_read(output: &impl AsFd) -> io::Result<()> {
    // `poll` reports errors unasked; a pipe without a reader has an error.
    let mut output = [PollFd::new(output, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A signal interrupts even a poll that does not wait, which is no failure of the output.
    retry_on_intr(|| poll(&mut output, Some(&at_once)))?;
    if output[0].revents().contains(PollFlags::ERR) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}
