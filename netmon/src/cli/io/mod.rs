//! Output: standard output, the log, progress on a terminal.

pub(super) mod log_writer;
pub(super) mod pager;
pub(super) mod progress;
pub(super) mod queued_stdout;
pub(super) mod stderr;
pub(super) mod stdout;
pub(super) mod terminal;
