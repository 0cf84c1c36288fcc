//! The directory into which a recorder writes. The directory belongs to the recorder's user, is
//! locked, and is created again after it was removed.

use std::{
    fs::TryLockError,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::journal::{dir::Dir, layout::HostDir};

/// The number of attempts to get the lock, and the time between two attempts.
const LOCK_TRIES: usize = 10;
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// The reason why a journal cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another recorder writes the journal.
    #[error("another netmon records into {0}: stop it, or choose another --journal")]
    Locked(String),
    /// The directory belongs to another user, who could replace its files while the recorder runs.
    #[error(
        "cannot record into {path}: it belongs to user {owner}, and netmon records only into \
         directories of its own user, {own}; choose another --journal, or run chown {own} {path}"
    )]
    Foreign {
        /// The directory.
        path: String,
        /// The user who owns the directory.
        owner: u32,
        /// The user of this process, who would have to own the directory.
        own: u32,
    },
    /// The directory cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// The path of the file or directory.
        path: String,
        /// The error of the system.
        error: io::Error,
    },
}

/// The directory into which a recorder writes at present. If the directory is removed, a new
/// directory takes its place.
#[derive(Clone)]
pub(super) struct JournalPlace(Arc<Mutex<Arc<HostDir>>>);

impl JournalPlace {
    pub(super) fn new(host: HostDir) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(host))))
    }

    pub(super) fn now(&self) -> Arc<HostDir> {
        Arc::clone(&self.lock())
    }

    /// Returns whether the directory and the lock are still in their place.
    pub(super) fn is_whole(&self) -> bool {
        let host = self.now();
        host.dir.is_in_place() && host.dir.has(&host.lock_path())
    }

    /// Creates the directories and the lock again. No enclosed thread can do so.
    pub(super) fn renew(&self) -> io::Result<()> {
        let host = self.now();
        let path = host.dir.path_of("");
        let again = open_host(&path, host.host()).map_err(io::Error::other)?;
        log::warn!("{} was removed or replaced: it is made anew", path.display());
        *self.lock() = Arc::new(again);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<HostDir>> {
        // No code panics while the mutex is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the directory of a host's part of a journal, and locks it.
pub(super) fn open_host(journal: &Path, host: &str) -> Result<HostDir, OpenError> {
    let failed = |error| io_error(journal, error);
    let own = rustix::process::geteuid().as_raw();
    let check = |owner: u32| {
        let path = journal.display().to_string();
        if owner == own { Ok(()) } else { Err(OpenError::Foreign { path, owner, own }) }
    };
    // The owner is checked before the directory is opened, since opening may be refused, and again
    // on the open directory.
    if let Ok(status) = rustix::fs::stat(journal) {
        check(status.st_uid)?;
    }
    let dir = Dir::create(journal).map_err(failed)?;
    check(dir.owner().map_err(failed)?)?;
    let mut host = HostDir::new(Arc::new(dir), host);
    host.dir.make_dirs(&host.live()).map_err(failed)?;
    let path = host.lock_path();
    let lock =
        host.dir.lock_file(&path).map_err(|error| io_error(&host.dir.path_of(&path), error))?;
    // Readers hold the lock for a moment, to test whether a recorder holds it.
    let mut locked = lock.try_lock();
    for _ in 0..LOCK_TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        thread::sleep(LOCK_AGAIN);
        locked = lock.try_lock();
    }
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::Locked(journal.display().to_string()),
        TryLockError::Error(error) => failed(error),
    })?;
    host.lock = Some(lock);
    Ok(host)
}

pub(super) fn io_error(path: &Path, error: io::Error) -> OpenError {
    OpenError::Io { path: path.display().to_string(), error }
}
