//! The packages of Debian and of rpm, from the files in `target/dist/stage`. `netmon/Cargo.toml`
//! has the contents and fields of both.

use std::{fs, path::Path, process::Command};

use anyhow::Context;

use super::{licences::OF_PROGRAM, release::Release, target::Target};
use crate::{
    cargo_tool::cargo_tool,
    shell::{output, root, run},
};

/// The versions of cargo-deb and of cargo-generate-rpm.
pub(super) const DEB: &str = "3.8.0";
pub(super) const RPM: &str = "0.21.1";
/// The revision of the packages of a version.
const REVISION: &str = "1";

/// Returns the name of the deb of `version`.
pub(super) fn deb_name(version: &str, target: Target) -> String {
    format!("netmon_{version}-{REVISION}_{}.deb", target.debian())
}

/// Returns the name of the rpm of `version`.
pub(super) fn rpm_name(version: &str, target: Target) -> String {
    format!("netmon-{version}-{REVISION}.{}.rpm", target.name())
}

/// Makes the deb of `version` in `directory`.
pub(super) fn deb(
    release: &Release,
    target: Target,
    version: &str,
    directory: &Path,
) -> anyhow::Result<()> {
    run(Command::new(cargo_tool("cargo-deb", DEB)?)
        .args(["deb", "--quiet", "--locked", "--package", "netmon", "--target", target.triple()])
        .args(["--deb-version", &format!("{version}-{REVISION}")])
        // The program is ready.
        .args(["--no-build", "--no-strip", "--output"])
        .arg(directory.join(deb_name(version, target)))
        .current_dir(root())
        .env("SOURCE_DATE_EPOCH", &release.time))
}

/// Makes the rpm of `version` in `directory`.
pub(super) fn rpm(
    release: &Release,
    target: Target,
    version: &str,
    directory: &Path,
) -> anyhow::Result<()> {
    let metadata =
        format!("version = \"{version}\"\nrelease = \"{REVISION}\"\nlicense = \"{OF_PROGRAM}\"");
    run(Command::new(cargo_tool("cargo-generate-rpm", RPM)?)
        .args(["generate-rpm", "--package", "netmon", "--arch", target.name()])
        // A static program depends on no library.
        .args(["--auto-req", "disabled", "--set-metadata", &metadata, "--output"])
        .arg(directory.join(rpm_name(version, target)))
        .current_dir(root())
        .env("SOURCE_DATE_EPOCH", &release.time))
}

/// Returns the changelog in Debian's form, which names the version alone.
pub(super) fn changelog(release: &Release) -> anyhow::Result<String> {
    let manifest = fs::read_to_string(root().join("netmon/Cargo.toml"))?;
    let maintainer = manifest.lines().find_map(|line| line.strip_prefix("maintainer = "));
    let maintainer = maintainer.context("netmon/Cargo.toml names no maintainer")?.trim_matches('"');
    let date = output(Command::new("date").args([
        "--utc",
        "--rfc-email",
        &format!("--date=@{}", release.time),
    ]))?;
    Ok(format!(
        "netmon ({}-{REVISION}) unstable; urgency=medium\n\n  * The changes are in changelog.gz.\n\
         \n -- {maintainer}  {date}\n",
        release.version
    ))
}
