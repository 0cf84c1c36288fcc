//! Captures: the records of the rings and the kernel's answers, in a file, so that the assembler
//! can be run again on them without root and without that kernel.
//!
//! A capture is a sequence of entries: a byte for the kind, the length of the payload (16 bits,
//! little-endian), and the payload. It holds no address of the kernel's memory. What dumps found is
//! not in it.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use bytemuck::bytes_of;
use netmon_common as wire;

use crate::{
    core::{id::SocketId, time::Mono},
    kernel::{ring::record::Record, sockets::sock_diag::BucketState},
};

/// The kinds of entries.
pub(super) mod entry {
    /// A byte: 1 if the kernel reports what becomes of buckets. The first entry.
    pub(crate) const HEADER: u8 = 1;
    /// A record of a ring.
    pub(crate) const RECORD: u8 = 2;
    /// The answers to one question about buckets: the time of the answer (64 bits), then for each
    /// socket its cookie (64 bits) and the state (a byte).
    pub(crate) const BUCKETS: u8 = 3;
    /// The answer to a question about a local port: the cookie (64 bits), the port (16 bits; 0 for
    /// none).
    pub(crate) const PORT: u8 = 4;
    /// The assembler settled what was due by a time (64 bits). The answers before belong to it.
    pub(crate) const ADVANCE: u8 = 5;
    /// The assembler settled everything at a time (64 bits): the session ended.
    pub(crate) const FINISH: u8 = 6;
}

/// The states of buckets, in the order of their numbers in a capture.
pub(super) const STATES: [BucketState; 4] =
    [BucketState::TimeWait, BucketState::Waiting, BucketState::Gone, BucketState::Unknown];

/// Writes a capture.
pub(super) struct Capture {
    to: BufWriter<File>,
    /// The first error: nothing is written after it.
    error: Option<io::Error>,
}

impl Capture {
    /// Begins a capture in a new file.
    ///
    /// # Errors
    /// Fails if the file exists, or cannot be made.
    pub(super) fn create(path: &Path, kernel_reports: bool) -> io::Result<Self> {
        let to = BufWriter::new(File::create_new(path)?);
        let mut capture = Self { to, error: None };
        capture.put(entry::HEADER, &[&[kernel_reports.into()]]);
        capture.flush()?;
        Ok(capture)
    }

    /// Adds a record.
    pub(super) fn record(&mut self, record: &Record) {
        let bytes = match record {
            Record::Transition(record) => bytes_of(record),
            // The address serves only to read the port.
            Record::Open(record) => return self.open(*record),
            Record::Child(record) => bytes_of(record),
            Record::End(record) => bytes_of(record),
            Record::Note(record) => bytes_of(record),
            Record::Accept(record) => bytes_of(record),
            Record::Exec(record) => return self.exec(record),
            Record::Fork(record) => bytes_of(record),
            Record::Exit(record) => bytes_of(record),
            Record::CgroupMade(record) => return self.cgroup(**record),
            Record::CgroupRemoved(record) => bytes_of(record),
        };
        self.put(entry::RECORD, &[bytes]);
    }

    fn open(&mut self, mut record: wire::Open) {
        record.sock = 0;
        self.put(entry::RECORD, &[bytes_of(&record)]);
    }

    /// Adds the record without the arguments, which may have secrets.
    fn exec(&mut self, record: &wire::Exec) {
        let arguments = [0; wire::ARGUMENTS];
        let mut record =
            wire::Exec { arguments_length: 0, arguments_size: 0, arguments, ..*record };
        // The rest of the room has the bytes of older records.
        let used = usize::from(record.path_length).min(wire::PATH_ROOM);
        record.path[used..].fill(0);
        self.put(entry::RECORD, &[bytes_of(&record)]);
    }

    /// Adds the record without the rest of the room.
    fn cgroup(&mut self, mut record: wire::CgroupMade) {
        let used = usize::from(record.path_length).min(wire::CGROUP_PATH);
        record.path[used..].fill(0);
        self.put(entry::RECORD, &[bytes_of(&record)]);
    }

    /// Adds the answers to a question about buckets.
    pub(super) fn buckets(
        &mut self,
        answers: impl Iterator<Item = (SocketId, BucketState)>,
        time: Mono,
    ) {
        let mut payload = time.as_nanos().to_le_bytes().to_vec();
        for (cookie, state) in answers {
            let number = STATES.iter().position(|known| *known == state).unwrap_or_default();
            payload.extend(cookie.get().to_le_bytes());
            payload.push(u8::try_from(number).unwrap_or_default());
        }
        self.put(entry::BUCKETS, &[&payload]);
    }

    /// Adds the answer to a question about a local port.
    pub(super) fn port(&mut self, cookie: SocketId, port: Option<u16>) {
        self.put(entry::PORT, &[&cookie.get().to_le_bytes(), &port.unwrap_or(0).to_le_bytes()]);
    }

    /// Notes that the assembler settled what was due by `now`.
    pub(super) fn advance(&mut self, now: Mono) {
        self.put(entry::ADVANCE, &[&now.as_nanos().to_le_bytes()]);
    }

    /// Notes that the assembler settled everything at `now`, and ends the capture.
    ///
    /// # Errors
    /// The first error of the capture.
    pub(super) fn finish(mut self, now: Mono) -> io::Result<()> {
        self.put(entry::FINISH, &[&now.as_nanos().to_le_bytes()]);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.to.flush(),
        }
    }

    fn put(&mut self, kind: u8, parts: &[&[u8]]) {
        if self.error.is_none() {
            self.error = self.write(kind, parts).err();
        }
    }

    fn write(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let length = u16::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
        self.to.write_all(&[kind])?;
        self.to.write_all(&length.to_le_bytes())?;
        parts.iter().try_for_each(|part| self.to.write_all(part))
    }
}
