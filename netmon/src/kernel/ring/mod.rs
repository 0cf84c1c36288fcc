//! The way from bytes in the kernel's rings to records in order of time.

mod backlog;
pub(super) mod merge;
pub(super) mod offline;
pub(super) mod record;
pub(super) mod rings;
