//! The image: the static program and the licences of its crates.

use std::{
    path::{Path, PathBuf},
    process::Command,
    slice,
};

use anyhow::Context;

use super::{archive::tar, licences::OF_PROGRAM, program::Program, release::Release};
use crate::shell::{as_root, output, run};

/// The places in the image.
const PLACE: &str = "/usr/bin/netmon";
const LICENCES: &str = "/usr/share/doc/netmon/";

/// Returns the name of the image's archive.
pub(super) fn name(release: &Release, program: &str) -> String {
    format!("netmon-{}-{program}.oci.tar", release.version)
}

/// Returns the name of the image for runtimes.
pub(super) fn reference(release: &Release) -> String {
    format!("localhost/netmon:{}", release.version)
}

/// Makes the image of `program`, as an archive for `podman load` and others.
pub(super) fn make(
    release: &Release,
    program: &Program,
    licences: &[PathBuf],
) -> anyhow::Result<()> {
    let work = release.work("image")?;
    let buildah = || buildah(&work);
    let architecture = program.target.debian();
    let container = output(buildah().args(["from", "--arch", architecture, "scratch"]))
        .context("buildah makes no container")?;
    for (mode, files, place) in
        [("0755", slice::from_ref(&program.path), PLACE), ("0644", licences, LICENCES)]
    {
        run(buildah()
            .args(["copy", "--quiet", "--chown", "0:0", "--chmod", mode, &container])
            .args(files)
            .arg(place))?;
    }
    let mut config = buildah();
    config.args(["config", "--os", "linux", "--arch", architecture]);
    config.args(["--entrypoint", &format!("[\"{PLACE}\"]"), "--cmd", "watch"]);
    let labels = [
        ("title", "netmon"),
        ("description", "netstat that remembers"),
        ("licenses", OF_PROGRAM),
        ("version", &release.version),
        ("revision", &release.commit),
    ];
    for (label, value) in labels {
        config.args(["--label", &format!("org.opencontainers.image.{label}={value}")]);
    }
    run(config.arg(&container))?;
    let layout = work.join("layout");
    run(buildah()
        .args(["commit", "--quiet", "--rm", "--format", "oci", "--timestamp", &release.time])
        .args(["--disable-compression=false", &container])
        .arg(format!("oci:{}:{}", layout.display(), reference(release))))?;
    let to = release.directory.join(name(release, program.target.name()));
    run(tar(release, &layout, &to).args(["blobs", "index.json", "oci-layout"]))?;
    // The storage is root's.
    run(as_root("rm").args(["--recursive", "--force"]).arg(&work))
}

/// Returns the command for buildah, with a storage of its own and no daemon.
fn buildah(work: &Path) -> Command {
    let mut buildah = as_root("buildah");
    buildah.args(["--storage-driver", "vfs", "--root"]).arg(work.join("storage"));
    buildah.arg("--runroot").arg(work.join("run"));
    buildah
}
