//! Bytes on their way out: formatted into one buffer, written in few calls.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use bytes::Buf;

use super::stack_text::StackText;

/// Written out early beyond this, so that a flood is not kept in memory.
const FULL: usize = 256 * 1024;

/// Where buffers go that are to be seen: any writer, or whoever takes them whole.
pub trait Sink {
    /// Takes what is in `buffer`, and leaves it empty. With nothing in it, it may tell that nobody reads any more.
    ///
    /// # Errors
    /// What writing it, or what was taken before, answered.
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

    /// Room for one more line; ends the buffer's growth by writing it out.
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
