//! What the subcommands that use a journal have in common.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Directory {
    /// Where the journal is
    #[arg(long = "journal", value_name = "DIR", default_value = "/var/log/netmon")]
    pub(super) path: PathBuf,
}
