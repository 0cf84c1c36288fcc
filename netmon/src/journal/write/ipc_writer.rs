//! Writes a dataset of the segment that is being written: an Arrow IPC stream, and its checksums in
//! a second file.

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

use crate::{
    core::time::Wall,
    journal::{
        layout::{FileKind, HostDir},
        schema::Dataset,
    },
};

/// Writes one dataset's stream.
pub(super) struct IpcWriter {
    /// Encodes into memory, so that the bytes can be summed.
    encoder: StreamWriter<Vec<u8>>,
    stream: File,
    sums: File,
    /// The number of bytes of the stream so far.
    end: u64,
}

impl IpcWriter {
    /// Begins the stream of a dataset in new files, with the metadata `keys`.
    pub(super) fn create(
        host: &HostDir,
        dataset: Dataset,
        start: Wall,
        kind: FileKind,
        keys: &[(&str, String)],
    ) -> Result<Self, ArrowError> {
        let sums = host.dir.create_new(&host.path(dataset, start, FileKind::Sums))?;
        let stream = host.dir.create_new(&host.path(dataset, start, kind))?;
        // Most columns are empty in most rows: compression saves more than it costs.
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

    /// Writes a batch. After that the kernel has the batch, even if this process dies.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.encoder.write(batch)?;
        Ok(self.put()?)
    }

    /// Writes the encoded bytes, then their checksum: the length of the stream so far, 8 bytes, and
    /// the CRC-32 of the bytes since the last checksum, 4 bytes, both little-endian.
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

    /// Returns handles of the same files, for the thread that syncs them.
    pub(super) fn files(&self) -> io::Result<[File; 2]> {
        Ok([self.stream.try_clone()?, self.sums.try_clone()?])
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> Result<(), ArrowError> {
        self.encoder.finish()?;
        Ok(self.put()?)
    }
}
