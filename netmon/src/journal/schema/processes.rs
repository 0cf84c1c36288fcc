//! The dataset `processes`: each process when a segment first met it.

use std::sync::Arc;

use arrow_array::{
    RecordBatch,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::ArrowError;

use super::{
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
    /// The path of the process' cgroup.
    pub(in crate::journal) cgroup: Option<Arc<str>>,
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
    cgroup_id: Numbers<Int64Type>,
    cgroup: Texts<String>,
}

impl ProcessBuilder {
    pub(in crate::journal) fn push(&mut self, process: &ProcessRow<'_>) {
        let row = self.rows;
        self.rows += 1;
        let ProcessRow { time, boot, owner, process, user, cgroup } = process;
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
        self.cgroup_id.put(row, Some(owner.cgroup.cast_signed()).filter(|id| *id != 0));
        if let Some(cgroup) = cgroup {
            self.cgroup.put(row, &**cgroup, str::to_owned);
        }
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
        to.some("cgroup_id", self.cgroup_id.finish(rows));
        to.some("cgroup", self.cgroup.finish(rows));
        columns.batch()
    }
}
