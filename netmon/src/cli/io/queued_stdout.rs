//! Standard output on a thread of its own: the loop that follows the kernel must not wait for a
//! disk or a reader.

use std::{
    io::{self, Write},
    mem,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread::{self, JoinHandle},
};

use super::stdout::{Stdout, is_read};
use crate::view::Sink;

/// The most buffers that may wait to be written, some 256 KiB each under load: the output of two
/// cores in two thirds of a second.
///
/// Beyond that, events wait in the kernel's rings. Events that do not fit there are counted as
/// lost.
const WAITING: usize = 512;

/// Standard output, written to in the background.
pub(in crate::cli) struct QueuedStdout {
    full_buffers: Option<SyncSender<Vec<u8>>>,
    /// Written buffers, which come back to be filled again.
    empty_buffers: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl QueuedStdout {
    /// Starts the thread.
    pub(in crate::cli) fn start() -> io::Result<Self> {
        let (full_buffers, writer_input) = sync_channel(WAITING);
        let (writer_output, empty_buffers) = channel();
        let thread = thread::Builder::new().name("netmon:output".to_owned());
        let thread = thread.spawn(move || write(&writer_input, &writer_output))?;
        Ok(Self { full_buffers: Some(full_buffers), empty_buffers, thread: Some(thread) })
    }

    /// Waits until all is written.
    pub(in crate::cli) fn close(&mut self) -> io::Result<()> {
        self.full_buffers = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes panicked")))
    }
}

impl Sink for &mut QueuedStdout {
    fn take(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        if buffer.is_empty() {
            return is_read(&io::stdout());
        }
        let empty = self.empty_buffers.try_recv().unwrap_or_default();
        let full = mem::replace(buffer, empty);
        match &self.full_buffers {
            Some(full_buffers) if full_buffers.send(full).is_ok() => Ok(()),
            // The thread has ended before its time, and its result has the reason.
            _ => self.close().and(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn write(full_buffers: &Receiver<Vec<u8>>, empty_buffers: &Sender<Vec<u8>>) -> io::Result<()> {
    let mut stdout = Stdout::lock();
    while let Ok(mut buffer) = full_buffers.recv() {
        stdout.take(&mut buffer)?;
        // The other end may be gone.
        let _ = empty_buffers.send(buffer);
    }
    stdout.flush()
}
