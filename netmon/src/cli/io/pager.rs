//! A pager between netmon and a terminal, as git has one.

use std::{
    env,
    io::{self, IsTerminal, Write},
    process::{Child, Command, Stdio},
};

use nix::sys::signal::{SigSet, Signal};

use super::stdout::Stdout;

/// The pager without the variable PAGER.
const PAGER: &str = "less";
/// The options of `less` without the variable LESS, as git sets them: no pager for what fits one
/// screen (F), colours (R), and a screen that stays (X).
const LESS: &str = "FRX";

/// A pager, which shows what netmon writes to [`Pager::output`]. Dropping the pager waits for its
/// end; the output must be dropped before.
pub(in crate::cli) struct Pager {
    child: Option<Child>,
}

impl Pager {
    /// Starts the pager of the user if standard output is a terminal. Without a pager, netmon
    /// writes to standard output itself.
    pub(in crate::cli) fn start() -> Self {
        let pager = env::var("PAGER").unwrap_or_else(|_| PAGER.to_owned());
        if !io::stdout().is_terminal() || matches!(pager.trim(), "" | "cat") {
            return Self { child: None };
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        let mut command = if pager.chars().all(is_plain) {
            Command::new(&pager)
        } else {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &pager]);
            shell
        };
        if env::var_os("LESS").is_none() {
            command.env("LESS", LESS);
        }
        // A pager that does not exist is not worth an error.
        let child = command.stdin(Stdio::piped()).spawn().ok();
        if child.is_some() {
            // The pager decides about Ctrl-C: without netmon, it would share the terminal with the
            // shell. Threads from here on inherit this.
            let _ = SigSet::from(Signal::SIGINT).thread_block();
        }
        Self { child }
    }

    /// Returns the absence of a pager.
    pub(in crate::cli) const fn none() -> Self {
        Self { child: None }
    }

    /// Returns the output: the input of the pager, or standard output.
    pub(in crate::cli) fn output(&mut self) -> Box<dyn Write> {
        match self.child.as_mut().and_then(|child| child.stdin.take()) {
            Some(input) => Box::new(input),
            None => Box::new(Stdout::lock()),
        }
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}
