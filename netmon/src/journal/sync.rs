//! The thread that has on the disk what was written: a slow disk keeps nobody from writing.

use std::{
    fs::File,
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::Duration,
};

/// How long what was written may wait; the sync itself takes its time after that.
const SYNCED_EVERY: Duration = Duration::from_millis(300);

/// Syncs the files that come last through `files` again and again, until nobody is left to send any; what
/// goes wrong goes to `errors`.
pub(super) fn run(files: &Receiver<Vec<File>>, errors: &Sender<io::Error>) {
    let mut open: Vec<File> = Vec::new();
    loop {
        let next = files.recv_timeout(SYNCED_EVERY);
        if let Some(error) = open.iter().find_map(|file| file.sync_data().err()) {
            // What the kernel has dropped it does not report again, so neither does this.
            open.clear();
            let _ = errors.send(error);
        }
        match next {
            Ok(next) => open = next,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
