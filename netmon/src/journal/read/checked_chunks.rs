//! The bytes of a Parquet file: its footer, and column chunks whose checksums are compared.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes, buf::Reader};
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};
use rustc_hash::FxHashMap;

use super::page_sizes;
use crate::journal::error::{Malformed, Result};

/// The first and the last bytes of a Parquet file.
const MAGIC: &[u8; 4] = b"PAR1";
/// The bytes of the footer's length and of the magic.
const TAIL: u64 = 8;
/// The maximum number of bytes of a footer: the footer of a segment has about 50 KB.
const MAX_FOOTER: u64 = 16 << 20;
const MAX_DECOMPRESSED: u64 = 256 << 20;

/// The source of the bytes.
pub(super) enum FileBytes {
    File(File),
    Memory(Bytes),
}

pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) length: usize,
    pub(super) sum: u32,
    /// The name of the chunk, for messages.
    pub(super) name: String,
    pub(super) is_data: bool,
}

impl FileBytes {
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    pub(super) fn read(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Self::File(file) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start)?;
                Ok(bytes.into())
            }
            Self::Memory(bytes) => {
                let start = usize::try_from(start).map_err(|_| Malformed::Corrupt)?;
                let end = start.checked_add(length).filter(|end| *end <= bytes.len());
                Ok(bytes.slice(start..end.ok_or(Malformed::Corrupt)?))
            }
        }
    }

    /// Returns the start of the footer, and the footer.
    pub(super) fn footer(&self) -> Result<(u64, Bytes)> {
        let length = self.len()?;
        let head = MAGIC.len() as u64;
        if length < head + TAIL {
            return Err(if length == 0 { cut_short() } else { Malformed::Corrupt });
        }
        let tail = self.read(length - TAIL, 8)?;
        let (size, magic) = tail.split_at(4);
        if magic != MAGIC {
            return Err(Malformed::Foreign);
        }
        let size = u64::from(u32::from_le_bytes(size.try_into().unwrap_or_default()));
        if size > MAX_FOOTER {
            return Err(Malformed::TooLarge("a larger footer"));
        }
        let start = (length - TAIL).checked_sub(size).filter(|start| *start >= head);
        let start = start.ok_or(Malformed::Corrupt)?;
        Ok((start, self.read(start, usize::try_from(size).unwrap_or(0))?))
    }
}

pub(super) fn cut_short() -> Malformed {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}

/// Reads a chunk. Fails if the chunk was changed, or is larger than any chunk of netmon's when it
/// is decompressed.
pub(super) fn load(source: &FileBytes, chunk: &Chunk) -> Result<Bytes> {
    let bytes = source.read(chunk.start, chunk.length)?;
    if crc32fast::hash(&bytes) != chunk.sum {
        return Err(Malformed::Checksum(chunk.name.clone()));
    }
    if chunk.is_data && page_sizes::decompressed_size(&bytes)? > MAX_DECOMPRESSED {
        return Err(Malformed::TooLarge("more bytes in pages"));
    }
    Ok(bytes)
}

/// Gives the parquet crate the bytes of chunks. Each chunk is checked as a whole when any byte of
/// the chunk is needed.
#[derive(Clone)]
pub(super) struct CheckedChunks {
    source: Arc<FileBytes>,
    chunks: Arc<[Chunk]>,
    /// The chunks that were read, by start: the crate reads the pages of a chunk one after the
    /// other.
    read: Arc<Mutex<FxHashMap<u64, Bytes>>>,
    /// The reason why a chunk could not be read.
    pub(super) failed: Arc<Mutex<Option<Malformed>>>,
}

impl CheckedChunks {
    /// Wraps the chunks of a file, none of which is read yet.
    pub(super) fn new(source: Arc<FileBytes>, chunks: Arc<[Chunk]>) -> Self {
        Self { source, chunks, read: Arc::default(), failed: Arc::default() }
    }

    /// Returns the chunk that contains `start`, from `start` to its end.
    fn rest(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let outside = || ParquetError::General("it asks for bytes outside its columns".to_owned());
        let next = self.chunks.partition_point(|chunk| chunk.start <= start);
        let chunk = next.checked_sub(1).and_then(|at| self.chunks.get(at)).ok_or_else(outside)?;
        let offset = usize::try_from(start - chunk.start).map_err(|_| outside())?;
        if offset > chunk.length {
            return Err(outside());
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match read.get(&chunk.start) {
            Some(bytes) => bytes.clone(),
            None => {
                let bytes = load(&self.source, chunk).map_err(|error| {
                    let text = error.to_string();
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    ParquetError::General(text)
                })?;
                read.insert(chunk.start, bytes.clone());
                bytes
            }
        };
        Ok(bytes.slice(offset..))
    }
}

impl Length for CheckedChunks {
    fn len(&self) -> u64 {
        self.source.len().unwrap_or(0)
    }
}

impl ChunkReader for CheckedChunks {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.rest(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let rest = self.rest(start)?;
        if rest.len() < length {
            return Err(ParquetError::EOF("a page ends outside its column".to_owned()));
        }
        Ok(rest.slice(..length))
    }
}
