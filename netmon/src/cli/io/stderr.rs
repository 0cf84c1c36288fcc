//! Messages on standard error, which may have no reader left.

use std::{
    fmt::Display,
    io::{self, Write},
};

use crate::core::escape::EscapedLines;

/// Prints a message of netmon's.
pub(in crate::cli) fn report(message: impl Display) {
    // The message is all there is to do about a failure.
    let _ = write(format!("netmon: {message}\n").as_bytes());
}

/// Writes messages. Names from outside in a message cannot direct a terminal: all but line ends and
/// tabs is escaped.
pub(in crate::cli) fn write(messages: &[u8]) -> io::Result<()> {
    io::stderr().write_all(EscapedLines(messages).to_string().as_bytes())
}
