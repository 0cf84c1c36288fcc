//! The thread that has on the disk what was written, and notices when the files are gone: a slow
//! disk keeps nobody from writing.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use crate::journal::{layout::HostDir, status::RecorderStatus};

/// How long what was written may wait; the sync itself takes its time after that.
const SYNCED_EVERY: Duration = Duration::from_millis(300);

/// Why nothing that was written since a moment, `CLOCK_MONOTONIC`, ns, may be believed to be on the
/// disk.
pub(super) type Unsynced = (io::Error, u64);

/// The files of a segment, and the directory in which they are.
#[derive(Default)]
pub(super) struct OpenFiles {
    pub(super) host: Option<Arc<HostDir>>,
    pub(super) files: Vec<File>,
}

impl OpenFiles {
    /// Has on the disk what was written; fails where the files are not found by their names any
    /// more.
    fn sync(&self) -> io::Result<()> {
        if let Some(host) = &self.host {
            let is_deleted = |file: &File| file.metadata().is_ok_and(|found| found.nlink() == 0);
            if !host.dir.is_in_place() || self.files.iter().any(is_deleted) {
                return Err(io::Error::other("the journal was removed or replaced"));
            }
        }
        self.files.iter().try_for_each(File::sync_data)
    }
}

/// Syncs the files that come last through `files` again and again, until nobody is left to send
/// any. Failures go to `errors`.
pub(super) fn run(shared: &RecorderStatus, files: &Receiver<OpenFiles>, errors: &Sender<Unsynced>) {
    let mut open = OpenFiles::default();
    let mut safe = None;
    loop {
        let reached = shared.reached.load(Ordering::Relaxed);
        let next = files.recv_timeout(SYNCED_EVERY);
        let error = open.sync().err();
        match (next, error) {
            (Err(RecvTimeoutError::Disconnected), None) => return,
            (Err(RecvTimeoutError::Disconnected), Some(error)) => {
                return log::error!("the end of the journal may not be on the disk: {error}");
            }
            (next, Some(error)) => {
                // What the kernel has dropped it does not report again, so neither does this.
                open = next.unwrap_or_default();
                let _ = errors.send((error, safe.unwrap_or(reached)));
            }
            // Others than those that were synced may have been reached.
            (Ok(next), None) => {
                open = next;
                safe.get_or_insert(reached);
            }
            (Err(RecvTimeoutError::Timeout), None) => safe = Some(reached),
        }
    }
}
