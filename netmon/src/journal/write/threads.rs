//! The threads of a recorder: one writes the current segment, one syncs it to the disk, and one
//! turns segments into Parquet.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
};

use super::{
    archiver::{Archiver, Retention},
    names::RecorderNames,
    place::JournalPlace,
    segment_writer::{RecorderIdentity, SegmentWriter, WriterMessage},
    syncer,
};
use crate::{core::time::Wall, journal::status::RecorderStatus};

/// The running threads. They end when the queue of the writing thread is closed.
pub(super) struct RecorderThreads {
    writers: Vec<JoinHandle<()>>,
    archiver: JoinHandle<Archiver>,
}

impl RecorderThreads {
    /// Starts the threads. `leftover` are segments of an earlier recording that are not Parquet
    /// yet. Returns the queue of the writing thread too.
    pub(super) fn start(
        place: JournalPlace,
        shared: &Arc<RecorderStatus>,
        identity: RecorderIdentity,
        names: RecorderNames,
        (leftover, retention): (Vec<Wall>, Retention),
    ) -> io::Result<(Self, Sender<WriterMessage>)> {
        let (queue, mut messages) = channel();
        let (closed, to_close) = channel();
        let (files, to_sync) = channel();
        let (errors, unsynced) = channel();
        for start in leftover {
            // The receiver is here.
            let _ = closed.send(start);
        }
        let syncing = Arc::clone(shared);
        let archiver = Archiver::new(place.clone(), Arc::clone(shared), retention);
        let mut writer = SegmentWriter::new(
            place,
            Arc::clone(shared),
            identity,
            names,
            closed,
            (files, unsynced),
        );
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let writers = vec![
            spawn("netmon:journal").spawn(move || writer.run(&mut messages))?,
            spawn("netmon:sync").spawn(move || syncer::run(&syncing, &to_sync, &errors))?,
        ];
        let archiver = spawn("netmon:parquet").spawn(move || archiver.run(&to_close))?;
        Ok((Self { writers, archiver }, queue))
    }

    /// Returns whether a thread has ended though the queue is open: the thread panicked.
    pub(super) fn is_broken(&self) -> bool {
        self.writers.iter().any(JoinHandle::is_finished) || self.archiver.is_finished()
    }

    /// Waits until everything is written, after the queue was closed. The last segments become
    /// Parquet in this thread: the thread for that has a low priority, and is slow on a busy host.
    pub(super) fn end(self) {
        for thread in self.writers {
            // The panic of the thread was printed already.
            let _ = thread.join();
        }
        if let Ok(mut archiver) = self.archiver.join() {
            archiver.finish();
        }
    }
}
