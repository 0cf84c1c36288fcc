//! The sources of a release: netmon's, and those of the libraries under the LGPL. With them, a
//! person can build the program with another version of such a library (LGPL 2.1, 6).

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use super::release::{Release, packages};
use crate::shell::{output, root, run};

/// The crates under the LGPL, by the beginnings of their names.
const LIBRARY: &str = "btf-rs-";

/// Writes the archives of all sources.
pub(super) fn make(release: &Release) -> anyhow::Result<()> {
    let name = format!("netmon-{}", release.version);
    let tar = release.directory.join(format!("{name}-source.tar"));
    output(
        Command::new("git")
            .args(["archive", "--format=tar", &format!("--prefix={name}/"), "--output"])
            .arg(&tar)
            .arg(&release.commit)
            .current_dir(root()),
    )?;
    run(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(&tar))?;
    let mut crates = 0;
    for package in packages()? {
        let name = package.file_name().context("a crate")?.to_string_lossy().into_owned();
        if name.starts_with(LIBRARY) {
            let archive = archive(&package)?;
            let to = release.directory.join(format!("{name}.crate"));
            fs::copy(&archive, to).with_context(|| archive.clone())?;
            crates += 1;
        }
    }
    ensure!(crates == 2, "{crates} crates are named {LIBRARY}…, not btf-rs and btf-rs-derive");
    Ok(())
}

/// Returns the path of the archive from which cargo unpacked a crate: `registry/cache` has the
/// archives of the sources in `registry/src`.
fn archive(package: &Path) -> anyhow::Result<String> {
    let source = package.to_str().context("a path that is text")?;
    let (before, after) =
        source.rsplit_once("/registry/src/").context("a crate of a registry of cargo")?;
    Ok(format!("{before}/registry/cache/{after}.crate"))
}
