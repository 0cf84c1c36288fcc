//! The file systems of the kernel, which a container or a damaged host may not have mounted.

use std::{io, path::Path};

use super::shortage::Shortage;

/// A file system of the kernel that is not mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}, and netmon reads {} there: {}", self.fact(), self.content(), self.remedy())]
pub(crate) enum MissingFileSystem {
    /// procfs.
    Proc,
    /// sysfs.
    Sys,
}

impl MissingFileSystem {
    /// Fails if a file system is missing that tracing takes.
    pub(in crate::kernel) fn check() -> Result<(), Self> {
        // Without the file system, the directory is empty, or is not there.
        if !Path::new("/proc/self").exists() {
            Err(Self::Proc)
        } else if !Path::new("/sys/kernel").exists() {
            Err(Self::Sys)
        } else {
            Ok(())
        }
    }

    /// Returns the error of reading a file of `/proc`, with the missing file system or the file.
    ///
    /// A missing file system is no `NotFound`, which means that a process or a namespace has ended.
    pub(in crate::kernel) fn of_proc(path: &str, error: io::Error) -> io::Error {
        if Self::check() == Err(Self::Proc) {
            return io::Error::other(Self::Proc);
        }
        if Shortage::of(&error).is_some() {
            return error;
        }
        io::Error::new(error.kind(), format!("{path}: {error}"))
    }

    /// Returns the bare fact.
    pub(in crate::kernel) const fn fact(self) -> &'static str {
        match self {
            Self::Proc => "/proc is not mounted",
            Self::Sys => "/sys is not mounted",
        }
    }

    const fn content(self) -> &'static str {
        match self {
            Self::Proc => "processes and network namespaces",
            Self::Sys => "the kernel's types and tracepoints",
        }
    }

    /// Returns the command that mounts the file system.
    pub(in crate::kernel) const fn remedy(self) -> &'static str {
        match self {
            Self::Proc => "mount -t proc proc /proc",
            Self::Sys => "mount -t sysfs sysfs /sys",
        }
    }
}
