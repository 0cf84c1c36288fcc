//! Debian's mirror.

use std::process::Command;

use anyhow::Context;

use crate::shell::output;

/// Returns the address of the mirror that this host's apt uses.
pub(crate) fn mirror() -> anyhow::Result<String> {
    let mirrors = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Label: Debian",
        "Created-By: Packages",
    ]))
    .context("this takes Debian's apt")?;
    let mirror = mirrors.lines().next().context("apt knows no mirror of Debian: apt-get update")?;
    Ok(mirror.to_owned())
}
