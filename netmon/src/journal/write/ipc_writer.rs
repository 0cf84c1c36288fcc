//! Writes a dataset of the segment that is being written: an Arrow IPC stream, and checksums beside
//! it.

use std::{
    fs::File,
    io::{self, Write},
};

use arrow_array::RecordBatch;
use arrow_ipc::{
    CompressionType,
    writer::{IpcWriteOptions, StreamWriter},
};
use arrow_schema::{ArrowError, Schema};

use crate::journal::{
    layout::{FileKind, HostDir},
    schema::Dataset,
};

/// Writes one dataset's stream.
pub(super) struct IpcWriter {
    /// Encodes into memory, so that what is written can be summed.
    encoder: StreamWriter<Vec<u8>>,
    stream: File,
    sums: File,
    /// Bytes of the stream so far.
    end: u64,
}

impl IpcWriter {
    /// Begins the stream of a dataset in new files; `keys` is what it says of itself.
    pub(super) fn create(
        host: &HostDir,
        dataset: Dataset,
        start: i64,
        kind: FileKind,
        keys: &[(&str, String)],
    ) -> Result<Self, ArrowError> {
        let sums = host.dir.create_new(&host.path(dataset, start, FileKind::Sums))?;
        let stream = host.dir.create_new(&host.path(dataset, start, kind))?;
        // Most columns are empty in most rows: what the disk is spared is more than this takes.
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut schema = Schema::clone(&*dataset.schema()?);
        let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        schema.metadata.extend(keys);
        let encoder = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
        let mut writer = Self { encoder, stream, sums, end: 0 };
        writer.put()?;
        Ok(writer)
    }

    /// Writes a batch: the kernel has it then, whatever becomes of this process.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.encoder.write(batch)?;
        Ok(self.put()?)
    }

    /// Writes what is encoded, then its checksum: the length of the stream so far, 8 bytes, and the
    /// CRC-32 of what came since the checksum before, 4 bytes, both little-endian.
    fn put(&mut self) -> io::Result<()> {
        let bytes = self.encoder.get_mut();
        self.stream.write_all(bytes)?;
        self.end += bytes.len() as u64;
        let mut sum = [0; 12];
        sum[..8].copy_from_slice(&self.end.to_le_bytes());
        sum[8..].copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        bytes.clear();
        self.sums.write_all(&sum)
    }

    /// The same files, for whoever has them on the disk.
    pub(super) fn files(&self) -> io::Result<[File; 2]> {
        Ok([self.stream.try_clone()?, self.sums.try_clone()?])
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> Result<(), ArrowError> {
        self.encoder.finish()?;
        Ok(self.put()?)
    }
}
