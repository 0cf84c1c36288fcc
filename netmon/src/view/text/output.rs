//! Bytes on their way out: formatted into one buffer, written in few calls.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use bytes::Buf;

use super::stack_text::StackText;

/// A buffer with this many bytes is written out early, so that a flood is not kept in memory.
const FULL: usize = 256 * 1024;

/// A receiver of buffers: any writer, or a type that takes buffers whole.
pub trait Sink {
    /// Takes the contents of `buffer`, and leaves `buffer` empty.
    ///
    /// If `buffer` is empty already, the sink may report that no reader is left.
    ///
    /// # Errors
    /// The error of writing this buffer, or an earlier one.
    fn take(&mut self, buffer: &mut Vec<u8>) -> io::Result<()>;
}

impl<W: Write> Sink for W {
    fn take(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = buffer.as_slice();
        while rest.has_remaining() {
            match self.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.clear();
        self.flush()
    }
}

/// Lines on their way into a sink.
pub(in crate::view) struct Output<W> {
    to: W,
    buffer: Vec<u8>,
}

impl<W: Sink> Output<W> {
    pub(in crate::view) fn new(to: W) -> Self {
        Self { to, buffer: Vec::with_capacity(FULL + 4096) }
    }

    /// Returns the buffer, with room for one more line; writes a full buffer out first.
    pub(in crate::view) fn line(&mut self) -> io::Result<&mut Vec<u8>> {
        if self.buffer.len() >= FULL {
            self.flush()?;
        }
        Ok(&mut self.buffer)
    }

    /// Writes everything out.
    pub(in crate::view) fn flush(&mut self) -> io::Result<()> {
        self.to.take(&mut self.buffer)
    }
}

/// Writes an address; IPv4 from a table, since `Display` takes longer than the rest of its line.
pub(in crate::view) fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mut short = StackText::<16>::new();
            short.octets(address.octets());
            out.extend_from_slice(short.text());
        }
        // Writing to a vector does not fail.
        IpAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}
