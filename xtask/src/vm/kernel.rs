//! The kernels: Debian's, from its packages.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use clap::builder::PossibleValuesParser;

use super::{
    arch::Arch,
    debian::{Apt, CACHE},
};
use crate::{
    debian::cache,
    shell::{output, run},
};

/// A kernel that Debian has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    /// The name of the kernel on the command line.
    pub(super) kernel: &'static str,
    suite: &'static str,
    /// The package of the newest kernel of this kind.
    package: &'static str,
    /// The tier that the kernel allows, as the tests call it.
    pub(super) tier: &'static str,
}

const fn suite(
    kernel: &'static str,
    suite: &'static str,
    package: &'static str,
    tier: &'static str,
) -> Suite {
    Suite { kernel, suite, package, tier }
}

/// The first kernel gives no cookies to tracing programs.
const X86_64: [Suite; 4] = [
    suite("5.10", "bullseye", "linux-image-cloud-amd64", "basic"),
    suite("6.1", "bookworm", "linux-image-cloud-amd64", "exact"),
    suite("6.12", "trixie", "linux-image-cloud-amd64", "exact"),
    suite("newest", "sid", "linux-image-cloud-amd64", "exact"),
];
/// The first kernel refuses hooks on functions (ENOTSUPP). One kernel has pages of 16 KiB.
const AARCH64: [Suite; 4] = [
    suite("6.1", "bookworm", "linux-image-cloud-arm64", "full"),
    suite("6.12", "trixie", "linux-image-cloud-arm64", "exact"),
    suite("6.12-16k", "trixie", "linux-image-arm64-16k", "exact"),
    suite("newest", "sid", "linux-image-cloud-arm64", "exact"),
];

const fn suites(arch: Arch) -> &'static [Suite] {
    match arch {
        Arch::X86_64 => &X86_64,
        Arch::Aarch64 => &AARCH64,
    }
}

/// An unpacked kernel.
pub(super) struct Kernel {
    pub(super) arch: Arch,
    /// The name of the kernel on the command line.
    pub(super) name: String,
    /// `uname -r`
    pub(super) release: String,
    /// The file that QEMU boots.
    pub(super) image: PathBuf,
    /// The directory that has `lib/modules` in it.
    pub(super) root: PathBuf,
}

/// Returns the names of kernels that the command line takes.
pub(super) fn names() -> PossibleValuesParser {
    let mut names = Vec::new();
    for suite in X86_64.iter().chain(&AARCH64) {
        if !names.contains(&suite.kernel) {
            names.push(suite.kernel);
        }
    }
    names.into()
}

/// Returns the suites of `names`, or all suites without names.
pub(super) fn chosen(arch: Arch, names: &[String]) -> anyhow::Result<Vec<Suite>> {
    let suites = suites(arch);
    for name in names {
        let all: Vec<_> = suites.iter().map(|suite| suite.kernel).collect();
        let all = all.join(", ");
        ensure!(all.split(", ").any(|known| known == name), "no {name} here: choose of {all}");
    }
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    Ok(suites.iter().filter(|suite| is_wanted(suite.kernel)).copied().collect())
}

impl Kernel {
    /// Finds the kernel in the cache, or gets it from the mirror.
    pub(super) fn get(suite: Suite, arch: Arch, refresh: bool) -> anyhow::Result<Self> {
        let directory = cache(CACHE)?.join(format!("{}-{}", suite.suite, suite.package));
        let root = directory.join("root");
        if refresh || !root.exists() {
            let apt = Apt::new(&directory, suite.suite, arch);
            apt.and_then(|apt| {
                download(&apt, suite.package)?;
                apt.unpack(&root)
            })
            .with_context(|| format!("Debian's {} of {}", suite.package, suite.suite))?;
        }
        let modules = fs::read_dir(root.join("lib/modules"))?.next().context("no modules")??;
        let release = modules.file_name().to_string_lossy().into_owned();
        // Debian moved the image beside the modules in 2026.
        let places = [format!("boot/vmlinuz-{release}"), format!("lib/modules/{release}/vmlinuz")];
        let image = places.iter().map(|place| root.join(place)).find(|image| image.exists());
        let image = image
            .with_context(|| format!("{} has no {}", root.display(), places.join(" and no ")))?;
        Ok(Self { arch, name: suite.kernel.to_owned(), release, image, root })
    }
}

/// Downloads the packages of the kernel, without the programs that would install it.
fn download(apt: &Apt, package: &str) -> anyhow::Result<()> {
    let depends = ["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts"];
    let mut depends_of = apt.tool("apt-cache");
    depends_of.args(depends).args(["--no-breaks", "--no-replaces", package]);
    let depends = output(&mut depends_of)?;
    let packages = depends.lines().filter(|line| line.starts_with("linux-") && *line != package);
    run(apt.tool("apt-get").args(["download", "-qq"]).args(packages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_architecture_has_kernels_of_its_own() {
        let names = |arch, names: &[&str]| -> anyhow::Result<Vec<&str>> {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            Ok(chosen(arch, &names)?.iter().map(|suite| suite.kernel).collect())
        };
        let all = names(Arch::X86_64, &[]).expect("all");
        assert_eq!(all, ["5.10", "6.1", "6.12", "newest"]);
        assert_eq!(names(Arch::Aarch64, &["6.12-16k", "6.1"]).expect("two"), ["6.1", "6.12-16k"]);
        let error = names(Arch::X86_64, &["6.12-16k"]).expect_err("no such kernel").to_string();
        assert_eq!(error, "no 6.12-16k here: choose of 5.10, 6.1, 6.12, newest");
    }
}
