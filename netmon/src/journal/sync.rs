//! The thread that has on the disk what was written: a slow disk keeps nobody from writing.

use std::{
    fs::File,
    io,
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use super::shared::Shared;

/// How long what was written may wait; the sync itself takes its time after that.
const SYNCED_EVERY: Duration = Duration::from_millis(300);

/// Why nothing that was written since a moment, `CLOCK_MONOTONIC`, ns, may be believed to be on the disk.
pub(super) type Unsynced = (io::Error, u64);

/// Syncs the files that come last through `files` again and again, until nobody is left to send any; what
/// goes wrong goes to `errors`.
pub(super) fn run(shared: &Shared, files: &Receiver<Vec<File>>, errors: &Sender<Unsynced>) {
    let mut open: Vec<File> = Vec::new();
    let mut safe = None;
    // Whether `open` has never been synced.
    let mut is_new = false;
    loop {
        let reached = shared.reached.load(Ordering::Relaxed);
        let next = files.recv_timeout(SYNCED_EVERY);
        // A disk that need not be woken may sleep.
        if safe == Some(reached) && !is_new && matches!(next, Err(RecvTimeoutError::Timeout)) {
            continue;
        }
        let error = open.iter().find_map(|file| file.sync_data().err());
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
                (open, is_new) = (next, true);
                safe.get_or_insert(reached);
            }
            (Err(RecvTimeoutError::Timeout), None) => (safe, is_new) = (Some(reached), false),
        }
    }
}
