//! The kernels: Debian's, from its packages, unpacked outside of the checkout.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use clap::builder::PossibleValuesParser;

use crate::shell::{output, run};

/// A kernel that Debian has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    /// The name of the kernel on the command line.
    pub(super) kernel: &'static str,
    suite: &'static str,
    /// The tier that the kernel allows, as the tests call it.
    pub(super) tier: &'static str,
}

const fn suite(kernel: &'static str, suite: &'static str, tier: &'static str) -> Suite {
    Suite { kernel, suite, tier }
}

/// Debian's suites and their kernels. The first kernel gives no cookies to tracing programs.
const SUITES: [Suite; 4] = [
    suite("5.10", "bullseye", "basic"),
    suite("6.1", "bookworm", "exact"),
    suite("6.12", "trixie", "exact"),
    suite("newest", "sid", "exact"),
];
/// The package of the smallest of Debian's kernels.
const PACKAGE: &str = "linux-image-cloud-amd64";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An unpacked kernel.
pub(super) struct Kernel {
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
    SUITES.map(|suite| suite.kernel).into()
}

/// Returns the suites of `names`, or all suites without names.
pub(super) fn chosen(names: &[String]) -> impl Iterator<Item = Suite> {
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    SUITES.into_iter().filter(move |suite| is_wanted(suite.kernel))
}

impl Kernel {
    /// Finds the kernel in the cache, or gets it from the mirror that this host's apt uses.
    pub(super) fn get(
        Suite { kernel: name, suite, .. }: Suite,
        refresh: bool,
    ) -> anyhow::Result<Self> {
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cache")))
            .context("no home directory")?;
        let directory = cache.join("netmon-vm").join(suite);
        let root = directory.join("root");
        if refresh || !root.exists() {
            download(suite, &directory).with_context(|| format!("Debian's kernel of {suite}"))?;
        }
        let modules = fs::read_dir(root.join("lib/modules"))?.next().context("no modules")??;
        let release = modules.file_name().to_string_lossy().into_owned();
        // Debian moved the image beside the modules in 2026.
        let places = [format!("boot/vmlinuz-{release}"), format!("lib/modules/{release}/vmlinuz")];
        let image = places.iter().map(|place| root.join(place)).find(|image| image.exists());
        let image = image
            .with_context(|| format!("{} has no {}", root.display(), places.join(" and no ")))?;
        Ok(Self { name: name.to_owned(), release, image, root })
    }
}

/// Downloads and unpacks the packages of the kernel, with an apt configuration of its own, which
/// leaves the host's as it is.
fn download(suite: &str, directory: &Path) -> anyhow::Result<()> {
    let mirror = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Label: Debian",
        "Created-By: Packages",
    ]))
    .context("this takes Debian's apt")?;
    let mirror = mirror.lines().next().context("apt knows no mirror of Debian: apt-get update")?;
    let apt = directory.join("apt");
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(part))?;
    }
    let file = |name: &str| apt.join(name).display().to_string();
    fs::write(apt.join("status"), "")?;
    fs::write(apt.join("sources.list"), format!("deb [signed-by={KEYS}] {mirror} {suite} main\n"))?;
    let settings = [
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
    let tool = |name: &str| {
        let mut tool = Command::new(name);
        tool.env("APT_CONFIG", apt.join("apt.conf")).current_dir(&apt);
        tool
    };
    run(tool("apt-get").args(["update", "-qq"]))?;
    let depends = ["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts"];
    let depends =
        output(tool("apt-cache").args(depends).args(["--no-breaks", "--no-replaces", PACKAGE]))?;
    let packages: Vec<_> =
        depends.lines().filter(|line| line.starts_with("linux-") && *line != PACKAGE).collect();
    run(tool("apt-get").args(["download", "-qq"]).args(packages))?;
    let root = directory.join("root");
    let fresh = directory.join("fresh");
    for old in [&fresh, &root] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    for package in fs::read_dir(&apt)? {
        let package = package?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&fresh))?;
            fs::remove_file(package)?;
        }
    }
    if !fresh.join("lib").exists() {
        std::os::unix::fs::symlink("usr/lib", fresh.join("lib"))?;
    }
    fs::rename(fresh, root)?;
    Ok(())
}
