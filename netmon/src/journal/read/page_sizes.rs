//! The decompressed sizes of a column chunk's pages. The parquet crate allocates as much memory as
//! a page's header claims, so the headers are checked first.
//!
//! A header is a struct `PageHeader` in Thrift's compact protocol (parquet-format, parquet.thrift;
//! Thrift, thrift-compact-protocol.md).

use crate::journal::error::{Malformed, Result};

/// The maximum depth of nested structs. A header has a depth of three.
const MAX_DEPTH: usize = 8;

/// The numbers of fields of `PageHeader`.
const UNCOMPRESSED_SIZE: i16 = 2;
const COMPRESSED_SIZE: i16 = 3;

/// Returns the bytes that the pages of a chunk need, decompressed.
///
/// # Errors
/// Returns an error when the chunk does not consist of pages.
pub(super) fn decompressed_size(chunk: &[u8]) -> Result<u64> {
    let mut rest = ThriftReader(chunk);
    let mut all = 0_u64;
    while !rest.0.is_empty() {
        let [mut uncompressed, mut compressed] = [0; 2];
        rest.fields(0, &mut |field, value| match field {
            UNCOMPRESSED_SIZE => uncompressed = value,
            COMPRESSED_SIZE => compressed = value,
            _ => {}
        })?;
        all = all.saturating_add(u64::try_from(uncompressed).map_err(|_| Malformed::Corrupt)?);
        rest.skip(usize::try_from(compressed).map_err(|_| Malformed::Corrupt)?)?;
    }
    Ok(all)
}

struct ThriftReader<'a>(&'a [u8]);

impl ThriftReader<'_> {
    /// Reads a struct, and calls `take` with the integers that are its own fields.
    fn fields(&mut self, depth: usize, take: &mut dyn FnMut(i16, i64)) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Malformed::Corrupt);
        }
        let mut field = 0_i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                return Ok(());
            }
            field = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).map_err(|_| Malformed::Corrupt)?,
                distance => field.checked_add(distance.into()).ok_or(Malformed::Corrupt)?,
            };
            match kind {
                // The type of a boolean is its value.
                1 | 2 => {}
                3 => self.skip(1)?,
                4..=6 => take(field, self.zigzag()?),
                7 => self.skip(8)?,
                8 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Corrupt)?;
                    self.skip(length)?;
                }
                12 => self.fields(depth + 1, &mut |_, _| {})?,
                // No header has lists, sets or maps.
                _ => return Err(Malformed::Corrupt),
            }
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.0.split_first().ok_or(Malformed::Corrupt)?;
        self.0 = rest;
        Ok(*first)
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        self.0 = self.0.get(length..).ok_or(Malformed::Corrupt)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Corrupt)
    }

    fn zigzag(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_sizes_of_pages() {
        // Type 0, 1000 bytes decompressed, 3 bytes compressed, a header of a data page, three bytes
        // of data.
        let page =
            [0x15, 0x00, 0x15, 0xd0, 0x0f, 0x15, 0x06, 0x2c, 0x15, 0x02, 0x00, 0x00, 1, 2, 3];
        assert_eq!(decompressed_size(&page).expect("a page"), 1000);
        assert_eq!(decompressed_size(&[page, page].concat()).expect("pages"), 2000);
        assert_eq!(decompressed_size(&[]).expect("none"), 0);
        for cut in 1..page.len() {
            assert!(decompressed_size(&page[..cut]).is_err(), "{cut}");
        }
        // A list, and structs that are nested without end.
        assert!(decompressed_size(&[0x19]).is_err());
        assert!(decompressed_size(&[0x1c; 64]).is_err());
    }
}
