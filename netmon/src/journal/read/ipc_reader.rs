//! Reads an Arrow IPC stream without trust in its contents. Arrow's own reader allocates as much
//! memory as a buffer claims to need after decompression.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom},
};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{convert::try_fb_to_schema, reader::StreamDecoder, root_as_message};
use arrow_schema::ArrowError;

use super::panic_guard::catch_reader_panic;
use crate::{
    core::time::Wall,
    journal::{
        error::{Malformed, Result},
        layout::{FileKind, HostDir},
        schema::{self, Dataset, VERSION_KEY},
    },
};

/// The marker before the length of a message (Arrow's encapsulated message format).
const CONTINUATION: u32 = u32::MAX;
/// The bytes of the marker and the length.
const HEAD: usize = 8;
/// The maximum number of bytes of a message, decompressed: many times the size of a batch of
/// netmon's.
const MOST: usize = 256 << 20;
/// The bytes of a checksum: the length of the stream so far, and the CRC-32 of the last part.
const SUM: usize = 12;
/// The maximum number of checksums of a stream: three a second for a day.
const MOST_SUMS: u64 = 300_000;

/// Reads a stream as far as it was written. A part that was changed is an error, after which more
/// batches may come. A failure of the system is an error, too.
pub(in crate::journal) struct IpcReader<R> {
    read: R,
    decoder: StreamDecoder,
    /// The rest of a message. The decoder reads a message without a body only when the next message
    /// comes.
    pending: Buffer,
    /// Bytes that match their checksum, and that were not read yet.
    checked: VecDeque<u8>,
    /// The end and the checksum of each part of the stream that was not read yet.
    sums: VecDeque<(u64, u32)>,
    /// The number of bytes that were read.
    at: u64,
    /// The metadata of the stream.
    keys: HashMap<String, String>,
    /// The stream ended within a batch, or before its end was written.
    pub(in crate::journal) torn: bool,
    /// A part of the stream was changed after it was written.
    pub(in crate::journal) damaged: bool,
}

impl IpcReader<BufReader<File>> {
    /// Opens the stream of a dataset of the segment that starts at `start`.
    pub(in crate::journal) fn open(host: &HostDir, dataset: Dataset, start: Wall) -> Result<Self> {
        let file = host.dir.read(&host.path(dataset, start, FileKind::Stream))?;
        let sums = match host.dir.read(&host.path(dataset, start, FileKind::Sums)) {
            Ok(file) => sums(file)?,
            Err(_) => VecDeque::new(),
        };
        Self::new(BufReader::new(file), sums)
    }
}

fn sums(file: File) -> Result<VecDeque<(u64, u32)>> {
    let mut bytes = Vec::new();
    file.take(MOST_SUMS * SUM as u64).read_to_end(&mut bytes)?;
    let sums = bytes.chunks_exact(SUM).map(|sum| {
        let (end, sum) = sum.split_at(8);
        let end = u64::from_le_bytes(end.try_into().unwrap_or_default());
        (end, u32::from_le_bytes(sum.try_into().unwrap_or_default()))
    });
    Ok(sums.collect())
}

impl<R: Read> IpcReader<R> {
    /// Begins to read a stream, with the checksums of its parts. Without checksums nothing is
    /// compared.
    pub(in crate::journal) fn new(read: R, sums: VecDeque<(u64, u32)>) -> Result<Self> {
        let mut reader = Self {
            read,
            decoder: StreamDecoder::new(),
            pending: Buffer::default(),
            checked: VecDeque::new(),
            sums,
            at: 0,
            keys: HashMap::new(),
            torn: false,
            damaged: false,
        };
        let pending = match reader.message() {
            Ok(Some(message)) => message,
            Ok(None) | Err(Malformed::Arrow(ArrowError::IpcError(_))) => {
                return Err(Malformed::Foreign);
            }
            Err(error) => return Err(error),
        };
        let schema = parse(pending.get(HEAD..).unwrap_or_default())?.header_as_schema();
        let schema = schema.ok_or(Malformed::Foreign)?;
        let schema = catch_reader_panic(|| Ok(try_fb_to_schema(schema)?))?;
        schema::check_version(schema.metadata().get(VERSION_KEY).map(String::as_str))?;
        reader.pending = pending;
        reader.keys = schema.metadata.into();
        Ok(reader)
    }

