//! Messages on standard error, which may have no reader left.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::core::escape::EscapedLines;

/// Set while the last line on standard error is progress, which the next text replaces.
static HAS_PROGRESS: Mutex<bool> = Mutex::new(false);
/// Returns to the beginning of a line, and empties the line.
const EMPTY_LINE: &str = "\r\x1b[K";

/// Prints a message of netmon's.
pub(in crate::cli) fn report(message: impl Display) {
    // The message is all there is to do about a failure.
    let _ = write(format!("netmon: {message}\n").as_bytes());
}

/// Prints the work that begins and takes its time, to a person at a terminal.
pub(in crate::cli) fn announce(work: impl Display) {
    if io::stderr().is_terminal() {
        report(work);
    }
}

/// Writes messages. Names from outside in a message cannot direct a terminal: all but line ends and
/// tabs is escaped.
pub(in crate::cli) fn write(messages: &[u8]) -> io::Result<()> {
    let mut has_progress = has_progress();
    empty_line(&mut has_progress);
    io::stderr().write_all(EscapedLines(messages).to_string().as_bytes())
}

/// Shows the progress of a work in place of the progress before.
pub(super) fn show_progress(text: &str) {
    *has_progress() = true;
    // Standard error may have no reader left.
    let _ = write!(io::stderr(), "{EMPTY_LINE}{text}");
}

/// Removes the progress.
pub(super) fn end_progress() {
    empty_line(&mut has_progress());
}

fn has_progress() -> MutexGuard<'static, bool> {
    HAS_PROGRESS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn empty_line(has_progress: &mut bool) {
    if std::mem::take(has_progress) {
        let _ = write!(io::stderr(), "{EMPTY_LINE}");
    }
}
