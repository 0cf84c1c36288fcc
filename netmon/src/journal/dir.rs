//! A journal's directory: opened once, everything below it reached without following a link.
//!
//! Root records into directories in which others may plant links, pipes and devices: each step of a
//! path is opened by itself with `O_NOFOLLOW`, new files are made exclusively, and only regular
//! files are read.

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

/// Only its owner and group may read who talked to whom.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);
/// The lock is its owner's alone: whoever may open a file may lock it.
const LOCK_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIRECTORY_MODE: u32 = 0o750;

/// An open directory.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    /// Where it was found: for messages, and to notice that another is there now.
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at `path`, which may be reached by links.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: openat(CWD, path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// Opens the directory at `path`, and makes it if it is not there.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        Self::open(path)
    }

    /// The path of something below it, for messages.
    pub(super) fn path_of(&self, below: &str) -> PathBuf {
        self.path.join(below)
    }

    /// The user who owns it.
    pub(super) fn owner(&self) -> io::Result<u32> {
        Ok(fstat(&self.fd)?.st_uid)
    }

    /// Returns whether its path still leads to it.
    pub(super) fn is_in_place(&self) -> bool {
        let there = rustix::fs::stat(&self.path);
        let own = fstat(&self.fd);
        matches!((there, own), (Ok(there), Ok(own))
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino))
    }

    /// Opens a regular file below it for reading.
    ///
    /// # Errors
    /// The error of the system; [`Malformed::NoFile`] for a link, a pipe, a device or a directory.
    pub(super) fn read(&self, below: &str) -> Result<File, Malformed> {
        // A pipe would wait for somebody to write.
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

    /// Makes a file below it, which is there only if nothing was.
    pub(super) fn create_new(&self, below: &str) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.at(below, |parent, name| openat(parent, name, flags, FILE_MODE))?;
        Ok(file.into())
    }

    /// Opens a file below it that is locked by whoever records, and makes it where there is none.
    pub(super) fn lock_file(&self, below: &str) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.at(below, |parent, name| openat(parent, name, flags, LOCK_MODE))?;
        let file = File::from(file);
        let metadata = file.metadata()?;
        if metadata.is_file() && metadata.nlink() == 1 {
            Ok(file)
        } else {
            Err(io::Error::other("it is no regular file of this journal's own"))
        }
    }

    /// Returns whether somebody holds a lock, if this user may know.
    pub(super) fn lock_state(&self, below: &str) -> Option<bool> {
        let lock = self.read(below).ok()?;
        Some(lock.try_lock_shared().is_err())
    }

    /// Makes a directory below it, and those on the way there.
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

    /// Gives a file another name, which nothing had.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.at(from, |from_parent, from| {
            let renamed =
                self.at(to, |to_parent, to| rustix::fs::renameat(from_parent, from, to_parent, to));
            renamed.map_err(|error| {
                rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
            })
        })
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, below: &str) -> io::Result<()> {
        let removed =
            self.at(below, |parent, name| rustix::fs::unlinkat(parent, name, AtFlags::empty()));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a directory, if nothing is in it.
    pub(super) fn remove_empty_dir(&self, below: &str) {
        let _ =
            self.at(below, |parent, name| rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR));
    }

    /// The names in a directory below it, in no order; none where it is not there, or is no
    /// directory.
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
            // A name that is no text is none of netmon's.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Bytes that a file takes on the disk; 0 where it is not there.
    pub(super) fn size(&self, below: &str) -> io::Result<u64> {
        let found = self.at(below, |parent, name| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW));
        match found {
            Ok(found) => Ok(found.st_blocks.cast_unsigned() * 512),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a regular file is there.
    pub(super) fn has(&self, below: &str) -> bool {
        let found = self.at(below, |parent, name| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW));
        found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile)
    }

    /// Has the names in a directory below it on the disk.
    pub(super) fn sync(&self, below: &str) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory =
            self.at(below, |parent, name| openat(parent, name, flags, Mode::empty()))?;
        Ok(rustix::fs::fsync(directory)?)
    }

    /// Bytes that this user may still write to its file system.
    pub(super) fn available(&self) -> io::Result<u64> {
        let system = rustix::fs::fstatvfs(&self.fd)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    /// Does something with the last step of a path, in the directory that the steps before it lead
    /// to.
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

/// Opens a directory in another, to go further.
fn step(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}
