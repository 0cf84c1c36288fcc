//! Bytes on their way out: formatted into one buffer, written in few calls.

use std::io::{self, Write};

use bytes::{Buf, BytesMut};

/// Written out early beyond this, so that a flood is not kept in memory.
const FULL: usize = 256 * 1024;

/// A writer behind a buffer.
pub(super) struct Output<W> {
    to: W,
    buffer: BytesMut,
}

impl<W: Write> Output<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, buffer: BytesMut::with_capacity(2 * FULL) }
    }

    /// Room for one more line; ends the buffer's growth by writing it out.
    pub(super) fn line(&mut self) -> io::Result<&mut BytesMut> {
        if self.buffer.len() >= FULL {
            self.flush()?;
        }
        Ok(&mut self.buffer)
    }

    /// Writes everything out.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.buffer.has_remaining() {
            let written = self.to.write(&self.buffer)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.buffer.advance(written);
        }
        self.buffer.clear();
        self.to.flush()
    }
}
