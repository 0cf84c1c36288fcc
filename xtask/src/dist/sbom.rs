//! The list of components: every crate in a program, with its version and licence (CycloneDX).

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, ensure};

use super::{release::Release, target::Target};
use crate::{
    cargo_tool::cargo_tool,
    shell::{root, run},
};

pub(super) const VERSION: &str = "0.5.9";
/// The members of the workspace: cargo-cyclonedx writes a list into each.
const MEMBERS: [&str; 3] = ["netmon", "netmon-common", "xtask"];

/// Makes the list of `target`.
pub(super) fn make(release: &Release, target: Target) -> anyhow::Result<()> {
    let name = format!("netmon-{}-{}.cdx", release.version, target.name());
    let list = |member: &str| root().join(member).join(format!("{name}.json"));
    let made = run(Command::new(cargo_tool("cargo-cyclonedx", VERSION)?)
        .args(["cyclonedx", "--quiet", "--format", "json", "--target", target.triple()])
        .args(["--override-filename", &name])
        .current_dir(root())
        // No random number, and the time of the commit.
        .env("SOURCE_DATE_EPOCH", &release.time));
    let text = made.and_then(|()| {
        let path = list("netmon");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    });
    remove(&MEMBERS.map(list))?;
    // The crates of this workspace are named by their paths.
    let here = root().display().to_string();
    let text = text?.replace(&here, "");
    ensure!(text.contains("\"CycloneDX\""), "cargo-cyclonedx made no list of {}", target.triple());
    fs::write(release.directory.join(format!("{name}.json")), text).context("writing the list")
}

fn remove(files: &[PathBuf]) -> anyhow::Result<()> {
    for file in files.iter().filter(|file| file.exists()) {
        fs::remove_file(file).with_context(|| format!("removing {}", file.display()))?;
    }
    Ok(())
}
