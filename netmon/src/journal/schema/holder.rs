//! The process that holds a connection, where that is not the one that opened it.

use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatch, types::Int32Type};

use super::{
    NumberNames,
    column::{BatchColumns, Numbers, TextReader, Texts, column, get, pid, text_of},
    process::{HOLDER, ProcessColumns, ProcessReader},
};
use crate::{core::process::Process, journal::error::Result};

/// Builds the columns `holder_pid`, `holder_comm`, and those of [`HOLDER`].
pub(super) struct HolderColumns {
    pid: Numbers<Int32Type>,
    comm: Texts<Vec<u8>>,
    processes: ProcessColumns,
}

impl HolderColumns {
    pub(super) fn new() -> Self {
        Self { pid: Numbers::default(), comm: Texts::new(), processes: ProcessColumns::new(HOLDER) }
    }

    pub(super) fn put(&mut self, row: usize, holder: &Process) {
        self.pid.put(row, pid(holder.pid));
        self.comm.put(row, &*holder.comm, text_of);
        let process = holder.known.as_ref().map(|process| self.processes.number(process));
        self.processes.put(row, process);
    }

    pub(super) fn finish(
        &mut self,
        rows: usize,
        names: &mut dyn NumberNames,
        to: &mut BatchColumns,
    ) {
        to.some("holder_pid", self.pid.finish(rows));
        to.some("holder_comm", self.comm.finish(rows));
        self.processes.finish(rows, names, to);
    }
}

/// Reads the columns that [`HolderColumns`] wrote.
pub(super) struct HolderReader {
    pid: Int32Array,
    comm: TextReader<Box<[u8]>>,
    processes: ProcessReader,
    /// No row has a holder.
    is_empty: bool,
}

impl HolderReader {
    pub(super) fn new(batch: &RecordBatch) -> Result<Self> {
        let comm = TextReader::new(batch, "holder_comm", |text| Some(text.as_bytes().into()))?;
        let is_empty = (0..batch.num_rows()).all(|row| comm.key(row).is_none());
        let (pid, processes) = (column(batch, "holder_pid")?, ProcessReader::new(batch, HOLDER)?);
        Ok(Self { pid, comm, processes, is_empty })
    }

    /// Returns the holder of a row, if that is not the owner.
    pub(super) fn holder(&self, row: usize) -> Option<Arc<Process>> {
        if self.is_empty {
            return None;
        }
        let comm = self.comm.get(row)?.clone();
        let pid = get(&self.pid, row).and_then(|pid| pid.try_into().ok()).unwrap_or(0);
        let known = self.processes.process(row);
        Some(Arc::new(Process { pid, host_pid: 0, comm, known, cgroup: None }))
    }
}
