//! The dataset `processes`: each process when a segment first met it.

use std::sync::Arc;

use arrow_array::{
    RecordBatch,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::ArrowError;

use super::{
    cgroup::CgroupColumns,
    column::{BatchColumns, Numbers, Texts, pid, text_of},
    process::ProcessColumns,
};
use crate::core::{process::Owner, program::KnownProcess, time::Wall};

/// A process when a segment first met it.
pub(in crate::journal) struct ProcessRow<'a> {
    /// The time of the first row with the process.
    pub(in crate::journal) time: Wall,
    /// The id of the boot.
    pub(in crate::journal) boot: &'a str,
    /// The process.
    pub(in crate::journal) owner: &'a Owner,
    /// The process, if more than its number is known.
    pub(in crate::journal) process: Option<Arc<KnownProcess>>,
    /// The name of the process' user.
    pub(in crate::journal) user: Option<Arc<str>>,
}

/// Builds rows of the dataset.
#[derive(Default)]
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
    pub(in crate::journal) fn push(&mut self, process: &ProcessRow<'_>) {
        let row = self.rows;
        self.rows += 1;
        let ProcessRow { time, boot, owner, process, user } = process;
        self.time.put(row, Some(time.as_micros()));
        self.boot.put(row, *boot, str::to_owned);
        self.pid.put(row, pid(owner.pid));
        self.comm.put(row, &*owner.comm, text_of);
        let number = process.as_ref().map(|process| self.processes.number(process));
        self.processes.put(row, number);
        self.uid.put(row, Some(owner.uid.into()));
        if let Some(user) = user {
            self.user.put(row, &**user, str::to_owned);
        }
        let number = owner.cgroup.as_ref().map(|cgroup| self.cgroups.number(cgroup));
        self.cgroups.put(row, number);
    }

    pub(in crate::journal) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let mut columns = BatchColumns::default();
        let to = &mut columns;
        to.times("time", self.time.finish(rows), false);
        to.always("boot_id", self.boot.finish(rows));
        to.some("pid", self.pid.finish(rows));
        to.some("comm", self.comm.finish(rows));
        self.processes.finish(rows, to);
        to.some("uid", self.uid.finish(rows));
        to.some("user", self.user.finish(rows));
        self.cgroups.finish_all(rows, to);
        columns.batch()
    }
}
