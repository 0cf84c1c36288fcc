//! Groups of options that subcommands share, with the readers of their values.

pub(super) mod journal;
pub(super) mod moment;
pub(super) mod past_table;
pub(super) mod tracing;
