//! `setup`: installs the toolchain for the kernel object. A user of netmon needs none of it.

use std::{fs, process::Command};

use anyhow::{bail, ensure};

use crate::{
    debian::install,
    ebpf::{LINKER_VERSION, LLVM, Toolchain},
    shell::{cargo, run},
};

/// Debian's own compiler with its library source, newer than what rustup calls stable, and the LLVM
/// that bpf-linker links: no older than the compiler's.
const PACKAGES: [&str; 8] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "llvm-22",
    "llvm-22-dev",
    "libpolly-22-dev",
    "libzstd-dev",
    "zlib1g-dev",
];

/// Installs the toolchain if it is missing or incomplete.
pub(crate) fn setup() -> anyhow::Result<()> {
    if let Ok(found) = Toolchain::find() {
        eprintln!("setup: all there already: {}, {}", found.compiler, found.linker);
        return Ok(());
    }
    if fs::exists("/etc/debian_version").unwrap_or(false) {
        debian()?;
    } else {
        rustup()?;
    }
    let found = Toolchain::find()?;
    eprintln!("setup: done: {}, {}", found.compiler, found.linker);
    Ok(())
}

fn debian() -> anyhow::Result<()> {
    eprintln!(
        "setup: Debian: the compiler and LLVM from its packages, bpf-linker built from source"
    );
    install(PACKAGES)?;
    linker(Some(LLVM))
}

fn rustup() -> anyhow::Result<()> {
    eprintln!(
        "setup: not Debian: nightly Rust by rustup, bpf-linker built from source with its LLVM"
    );
    ensure!(
        Command::new("rustup").arg("--version").output().is_ok(),
        "neither Debian nor rustup: install rustup, or set up nightly Rust with rust-src and \
         bpf-linker"
    );
    run(Command::new("rustup").args([
        "toolchain",
        "install",
        "nightly",
        "--component",
        "rust-src",
    ]))?;
    linker(None)
}

fn linker(llvm: Option<&str>) -> anyhow::Result<()> {
    let mut install = cargo();
    install.args(["install", "--quiet", "bpf-linker", "--version", LINKER_VERSION]);
    if let Some(llvm) = llvm {
        if !fs::exists(llvm)? {
            bail!("{llvm} is missing after the installation of its package");
        }
        install.env("LLVM_PREFIX", llvm).args(["--no-default-features", "--features", "llvm-22"]);
    }
    run(&mut install)
}
