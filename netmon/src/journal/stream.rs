//! The segment that is being written: an Arrow IPC stream for each dataset.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use arrow_array::RecordBatch;
use arrow_ipc::{
    CompressionType,
    writer::{IpcWriteOptions, StreamWriter},
};
use arrow_schema::ArrowError;

/// Only its owner and group may read who talked to whom.
pub(super) const FILE_MODE: u32 = 0o640;

/// Writes one dataset's stream.
pub(super) struct Stream {
    writer: StreamWriter<File>,
}

impl Stream {
    /// Begins a stream in a new file, with the schema of `batch`.
    pub(super) fn create(path: &Path, batch: &RecordBatch) -> Result<Self, ArrowError> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
        // Most columns are empty in most rows: what the disk is spared is more than this takes.
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let writer = StreamWriter::try_new_with_options(file, batch.schema_ref(), options)?;
        Ok(Self { writer })
    }

    /// Writes a batch: the kernel has it then, whatever becomes of this process.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(batch)?;
        self.writer.flush()
    }

    /// The same file, for whoever has it on the disk.
    pub(super) fn file(&self) -> io::Result<File> {
        self.writer.get_ref().try_clone()
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> Result<(), ArrowError> {
        self.writer.finish()
    }
}

/// Whether a stream has its end.
pub(super) fn is_ended(path: &Path) -> bool {
    /// The continuation marker and a length of 0 (Arrow's IPC streaming format).
    const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-8))?;
        let mut last = [0; 8];
        file.read_exact(&mut last)?;
        Ok::<_, io::Error>(last)
    };
    read().is_ok_and(|last| last == END)
}
