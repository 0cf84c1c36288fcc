//! Standard output on a thread of its own: the loop that follows the kernel must not wait for a
//! disk or a reader.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use super::stdout::{Stdout, is_read};
use crate::view::Sink;

/// The most bytes that may wait to be written: the output of two cores under churn in two thirds of
/// a second, and of 200 connections a second in some minutes.
///
/// Beyond that, events wait in the kernel's rings. Events that do not fit there are counted as
/// lost.
const WAITING: usize = 128 << 20;
/// The size up to which waiting output is put together. Without a limit on small buffers their
/// number would be bounded by nothing but [`WAITING`], and each costs more than its bytes.
const PIECE: usize = 256 << 10;
/// Written buffers that are kept to be filled again. The rest of a long queue is freed.
const KEPT: usize = 4;

/// Standard output, written to in the background.
pub(in crate::cli) struct QueuedStdout {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl QueuedStdout {
    /// Starts the thread.
    pub(in crate::cli) fn start() -> io::Result<Self> {
        let queue = Arc::new(Queue::new(WAITING));
        let thread = thread::Builder::new().name("netmon:output".to_owned());
        let end = QueueEnd(Arc::clone(&queue));
        let thread = thread.spawn(move || end.0.write(&mut Stdout::lock()))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Waits until all is written.
    pub(in crate::cli) fn close(&mut self) -> io::Result<()> {
        self.queue.close();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes panicked")))
    }
}

impl Drop for QueuedStdout {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Sink for &mut QueuedStdout {
    fn take(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        if buffer.is_empty() {
            return is_read(&io::stdout());
        }
        if self.queue.put(buffer) {
            return Ok(());
        }
        // The thread has ended before its time, and its result has the reason.
        self.close().and(Err(io::ErrorKind::BrokenPipe.into()))
    }
}

/// Output on its way from one thread to another.
struct Queue {
    state: Mutex<QueueState>,
    /// Notified when output comes, and when room is made.
    changed: Condvar,
    /// The most bytes that may wait.
    limit: usize,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Vec<u8>>,
    /// The bytes that are not written yet, those that are being written included.
    bytes: usize,
    /// Written buffers, to be filled again.
    empty: Vec<Vec<u8>>,
    /// `true` once no more output comes.
    is_closed: bool,
    /// `true` once nothing is written any more.
    has_ended: bool,
}

/// The end of the queue that is written out. However its thread ends, the other end learns of that.
struct QueueEnd(Arc<Queue>);

impl Drop for QueueEnd {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Each change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Takes the contents of `buffer`, once there is room, and leaves `buffer` empty. Returns
    /// `false` if nothing is written any more.
    fn put(&self, buffer: &mut Vec<u8>) -> bool {
        let mut state = self.lock();
        // A buffer that is larger than the limit waits until the queue is empty.
        while !state.has_ended && state.bytes > 0 && state.bytes + buffer.len() > self.limit {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.has_ended {
            return false;
        }
        state.bytes += buffer.len();
        match state.waiting.back_mut() {
            Some(last) if last.len() + buffer.len() <= PIECE => last.append(buffer),
            _ => {
                let empty = state.empty.pop();
                let empty = empty.unwrap_or_else(|| Vec::with_capacity(buffer.capacity()));
                state.waiting.push_back(mem::replace(buffer, empty));
            }
        }
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Writes everything that comes into the queue, until the queue is closed.
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        while let Some(mut buffer) = self.next() {
            let length = buffer.len();
            to.take(&mut buffer)?;
            let mut state = self.lock();
            state.bytes -= length;
            if state.empty.len() < KEPT {
                state.empty.push(buffer);
            }
            drop(state);
            self.changed.notify_all();
        }
        to.flush()
    }

    /// Waits for the next buffer. Returns nothing at the end.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if let Some(buffer) = state.waiting.pop_front() {
                return Some(buffer);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        sync::atomic::{AtomicUsize, Ordering},
        time::{Duration, Instant},
    };

    use super::*;

    const LIMIT: usize = 4 << 20;
    /// The bytes that a pipe holds (pipe(7)).
    const IN_A_PIPE: usize = 64 << 10;

    /// Waits until `number` is above `least`, and then a moment longer: it may go on.
    fn risen(number: &AtomicUsize, least: usize) -> usize {
        let end = Instant::now() + Duration::from_secs(60);
        while number.load(Ordering::Relaxed) <= least {
            assert!(Instant::now() < end, "{number:?} bytes so far");
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(300));
        number.load(Ordering::Relaxed)
    }

    /// The byte of each buffer of that length, so many that twice the limit comes.
    fn bytes(length: usize) -> impl Iterator<Item = u8> {
        (0..=250).cycle().take(2 * LIMIT / length)
    }

    #[test]
    fn bytes_are_bounded_and_not_buffers() {
        for length in [100, 8_000, PIECE + 100] {
            let queue = Arc::new(Queue::new(LIMIT));
            // The reader of a pipe that does not read.
            let (mut reader, mut writer) = io::pipe().expect("a pipe");
            let end = QueueEnd(Arc::clone(&queue));
            let writing = thread::spawn(move || end.0.write(&mut writer));
            let taken = Arc::new(AtomicUsize::new(0));
            let (source, count) = (Arc::clone(&queue), Arc::clone(&taken));
            let filling = thread::spawn(move || {
                let mut buffer = Vec::new();
                for byte in bytes(length) {
                    buffer.resize(length, byte);
                    assert!(source.put(&mut buffer) && buffer.is_empty());
                    count.fetch_add(length, Ordering::Relaxed);
                }
                source.close();
            });
            // Pieces that are in the pipe as a whole do not wait any more.
            let waiting = risen(&taken, LIMIT - length);
            assert!(waiting <= LIMIT + IN_A_PIPE, "{length}: {waiting}");
            let state = queue.lock();
            assert!(state.bytes <= LIMIT);
            // The pieces are large, so that their memory is near to their bytes.
            assert!(state.waiting.len() <= 2 * LIMIT / PIECE, "{} pieces", state.waiting.len());
            drop(state);
            let mut read = Vec::new();
            reader.read_to_end(&mut read).expect("all of it");
            filling.join().expect("no panic");
            writing.join().expect("no panic").expect("written");
            let expected = bytes(length).flat_map(|byte| vec![byte; length]);
            assert!(read.into_iter().eq(expected), "in order, each once");
            assert!(queue.lock().bytes == 0 && queue.lock().empty.len() <= KEPT);
        }
    }

    #[test]
    fn a_reader_that_leaves_ends_the_wait() {
        let queue = Arc::new(Queue::new(LIMIT));
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let end = QueueEnd(Arc::clone(&queue));
        let writing = thread::spawn(move || end.0.write(&mut writer));
        let source = Arc::clone(&queue);
        let filling = thread::spawn(move || {
            // Twice as much as may wait: the loop waits, until the reader has left.
            (0..2 * LIMIT / 1_000).all(|_| source.put(&mut vec![0; 1_000]))
        });
        thread::sleep(Duration::from_millis(200));
        drop(reader);
        assert!(!filling.join().expect("no panic"), "the queue ended");
        let error = writing.join().expect("no panic").expect_err("no reader");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