    /// Returns the value of a key of the stream's metadata.
    pub(in crate::journal) fn key(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            // Dictionaries come before the batch that needs them.
            if let Some(batch) = self.decoder.decode(&mut self.pending)? {
                return Ok(Some(batch));
            }
            let Some(message) = self.message()? else { return Ok(None) };
            self.pending = message;
        }
    }

    /// Returns the next message as a whole; nothing at the end of the stream.
    fn message(&mut self) -> Result<Option<Buffer>> {
        while self.checked.is_empty() {
            let Some((end, sum)) = self.sums.pop_front() else {
                let (message, length) = message(&mut self.read)?;
                self.at += length;
                return Ok(message);
            };
            let from = self.at;
            let length = end.checked_sub(from).and_then(|length| usize::try_from(length).ok());
            let Some(length) = length.filter(|length| *length <= MOST) else {
                self.sums.clear();
                return Err(self.damage(from, end));
            };
            let mut part = Vec::new();
            append(&mut self.read, length, &mut part)?;
            self.at = end;
            if crc32fast::hash(&part) != sum {
                return Err(self.damage(from, end));
            }
            self.checked = part.into();
        }
        Ok(message(&mut self.checked)?.0)
    }

    fn damage(&mut self, from: u64, to: u64) -> Malformed {
        self.damaged = true;
        self.pending = Buffer::default();
        Malformed::Checksum(format!("bytes {from} to {to}"))
    }
}

impl<R: Read> Iterator for IpcReader<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        if self.torn {
            return None;
        }
        match catch_reader_panic(|| self.batch()) {
            Ok(batch) => batch.map(Ok),
            Err(error @ Malformed::Checksum(_)) => Some(Err(error)),
            Err(error) => {
                self.torn = true;
                error.is_of_the_system().then_some(Err(error))
            }
        }
    }
}

/// Returns the next message and its length; no message at the end of the stream.
fn message(read: &mut impl Read) -> std::result::Result<(Option<Buffer>, u64), ArrowError> {
    let mut start = [0; HEAD];
    read.read_exact(&mut start)?;
    let [c0, c1, c2, c3, l0, l1, l2, l3] = start;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if u32::from_le_bytes([c0, c1, c2, c3]) != CONTINUATION {
        return Err(ArrowError::IpcError("no message begins here".to_owned()));
    }
    if length == 0 {
        return Ok((None, HEAD as u64));
    }
    if length > MOST {
        return Err(ArrowError::IpcError("a message is larger than any of netmon's".to_owned()));
    }
    let mut bytes = start.to_vec();
    append(read, length, &mut bytes)?;
    let body = body_length(bytes.get(HEAD..).unwrap_or_default())?;
    if body > MOST {
        return Err(ArrowError::IpcError("a batch is larger than any of netmon's".to_owned()));
    }
    let head = bytes.len();
    append(read, body, &mut bytes)?;
    let (head, body) = bytes.split_at(head);
    if decompressed_size(&head[HEAD..], body)? > MOST {
        return Err(ArrowError::IpcError("a batch is larger than any of netmon's".to_owned()));
    }
    let length = bytes.len() as u64;
    Ok((Some(Buffer::from_vec(bytes)), length))
}

/// Appends `length` bytes. Memory is allocated only for bytes that exist.
fn append(read: &mut impl Read, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let taken = read.take(length as u64).read_to_end(bytes)?;
    if taken == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn parse(metadata: &[u8]) -> std::result::Result<arrow_ipc::Message<'_>, ArrowError> {
    root_as_message(metadata).map_err(|error| ArrowError::IpcError(error.to_string()))
}

fn body_length(metadata: &[u8]) -> std::result::Result<usize, ArrowError> {
    usize::try_from(parse(metadata)?.bodyLength())
        .map_err(|error| ArrowError::IpcError(error.to_string()))
}

/// Returns how much memory the buffers of a message need. A compressed buffer begins with that
/// number (`BodyCompression` in Arrow's format/Message.fbs).
fn decompressed_size(metadata: &[u8], body: &[u8]) -> std::result::Result<usize, ArrowError> {
    let message = parse(metadata)?;
    let batch = message.header_as_record_batch();
    let batch = batch.or_else(|| message.header_as_dictionary_batch()?.data());
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else {
        return Ok(body.len());
    };
    let buffers = batch.buffers().into_iter().flatten();
    let lengths = buffers.map(|buffer| {
        let from = usize::try_from(buffer.offset()).ok()?;
        let length = body.get(from..)?.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))?;
        // -1 means that the buffer is not compressed.
        usize::try_from(length).ok()
    });
    Ok(lengths.flatten().fold(body.len(), usize::saturating_add))
}

/// Returns whether the events of a segment end with the end marker.
pub(in crate::journal) fn is_ended(host: &HostDir, start: Wall) -> bool {
    /// The continuation marker and a length of 0 (Arrow's IPC streaming format).
    const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let read = || {
        let mut file = host.dir.read(&host.path(Dataset::Events, start, FileKind::Stream))?;
        file.seek(SeekFrom::End(-8))?;
        let mut last = [0; 8];
        file.read_exact(&mut last)?;
        Ok::<_, Malformed>(last)
    };
    read().is_ok_and(|last| last == END)
}
