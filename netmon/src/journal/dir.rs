//! A journal's directory. The directory is opened once, and everything below the directory is
//! reached without following a link.
//!
//! Root records into directories in which other users may plant links, pipes and devices. Therefore
//! each step of a path is opened by itself with `O_NOFOLLOW`, new files are created exclusively,
//! and only regular files are read.

use std::{
    fs::{DirBuilder, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat};

use super::error::Malformed;
use crate::enclosure::Reach;

/// The mode of a file: only the owner and the group may read who communicates with whom.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);
/// The mode of the lock: only the owner may open the lock, since a process that may open a file may
/// lock it.
const LOCK_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIRECTORY_MODE: u32 = 0o750;

/// An open directory.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    /// The path by which the directory was opened: for messages, and to notice a replacement.
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at `path`, also through links.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: openat(CWD, path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// Opens the directory at `path`, and creates it if it does not exist.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        Self::open(path)
    }

    /// Returns the path of a file or directory below this directory, for messages.
    pub(super) fn path_of(&self, below: &str) -> PathBuf {
        self.path.join(below)
    }

    /// Returns the reach of a thread that reads the directory.
    pub(super) fn to_read(&self) -> Reach<'_> {
        Reach::Read(self.fd.as_fd())
    }

    /// Returns the reach of a thread that writes into the directory. The directory itself is beyond
    /// that reach: the thread can neither remove the directory nor make another in its place.
    pub(super) fn to_write(&self) -> Reach<'_> {
        Reach::Write(self.fd.as_fd())
    }

    /// Returns the user who owns the directory.
    pub(super) fn owner(&self) -> io::Result<u32> {
        Ok(fstat(&self.fd)?.st_uid)
    }

    /// Returns whether the directory's path still leads to the directory.
    pub(super) fn is_in_place(&self) -> bool {
        let at_path = rustix::fs::stat(&self.path);
        let own = fstat(&self.fd);
        matches!((at_path, own), (Ok(at_path), Ok(own))
            if (at_path.st_dev, at_path.st_ino) == (own.st_dev, own.st_ino))
    }

    /// Opens a regular file below the directory for reading.
    ///
    /// # Errors
    /// Returns the error of the system; [`Malformed::NoFile`] for a link, a pipe, a device or a
    /// directory.
    pub(super) fn read(&self, below: &str) -> Result<File, Malformed> {
        // Without `O_NONBLOCK` a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match self.at(below, |parent, name| openat(parent, name, flags, Mode::empty())) {
            Ok(file) => File::from(file),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(Malformed::NoFile);
            }
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(Malformed::NoFile) }
    }

    /// Creates a file below the directory. Fails if the name exists.
    pub(super) fn create_new(&self, below: &str) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.at(below, |parent, name| openat(parent, name, flags, FILE_MODE))?;
        Ok(file.into())
    }

    /// Opens the lock file of a recorder below the directory, and creates it if it does not exist.
    pub(super) fn lock_file(&self, below: &str) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.at(below, |parent, name| openat(parent, name, flags, LOCK_MODE))?;
        let file = File::from(file);
        let metadata = file.metadata()?;
        if metadata.is_file() && metadata.nlink() == 1 {
            Ok(file)
        } else {
            Err(io::Error::other("it is not a regular file with exactly one name: remove it"))
        }
    }

    /// Returns whether a process holds a lock; nothing if the lock file cannot be read.
    pub(super) fn lock_state(&self, below: &str) -> Option<bool> {
        let lock = self.read(below).ok()?;
        Some(lock.try_lock_shared().is_err())
    }

    /// Creates a directory below this directory, with the parents that are missing.
    pub(super) fn make_dirs(&self, below: &str) -> io::Result<()> {
        let mut parent: Option<OwnedFd> = None;
        for name in below.split('/') {
            let at = parent.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            parent = Some(step(at, name)?);
        }
        Ok(())
    }

    /// Renames a file. A file that has the new name is replaced.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.at(from, |from_parent, from| {
            let renamed =
                self.at(to, |to_parent, to| rustix::fs::renameat(from_parent, from, to_parent, to));
            renamed.map_err(|error| {
                rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
            })
        })
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&self, below: &str) -> io::Result<()> {
        let removed =
            self.at(below, |parent, name| rustix::fs::unlinkat(parent, name, AtFlags::empty()));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a directory, if it is empty.
    pub(super) fn remove_empty_dir(&self, below: &str) {
        let _ =
            self.at(below, |parent, name| rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR));
    }

    /// Returns the names in a directory below this directory, unsorted. Returns no names if the
    /// path does not exist or is not a directory.
    pub(super) fn names(&self, below: &str) -> io::Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = self.at(below, |parent, name| openat(parent, name, flags, Mode::empty()));
        let directory = match opened {
            Ok(directory) => directory,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) || error.raw_os_error() == Some(libc::ELOOP) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory)? {
            // netmon writes no name that is not UTF-8.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Returns the bytes that a file takes on the disk; 0 if the file does not exist.
    pub(super) fn size(&self, below: &str) -> io::Result<u64> {
        let status = self.at(below, |parent, name| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW));
        match status {
            Ok(status) => Ok(status.st_blocks.cast_unsigned() * 512),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a regular file exists at the path.
    pub(super) fn has(&self, below: &str) -> bool {
        let status = self.at(below, |parent, name| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW));
        status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile)
    }

    /// Syncs the names in a directory below this directory to the disk.
    pub(super) fn sync(&self, below: &str) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory =
            self.at(below, |parent, name| openat(parent, name, flags, Mode::empty()))?;
        Ok(rustix::fs::fsync(directory)?)
    }

    /// Returns the bytes that this user may still write to the directory's file system.
    pub(super) fn available(&self) -> io::Result<u64> {
        let system = rustix::fs::fstatvfs(&self.fd)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    /// Calls `act` with the last step of a path, and with the directory to which the steps before
    /// lead.
    fn at<T>(
        &self,
        below: &str,
        act: impl FnOnce(BorrowedFd<'_>, &str) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let (parents, name) = below.rsplit_once('/').unwrap_or(("", below));
        let mut parent: Option<OwnedFd> = None;
        for step_name in parents.split('/').filter(|name| !name.is_empty()) {
            let at = parent.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            parent = Some(step(at, step_name)?);
        }
        Ok(act(parent.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd), name)?)
    }
}

/// Opens a directory in another directory, as one step of a path.
fn step(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}
