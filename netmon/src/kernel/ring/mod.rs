//! Bytes out of the kernel's rings, as records in the order of time.

pub(super) mod merge;
pub(super) mod record;
pub(super) mod rings;
