//! The dataset `processes`: each process when a segment first met it.

use arrow_array::{
    RecordBatch,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::ArrowError;

use super::{
    NumberNames,
    cgroup::CgroupColumns,
    column::{BatchColumns, Numbers, Texts, pid, text_of},
    party::users,
    process::{OWNER, ProcessColumns},
};
use crate::core::{process::Process, time::Wall};

/// A process when a segment first met it.
pub(in crate::journal) struct ProcessRow<'a> {
    /// The time of the first row with the process.
    pub(in crate::journal) time: Wall,
    /// The id of the boot.
    pub(in crate::journal) boot: &'a str,
    /// The process.
    pub(in crate::journal) process: &'a Process,
    /// Its user, if known.
    pub(in crate::journal) uid: Option<u32>,
    /// Its real user, if known.
    pub(in crate::journal) real_uid: Option<u32>,
}

/// Builds rows of the dataset.
pub(in crate::journal) struct ProcessBuilder {
    rows: usize,
    time: Numbers<TimestampMicrosecondType>,
    boot: Texts<String>,
    pid: Numbers<Int32Type>,
    comm: Texts<Vec<u8>>,
    processes: ProcessColumns,
    uid: Numbers<Int64Type>,
    real_uid: Numbers<Int64Type>,
    cgroups: CgroupColumns,
}

impl ProcessBuilder {
    pub(in crate::journal) fn new() -> Self {
        Self {
            rows: 0,
            time: Numbers::default(),
            boot: Texts::new(),
            pid: Numbers::default(),
            comm: Texts::new(),
            processes: ProcessColumns::new(OWNER),
            uid: Numbers::default(),
            real_uid: Numbers::default(),
            cgroups: CgroupColumns::default(),
        }
    }

    pub(in crate::journal) fn push(&mut self, process: &ProcessRow<'_>) {
        let row = self.rows;
        self.rows += 1;
        let ProcessRow { time, boot, process, uid, real_uid } = process;
        self.time.put(row, Some(time.as_micros()));
        self.boot.put(row, *boot, str::to_owned);
        self.pid.put(row, pid(process.pid));
        self.comm.put(row, &*process.comm, text_of);
        let number = process.known.as_ref().map(|known| self.processes.number(known));
        self.processes.put(row, number);
        self.uid.put(row, uid.map(Into::into));
        self.real_uid.put(row, real_uid.map(Into::into));
        let number = process.cgroup.as_ref().map(|cgroup| self.cgroups.number(cgroup));
        self.cgroups.put(row, number);
    }

    pub(in crate::journal) fn finish(
        &mut self,
        names: &mut dyn NumberNames,
    ) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let mut columns = BatchColumns::default();
        let to = &mut columns;
        to.times("time", self.time.finish(rows), false);
        to.always("boot_id", self.boot.finish(rows));
        to.some("pid", self.pid.finish(rows));
        to.some("comm", self.comm.finish(rows));
        self.processes.finish(rows, names, to);
        users(self.uid.finish(rows), self.real_uid.finish(rows), names, to);
        self.cgroups.finish_all(rows, to);
        columns.batch()
    }
}
