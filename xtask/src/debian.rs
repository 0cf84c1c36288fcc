//! Debian: packages of this host, and systems that debootstrap makes.

use std::{env, ffi::OsStr, io, path::Path, path::PathBuf, process::Command};

use anyhow::Context;

use crate::shell::{as_root, find, output, run};

/// Installs packages on this host.
pub(crate) fn install(packages: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<()> {
    run(as_root("apt-get").args(["update", "-qq"]))?;
    run(as_root("env")
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "-y"])
        .args(["--no-install-recommends"])
        .args(packages))
}

/// Returns the directory of `name` in the user's cache, for files that take long to make.
pub(crate) fn cache(name: &str) -> anyhow::Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("no home directory")?;
    Ok(cache.join(name))
}

/// Makes the smallest system of `suite` in the directory `tree`, with more `packages`, by commas.
pub(crate) fn bootstrap(suite: &str, packages: &str, tree: &Path) -> anyhow::Result<()> {
    let debootstrap = find("debootstrap").context("install debootstrap")?;
    // An interrupted run leaves files that belong to root.
    run(as_root("rm").args(["--recursive", "--force"]).arg(tree))?;
    eprintln!(
        "debootstrap makes a system of Debian's {suite}, which takes some three minutes, once"
    );
    let mut make = as_root(debootstrap);
    make.args(["--variant=minbase", &format!("--include={packages}"), suite]);
    run(make.arg(tree).arg(mirror()?).stdout(io::stderr()))
}

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
