//! The static programs: built, checked for paths of this machine, and split from their symbols.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

use super::{release::Release, rust::Rust, target::Target};
use crate::{
    remaps::{cargo_home, flag, remaps},
    shell::{root, run},
};

/// The cargo profile.
const PROFILE: &str = "dist";
/// The most bytes of a stripped program.
const LARGEST: u64 = 14_000_000;

/// A program that is ready.
pub(super) struct Program {
    pub(super) target: Target,
    pub(super) path: PathBuf,
}

/// Makes the program of `target` and its file of symbols, in the directory of the release.
pub(super) fn make(release: &Release, target: Target) -> anyhow::Result<Program> {
    let built = build(&release.rust, &root(), target)?;
    let path = release.directory.join(format!("netmon-{}-{}", release.version, target.name()));
    split(&built, target, &path, &root())?;
    Ok(Program { target, path })
}

impl Program {
    /// Fails if the program is too large.
    pub(super) fn check_size(&self) -> anyhow::Result<()> {
        let (path, size) = (self.path.display(), fs::metadata(&self.path)?.len());
        ensure!(
            size <= LARGEST,
            "{path} has {size} bytes, more than {LARGEST}: look for a dependency that came in"
        );
        Ok(())
    }
}

/// Builds the program of `target` from the checkout in `source`. Returns its path.
pub(super) fn build(rust: &Rust, source: &Path, target: Target) -> anyhow::Result<PathBuf> {
    let directory = source.join("target");
    let triple = target.triple();
    eprintln!("dist: builds for {triple}; from nothing this takes minutes");
    run(rust
        .build(source, target)?
        .args(["--locked", "--profile", PROFILE, "--target", triple])
        .args(["--package", "netmon", "--bin", "netmon", "--no-default-features", "--target-dir"])
        .arg(&directory)
        .env(format!("CFLAGS_{}", triple.replace('-', "_")), c_flags(source, target)?.join(" "))
        // mimalloc contains the date of its build.
        .env("SOURCE_DATE_EPOCH", "0"))
    .with_context(|| format!("netmon for {triple}"))?;
    Ok(directory.join(triple).join(PROFILE).join("netmon"))
}

/// Returns the flags of the compiler of C.
pub(super) fn c_flags(source: &Path, target: Target) -> anyhow::Result<Vec<String>> {
    let mut flags: Vec<_> = target.flags().iter().map(ToString::to_string).collect();
    flags.extend(remaps(source)?.iter().map(|remap| flag("-ffile-prefix-map", remap)));
    if let Some(flag) = flags.iter().find(|flag| flag.contains(char::is_whitespace)) {
        bail!("{flag} has a space, which compilers of C would not take: use another directory");
    }
    Ok(flags)
}

/// Splits the program `built` into the program without symbols, at `path`, and `path.debug` with
/// the symbols. Debuggers find the second by its name. Neither may name the directory `source`.
pub(super) fn split(
    built: &Path,
    target: Target,
    path: &Path,
    source: &Path,
) -> anyhow::Result<()> {
    let objcopy = || Command::new(format!("{}-objcopy", target.gnu()));
    let symbols = PathBuf::from(format!("{}.debug", path.display()));
    run(objcopy()
        .args(["--only-keep-debug", "--compress-debug-sections"])
        .args([built, &symbols]))?;
    run(objcopy()
        .arg("--strip-all")
        .arg(format!("--add-gnu-debuglink={}", symbols.display()))
        .args([built, path]))?;
    for file in [built, path] {
        no_paths(file, source)?;
    }
    Ok(())
}

/// Fails if the file contains a path of this machine.
fn no_paths(file: &Path, source: &Path) -> anyhow::Result<()> {
    let content = fs::read(file).with_context(|| file.display().to_string())?;
    let content = String::from_utf8_lossy(&content);
    for path in [source.to_owned(), cargo_home()?] {
        let path = path.to_str().context("a path that is text")?;
        if let Some(at) = content.find(path) {
            let rest: String = content[at..].chars().take(120).collect();
            bail!("{} contains a path of this machine: {rest}", file.display());
        }
    }
    Ok(())
}
