//! The dataset `processes`: each process when a segment first met it.

use std::sync::Arc;

use arrow_array::{
    RecordBatch,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::ArrowError;

use super::{
    NumberNames,
    cgroup::CgroupColumns,
    column::{BatchColumns, Numbers, Texts, pid, text_of},
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
    /// The name of its user.
    pub(in crate::journal) user: Option<Arc<str>>,
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
    user: Texts<String>,
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
            user: Texts::new(),
            cgroups: CgroupColumns::default(),
        }
    }

    pub(in crate::journal) fn push(&mut self, process: &ProcessRow<'_>) {
        let row = self.rows;
        self.rows += 1;
        let ProcessRow { time, boot, process, uid, user } = process;
        self.time.put(row, Some(time.as_micros()));
        self.boot.put(row, *boot, str::to_owned);
        self.pid.put(row, pid(process.pid));
        self.comm.put(row, &*process.comm, text_of);
        let number = process.known.as_ref().map(|known| self.processes.number(known));
        self.processes.put(row, number);
        self.uid.put(row, uid.map(Into::into));
        if let Some(user) = user {
            self.user.put(row, &**user, str::to_owned);
        }
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
        to.some("uid", self.uid.finish(rows));
        to.some("user", self.user.finish(rows));
        self.cgroups.finish_all(rows, to);
        columns.batch()
    }
}
