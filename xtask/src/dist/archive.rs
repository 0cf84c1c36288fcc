//! Archives whose bytes depend on their contents alone, and the archive of all files for a host
//! without packages.

use std::{fs, path::Path, process::Command};

use anyhow::Context;

use super::{program::Program, release::Release, stage};
use crate::shell::{root, run};

/// Returns the command for an archive `to` of files in `directory`, to be followed by their names.
pub(super) fn tar(release: &Release, directory: &Path, to: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--format=gnu", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u+rw,go-w,a+rX", &format!("--mtime=@{}", release.time), "--directory"])
        .arg(directory)
        .arg("--create")
        .arg(format!("--file={}", to.display()));
    tar
}

/// Makes the tar.gz of `program`, with the files of the packages as in a root directory.
pub(super) fn make(release: &Release, program: &Program) -> anyhow::Result<()> {
    stage::program(release, program)?;
    let name = format!("netmon-{}-{}", release.version, program.target.name());
    let work = release.work("archive")?;
    let tree = work.join(&name);
    // Links cost nothing.
    run(Command::new("cp")
        .args(["--archive", "--link"])
        .arg(stage::directory(release))
        .arg(&tree))?;
    fs::remove_file(tree.join("changelog")).context("the changelog in Debian's form")?;
    let copyright = tree.join("usr/share/doc/netmon/copyright");
    fs::copy(root().join("dist/copyright"), copyright).context("dist/copyright")?;
    fs::create_dir_all(tree.join("usr/share/zsh"))?;
    fs::rename(tree.join("zsh"), tree.join("usr/share/zsh/site-functions"))?;
    let plain = release.directory.join(format!("{name}.tar"));
    run(tar(release, &work, &plain).arg(&name))?;
    run(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(&plain))
}
