//! The second build, from another directory, whose programs have to have the same bytes.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, id},
};

use anyhow::{Context, ensure};

use super::{
    program::{build, split},
    release::Release,
    target::Target,
};
use crate::{
    digest::digest,
    shell::{output, root},
};

/// Builds the programs of `targets` a second time, and compares them with the first ones. The
/// directory of the second build stays if they differ.
pub(super) fn compare(release: &Release, targets: &[Target]) -> anyhow::Result<()> {
    let copy = copy()?;
    for &target in targets {
        let name = format!("netmon-{}-{}", release.version, target.name());
        split(&build(&release.rust, &copy, target)?, target, &copy.join(&name), &copy)?;
        for name in [name.clone(), format!("{name}.debug")] {
            let (first, second) = (release.directory.join(&name), copy.join(&name));
            let bytes = [fs::read(&first)?, fs::read(&second)?];
            ensure!(
                bytes[0] == bytes[1],
                "{} has the digest {}, and {} has {}: compare them with diffoscope",
                first.display(),
                digest(&bytes[0]),
                second.display(),
                digest(&bytes[1])
            );
            eprintln!("dist: {name}: the same {} bytes from two directories", bytes[0].len());
        }
    }
    fs::remove_dir_all(&copy).with_context(|| format!("removing {}", copy.display()))
}

/// Copies the checkout, without the files that git ignores, and returns the path of the copy.
fn copy() -> anyhow::Result<PathBuf> {
    // The path differs in its length too.
    let path = env::temp_dir().join(format!("netmon-built-twice-{}", id()));
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let files = output(Command::new("git").args(words).current_dir(root()))?;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (root().join(file), path.join(file));
        // git also names files that are removed, if no commit has the removal.
        if !from.exists() {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(&path))?;
        fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(path)
}
