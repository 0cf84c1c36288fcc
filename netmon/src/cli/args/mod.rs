//! Groups of options that subcommands share, and how their values are read.

pub(super) mod journal;
pub(super) mod moment;
pub(super) mod tracing;
pub(super) mod units;
