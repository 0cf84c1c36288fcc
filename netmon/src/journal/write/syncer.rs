//! The thread that syncs written bytes to the disk, and notices when the files are gone. A slow
//! disk then does not stop the writing.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use crate::{
    core::time::Mono,
    enclosure::{Reach, enclose},
    journal::{layout::HostDir, status::RecorderStatus},
};

/// The time for which written bytes may wait; the sync itself takes additional time.
const SYNCED_EVERY: Duration = Duration::from_millis(300);

/// An error of syncing, and the moment since which nothing can be assumed to be on the disk.
pub(super) type Unsynced = (io::Error, Mono);

/// The files of a segment, and the directory in which they are.
#[derive(Default)]
pub(super) struct OpenFiles {
    pub(super) host: Option<Arc<HostDir>>,
    pub(super) files: Vec<File>,
}

impl OpenFiles {
    /// Syncs the written bytes to the disk. Fails if the names do not lead to the files any more.
    fn sync(&self) -> io::Result<()> {
        if let Some(host) = &self.host {
            let is_deleted =
                |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
            if !host.dir.is_in_place() || self.files.iter().any(is_deleted) {
                return Err(io::Error::other("the journal was removed or replaced"));
            }
        }
        self.files.iter().try_for_each(File::sync_data)
    }
}

/// Syncs the files that came last through `files` again and again, until all senders of `files` are
/// gone. Sends failures to `errors`.
pub(super) fn run(shared: &RecorderStatus, files: &Receiver<OpenFiles>, errors: &Sender<Unsynced>) {
    enclose(Reach::Nothing);
    let mut open = OpenFiles::default();
    let mut safe = None;
    loop {
        let reached = shared.reached();
        let next = files.recv_timeout(SYNCED_EVERY);
        let error = open.sync().err();
        match (next, error) {
            (Err(RecvTimeoutError::Disconnected), None) => return,
            (Err(RecvTimeoutError::Disconnected), Some(error)) => {
                return log::error!("the end of the journal may not be on the disk: {error}");
            }
            (next, Some(error)) => {
                // The kernel reports the loss of written bytes only once, so this thread reports
                // the loss only once.
                open = next.unwrap_or_default();
                let _ = errors.send((error, safe.unwrap_or(reached)));
            }
            // `reached` may be of the new files, which were not synced.
            (Ok(next), None) => {
                open = next;
                safe.get_or_insert(reached);
            }
            (Err(RecvTimeoutError::Timeout), None) => safe = Some(reached),
        }
    }
}
