//! The programs of a Debian system: of this host, or of packages for another architecture.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use super::{
    arch::Arch,
    debian::{Apt, CACHE, suite_here},
};
use crate::{
    debian::cache,
    shell::{output, program_directories, run},
};

/// The packages with the programs that the tests call.
const PACKAGES: [&str; 16] = [
    "bash",
    "coreutils",
    "dash",
    "grep",
    "hostname",
    "iproute2",
    "kmod",
    "libgcc-s1",
    "mount",
    "net-tools",
    "perl-base",
    "procps",
    "sed",
    "tmux",
    "util-linux",
    // Instead of a package that takes the whole of Perl.
    "usr-is-merged",
];
/// The most symbolic links on the way to a file, as in Linux.
const LINKS: usize = 40;

/// A system whose programs a machine runs. Paths are those within the system.
pub(super) struct Userland {
    arch: Arch,
    root: PathBuf,
}

impl Userland {
    /// Returns this host's system, or one from packages of this host's suite.
    pub(super) fn get(arch: Arch, refresh: bool) -> anyhow::Result<Self> {
        if arch == Arch::HOST {
            return Ok(Self { arch, root: "/".into() });
        }
        let suite = suite_here()?;
        let directory = cache(CACHE)?.join(format!("{suite}-programs-{}", arch.facts().debian));
        let root = directory.join("root");
        if refresh || !root.exists() {
            let apt = Apt::new(&directory, &suite, arch)?;
            let mut install = apt.tool("apt-get");
            install.args(["install", "--download-only", "-qq", "-y", "--no-install-recommends"]);
            run(install.args(PACKAGES))?;
            apt.unpack(&root)?;
        }
        Ok(Self { arch, root })
    }

    /// Returns the path of the program `name`.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let paths = program_directories().into_iter().map(|directory| directory.join(name));
        paths.into_iter().find(|path| self.file(path).is_file())
    }

    /// Returns the file of this host that is at `path` within the system. Symbolic links of the
    /// system name places within it.
    pub(super) fn file(&self, path: &Path) -> PathBuf {
        let within = |path: &Path| self.root.join(path.strip_prefix("/").unwrap_or(path));
        let mut file = within(path);
        for _ in 0..LINKS {
            let Ok(target) = fs::read_link(&file) else { break };
            file = match file.parent() {
                Some(directory) if target.is_relative() => directory.join(target),
                _ => within(&target),
            };
        }
        file
    }

    /// Returns the shared libraries of a file of this host, its interpreter among them.
    pub(super) fn libraries(&self, program: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
        let (mut found, mut open) = (BTreeSet::new(), vec![program.to_owned()]);
        while let Some(file) = open.pop() {
            let mut readelf = Command::new("readelf");
            readelf.args(["--wide", "--dynamic", "--program-headers"]).arg(&file);
            let headers = output(readelf.env("LC_ALL", "C"))?;
            for name in needed(&headers) {
                let library = self.library(name).with_context(|| {
                    format!("{} takes {name}, which is not there", file.display())
                })?;
                if !found.contains(&library) {
                    open.push(self.file(&library));
                    found.insert(library);
                }
            }
        }
        Ok(found)
    }

    fn library(&self, name: &str) -> Option<PathBuf> {
        let gnu = self.arch.facts().gnu;
        let directories = [format!("/lib/{gnu}"), format!("/usr/lib/{gnu}")];
        let directories = directories.iter().map(String::as_str);
        let directories = directories.chain(["/lib64", "/usr/lib64", "/lib", "/usr/lib"]);
        // An interpreter has a whole path, which `join` takes as it is.
        let mut paths = directories.map(|directory| Path::new(directory).join(name));
        paths.find(|path| self.file(path).is_file())
    }
}

/// Returns the libraries and the interpreter that an ELF file names, from readelf's output. The
/// file may be of any architecture, which ldd(1) refuses.
fn needed(headers: &str) -> impl Iterator<Item = &str> {
    headers.lines().filter_map(|line| {
        let (_, name) = if line.contains("(NEEDED)") {
            line.split_once('[')?
        } else {
            line.split_once("[Requesting program interpreter: ")?
        };
        Some(name.split_once(']')?.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_without_ldd() {
        let headers = "
  INTERP         0x000350 0x0000000000000350 0x0000000000000350 0x00001b 0x00001b R   0x1
      [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x000000000000000e (SONAME)             Library soname: [libx.so.1]";
        let names: Vec<_> = needed(headers).collect();
        assert_eq!(names, ["/lib/ld-linux-aarch64.so.1", "libc.so.6"]);
        let here = Userland { arch: Arch::HOST, root: "/".into() };
        let shell = here.program("sh").expect("a shell");
        let libraries = here.libraries(&here.file(&shell)).expect("libraries");
        assert!(libraries.iter().any(|path| path.ends_with("libc.so.6")), "{libraries:?}");
    }

    #[test]
    fn links_stay_within_the_system() {
        let root = std::env::temp_dir().join(format!("netmon-links-{}", std::process::id()));
        fs::create_dir_all(root.join("bin")).expect("a directory");
        fs::write(root.join("bin/kmod"), "").expect("a file");
        for (target, name) in [("/bin/kmod", "insmod"), ("insmod", "modprobe")] {
            std::os::unix::fs::symlink(target, root.join("bin").join(name)).expect("a link");
        }
        let system = Userland { arch: Arch::HOST, root: root.clone() };
        assert_eq!(system.file(Path::new("/bin/modprobe")), root.join("bin/kmod"));
        fs::remove_dir_all(root).expect("removed");
    }
}
