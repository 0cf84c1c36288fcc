//! Debian's packages, from the mirror that this host's apt uses, unpacked outside of the checkout.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::arch::Arch;
use crate::{debian::mirror, shell::run};

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The directory in the cache that keeps kernels and systems.
pub(super) const CACHE: &str = "netmon-vm";

/// Returns the suite of this host. Programs that are built here run with its libraries.
pub(super) fn suite_here() -> anyhow::Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("this takes Debian")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release names no suite of Debian")?.trim_matches('"').to_owned())
}

/// An apt with a configuration of its own, which leaves the host's as it is.
pub(super) struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// Makes the configuration in `directory`, and reads the lists of `suite`.
    pub(super) fn new(directory: &Path, suite: &str, arch: Arch) -> anyhow::Result<Self> {
        let apt = directory.join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(part))?;
        }
        let file = |name: &str| apt.join(name).display().to_string();
        let mirror = mirror()?;
        fs::write(apt.join("status"), "")?;
        let source = format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
        fs::write(apt.join("sources.list"), source)?;
        let settings = [
            ("APT::Architecture", arch.facts().debian.to_owned()),
            ("APT::Architectures", arch.facts().debian.to_owned()),
            ("Dir::State::lists", file("lists")),
            ("Dir::State::status", file("status")),
            ("Dir::Cache", file("cache")),
            ("Dir::Etc::sourcelist", file("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            // The downloading user may write here; apt's own user may not.
            ("APT::Sandbox::User", String::new()),
        ];
        let settings = settings.map(|(key, value)| format!("{key} \"{value}\";\n"));
        fs::write(apt.join("apt.conf"), settings.concat())?;
        let apt = Self { directory: apt };
        run(apt.tool("apt-get").args(["update", "-qq"]))?;
        Ok(apt)
    }

    /// Returns a program of apt, which puts files into [`Self::archives`].
    pub(super) fn tool(&self, name: &str) -> Command {
        let mut tool = Command::new(name);
        tool.env("APT_CONFIG", self.directory.join("apt.conf")).current_dir(self.archives());
        tool
    }

    pub(super) fn archives(&self) -> PathBuf {
        self.directory.join("cache/archives")
    }

    /// Unpacks the downloaded packages, and puts them in the place of `root`.
    pub(super) fn unpack(&self, root: &Path) -> anyhow::Result<()> {
        let fresh = root.with_extension("fresh");
        for old in [&fresh, root] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        let mut count = 0;
        for package in fs::read_dir(self.archives())? {
            let package = package?.path();
            if package.extension().is_some_and(|extension| extension == "deb") {
                run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&fresh))?;
                fs::remove_file(package)?;
                count += 1;
            }
        }
        ensure!(count > 0, "apt has downloaded no package");
        // Kernels since 2026 have their modules in usr/lib alone.
        if !fresh.join("lib").exists() {
            symlink("usr/lib", fresh.join("lib"))?;
        }
        fs::rename(fresh, root)?;
        Ok(())
    }
}
