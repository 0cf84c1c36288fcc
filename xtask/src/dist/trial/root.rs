//! Root directories to try packages in.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::{
    debian::{bootstrap, cache},
    shell::{as_root, output, run},
};

/// The suite of Debian that packages are tried on, and its packages besides the least.
const SUITE: &str = "bookworm";
const PACKAGES: &str = "man-db,bash-completion";

/// A root directory.
pub(super) struct Root {
    pub(super) path: PathBuf,
}

impl Root {
    /// Returns an empty one.
    pub(super) fn empty(path: PathBuf) -> anyhow::Result<Self> {
        for directory in ["proc", "sys"] {
            fs::create_dir_all(path.join(directory))?;
        }
        Ok(Self { path })
    }

    /// Returns a copy of Debian's least, which debootstrap makes once.
    pub(super) fn debian(path: PathBuf) -> anyhow::Result<Self> {
        let cache = cache("netmon-dist")?;
        let made = cache.join(SUITE);
        if !made.exists() {
            fs::create_dir_all(&cache)?;
            let fresh = cache.join(format!("{SUITE}.new"));
            bootstrap(SUITE, PACKAGES, &fresh)?;
            run(as_root("mv").args([&fresh, &made]))?;
        }
        run(as_root("cp").arg("--archive").args([&made, &path]))?;
        Ok(Self { path })
    }

    /// Returns a command for `program` in this root, where `/proc` and `/sys` are the host's.
    pub(super) fn command(&self, program: &str) -> Command {
        // The mounts go with the command.
        const SCRIPT: &str = "root=$1; shift; mount --bind /proc \"$root/proc\"
            mount --rbind /sys \"$root/sys\"; exec chroot \"$root\" \"$@\"";
        self.inside(SCRIPT, program)
    }

    /// Returns a command for `program` in this root, where `/proc` alone is the host's.
    pub(super) fn command_without_sys(&self, program: &str) -> Command {
        const SCRIPT: &str = "root=$1; shift; mount --bind /proc \"$root/proc\"
            exec chroot \"$root\" \"$@\"";
        self.inside(SCRIPT, program)
    }

    fn inside(&self, script: &str, program: &str) -> Command {
        let mut command = as_root("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]);
        command.arg(&self.path).arg(program);
        command.env("LC_ALL", "C.UTF-8").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Returns whether the root has `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        as_root("test")
            .arg("-e")
            .arg(self.path.join(path))
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Returns every file, but the books that the packaging keeps, such as its log.
    pub(super) fn files(&self) -> anyhow::Result<BTreeSet<String>> {
        const BOOKS: [&str; 4] =
            ["/var/lib/dpkg/", "/var/log/dpkg.log", "/var/cache/man/", "/tmp/"];
        let found = output(as_root("find").arg(&self.path).args(["-xdev", "-printf", "/%P\\n"]))?;
        let is_book = |file: &&str| BOOKS.iter().any(|book| file.starts_with(book));
        Ok(found.lines().filter(|file| !is_book(file)).map(str::to_owned).collect())
    }

    /// Puts a file into the root, and returns its path there.
    pub(super) fn put(&self, file: &Path) -> anyhow::Result<String> {
        let name = file.file_name().context("a file")?.to_string_lossy();
        run(as_root("mkdir").arg("-p").arg(self.path.join("tmp")))?;
        run(as_root("cp").arg(file).arg(self.path.join("tmp")))?;
        Ok(format!("/tmp/{name}"))
    }
}
