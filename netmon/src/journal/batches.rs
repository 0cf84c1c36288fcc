//! Reads an Arrow IPC stream, of which nothing is believed: Arrow's own reader takes as much memory as a
//! buffer says that it needs when it is decompressed.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{convert::try_fb_to_schema, reader::StreamDecoder, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

use super::{
    decode::{self, Malformed},
    guard::guarded,
};

/// Before the length of a message (Arrow's encapsulated message format).
const CONTINUATION: u32 = u32::MAX;
/// The marker and the length.
const HEAD: usize = 8;
/// What a message may have, decompressed: many times what a batch of ours has.
const MOST: usize = 256 << 20;

/// Reads a stream as far as it was written; errors are the system's, of what is torn there is no more.
pub(super) struct Batches<R> {
    read: R,
    decoder: StreamDecoder,
    /// What the decoder has not taken yet of a message: it looks at one without a body when the next comes.
    pending: Buffer,
    schema: SchemaRef,
    /// It ended in the midst of a batch, or before its end was written.
    pub(super) torn: bool,
}

impl Batches<BufReader<File>> {
    pub(super) fn open(path: &Path) -> Result<Self, Malformed> {
        Self::new(BufReader::new(File::open(path)?))
    }
}

impl<R: Read> Batches<R> {
    pub(super) fn new(mut read: R) -> Result<Self, Malformed> {
        let pending = match message(&mut read) {
            Ok(Some(message)) => message,
            Ok(None) | Err(ArrowError::IpcError(_)) => return Err(Malformed::Foreign),
            Err(error) => return Err(error.into()),
        };
        let schema = parse(pending.get(HEAD..).unwrap_or_default())?.header_as_schema();
        let schema = schema.ok_or(Malformed::Foreign)?;
        let schema = guarded(|| Ok(try_fb_to_schema(schema)?))?;
        decode::check_version(&schema)?;
        Ok(Self {
            read,
            decoder: StreamDecoder::new(),
            pending,
            schema: schema.into(),
            torn: false,
        })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            // Dictionaries come before what they are for.
            if let Some(batch) = self.decoder.decode(&mut self.pending)? {
                return Ok(Some(batch));
            }
            let Some(message) = message(&mut self.read)? else { return Ok(None) };
            self.pending = message;
        }
    }
}

impl<R: Read> Iterator for Batches<R> {
    type Item = Result<RecordBatch, Malformed>;

    fn next(&mut self) -> Option<Result<RecordBatch, Malformed>> {
        if self.torn {
            return None;
        }
        match guarded(|| Ok(self.batch()?)) {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.torn = true;
                error.is_of_the_system().then_some(Err(error))
            }
        }
    }
}

/// The next message, whole; nothing at the end of the stream.
fn message(read: &mut impl Read) -> Result<Option<Buffer>, ArrowError> {
    let mut start = [0; HEAD];
    read.read_exact(&mut start)?;
    let [c0, c1, c2, c3, l0, l1, l2, l3] = start;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if u32::from_le_bytes([c0, c1, c2, c3]) != CONTINUATION {
        return Err(ArrowError::IpcError("no message begins here".to_owned()));
    }
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = start.to_vec();
    append(read, length, &mut bytes)?;
    let body = body_length(bytes.get(HEAD..).unwrap_or_default())?;
    let head = bytes.len();
    append(read, body, &mut bytes)?;
    let (head, body) = bytes.split_at(head);
    if decompressed(&head[HEAD..], body)? > MOST {
        return Err(ArrowError::IpcError("a batch is larger than any of ours".to_owned()));
    }
    Ok(Some(Buffer::from_vec(bytes)))
}

/// Appends so many bytes: as many as there are take memory, not as many as there should be.
fn append(read: &mut impl Read, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let taken = read.take(length as u64).read_to_end(bytes)?;
    if taken == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn parse(metadata: &[u8]) -> Result<arrow_ipc::Message<'_>, ArrowError> {
    root_as_message(metadata).map_err(|error| ArrowError::IpcError(error.to_string()))
}

fn body_length(metadata: &[u8]) -> Result<usize, ArrowError> {
    usize::try_from(parse(metadata)?.bodyLength())
        .map_err(|error| ArrowError::IpcError(error.to_string()))
}

/// How much memory a message's buffers ask for: compressed ones begin with that (`BodyCompression` in
/// Arrow's format/Message.fbs).
fn decompressed(metadata: &[u8], body: &[u8]) -> Result<usize, ArrowError> {
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
        // -1 says that it is not compressed.
        usize::try_from(length).ok()
    });
    Ok(lengths.flatten().fold(body.len(), usize::saturating_add))
}
