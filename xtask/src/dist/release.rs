//! The properties that all files of a release have in common.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::rust::Rust;
use crate::{
    digest::digest,
    shell::{as_root, cargo, output, root, run},
};

/// The file with the digests of all other files.
const SUMS: &str = "SHA256SUMS";
/// The file with the sources and the tools.
pub(super) const PROVENANCE: &str = "provenance.txt";

/// A release: a version of netmon, from a commit.
pub(super) struct Release {
    pub(super) version: String,
    pub(super) commit: String,
    /// The time of the commit, in seconds since 1970: the time of every file.
    pub(super) time: String,
    /// The checkout has changes that no commit has.
    pub(super) is_changed: bool,
    pub(super) rust: Rust,
    /// `target/dist`
    pub(super) directory: PathBuf,
}

impl Release {
    /// Returns the release of this checkout.
    pub(super) fn here(rust: Rust) -> anyhow::Result<Self> {
        let git = |words: &[&str]| output(Command::new("git").args(words).current_dir(root()));
        let because = "a release names its commit: run this in a checkout of git";
        let commit = git(&["rev-parse", "HEAD"]).context(because)?;
        let time = git(&["log", "-1", "--format=%ct"])?;
        let is_changed = !git(&["status", "--porcelain"])?.is_empty();
        if is_changed {
            eprintln!("dist: the checkout has changes beside its commit: not for a release");
        }
        let packages = metadata(&["--no-deps"])?;
        let netmon = packages.iter().find(|package| package["name"] == "netmon");
        let version = netmon.and_then(|package| package["version"].as_str());
        let version = version.context("cargo names no version of netmon")?.to_owned();
        let directory = root().join("target/dist");
        fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let release = Self { version, commit, time, is_changed, rust, directory };
        // Files of another commit may have the same names.
        for file in release.files()? {
            fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
        }
        Ok(release)
    }

    /// Returns the directory for the steps before the files, below `target/dist`.
    pub(super) fn work(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = self.directory.join("work").join(name);
        if directory.exists() {
            // An interrupted trial leaves files that belong to root.
            run(as_root("rm").args(["--recursive", "--force"]).arg(&directory))?;
        }
        fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        Ok(directory)
    }

    /// Returns the files that there are, sorted by name.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            // Cargo has hidden files of its own here, of the profile `dist`.
            let is_hidden = path.file_name().is_some_and(|name| name.as_bytes()[0] == b'.');
            if path.is_file() && !is_hidden {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Writes the digests of all files, and prints their sizes.
    pub(super) fn list(&self) -> anyhow::Result<()> {
        let mut sums = String::new();
        println!("{}:", self.directory.display());
        for file in self.files()? {
            let name = file.file_name().context("a name")?.to_string_lossy();
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            println!("{:>12}  {name}", bytes.len());
            sums.push_str(&format!("{}  {name}\n", digest(&bytes)));
        }
        ensure!(!sums.is_empty(), "{} has no file", self.directory.display());
        fs::write(self.directory.join(SUMS), sums).with_context(|| format!("writing {SUMS}"))
    }
}

/// Returns the directories of the crates that netmon depends on, and of the crates here.
pub(super) fn packages() -> anyhow::Result<BTreeSet<PathBuf>> {
    let packages = metadata(&[])?;
    let manifests = packages.iter().filter_map(|package| package["manifest_path"].as_str());
    Ok(manifests.filter_map(|path| Some(Path::new(path).parent()?.to_owned())).collect())
}

/// Returns the packages that cargo knows.
fn metadata(arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]).args(arguments);
    let mut metadata: Value =
        serde_json::from_str(&output(&mut metadata)?).context("cargo metadata")?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => bail!("cargo names no packages"),
    }
}
