//! Standard output on a thread of its own: whoever follows the kernel must not wait for a disk or a reader.

use std::{
    io::{self, Write},
    mem,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread::{self, JoinHandle},
};

use super::stdout::{Stdout, is_read};
use crate::view::Sink;

/// Buffers that may wait to be written, of some 256 KiB each under load: what two cores make in two thirds of a second. Beyond
/// it, events wait in the kernel's rings, and what does not fit there is counted as lost.
const WAITING: usize = 512;

/// Standard output, written to in the background.
pub(in crate::cli) struct QueuedStdout {
    filled: Option<SyncSender<Vec<u8>>>,
    /// Where buffers come back from to be filled again.
    emptied: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl QueuedStdout {
    /// Starts the thread.
    pub(in crate::cli) fn start() -> io::Result<Self> {
        let (filled, to_write) = sync_channel(WAITING);
        let (written, emptied) = channel();
        let thread = thread::Builder::new().name("netmon:output".to_owned());
        let thread = thread.spawn(move || write(&to_write, &written))?;
        Ok(Self { filled: Some(filled), emptied, thread: Some(thread) })
    }

    /// Waits until all is written.
    pub(in crate::cli) fn close(&mut self) -> io::Result<()> {
        self.filled = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes panicked")))
    }
}

impl Sink for &mut QueuedStdout {
    fn take(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        if buffer.is_empty() {
            return is_read(&io::stdout());
        }
        let empty = self.emptied.try_recv().unwrap_or_default();
        let full = mem::replace(buffer, empty);
        match &self.filled {
            Some(filled) if filled.send(full).is_ok() => Ok(()),
            // The thread has ended before its time, and says why.
            _ => self.close().and(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn write(filled: &Receiver<Vec<u8>>, emptied: &Sender<Vec<u8>>) -> io::Result<()> {
    let mut stdout = Stdout::lock();
    while let Ok(mut buffer) = filled.recv() {
        stdout.take(&mut buffer)?;
        // Nobody may want it any more.
        let _ = emptied.send(buffer);
    }
    stdout.flush()
}
