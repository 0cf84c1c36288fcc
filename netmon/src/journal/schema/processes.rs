//! The dataset `processes`: each process when a segment first met it.

use std::sync::Arc;

use arrow_array::{
    RecordBatch,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::ArrowError;

use super::{
    column::{BatchColumns, Numbers, Texts},
    party::{comm_text, pid},
};
use crate::core::{process::Owner, time::Wall};

/// A process when a segment first met it.
pub(in crate::journal) struct ProcessRow<'a> {
    /// The time of the first row with the process.
    pub(in crate::journal) time: Wall,
    /// The id of the boot.
    pub(in crate::journal) boot: &'a str,
    /// The process.
    pub(in crate::journal) owner: &'a Owner,
    /// The start time of the process; unknown if the process was gone already.
    pub(in crate::journal) started: Option<Wall>,
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
    started: Numbers<TimestampMicrosecondType>,
    comm: Texts<Vec<u8>>,
    uid: Numbers<Int64Type>,
    user: Texts<String>,
    cgroup_id: Numbers<Int64Type>,
    cgroup: Texts<String>,
}

impl ProcessBuilder {
    pub(in crate::journal) fn push(&mut self, process: &ProcessRow<'_>) {
        let row = self.rows;
        self.rows += 1;
        let ProcessRow { time, boot, owner, started, user, cgroup } = process;
        self.time.put(row, Some(time.as_micros()));
        self.boot.put(row, *boot, str::to_owned);
        self.pid.put(row, pid(owner.pid));
        self.started.put(row, started.map(Wall::as_micros));
        self.comm.put(row, &*owner.comm, comm_text);
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
        to.times("process_started", self.started.finish(rows), true);
        to.some("comm", self.comm.finish(rows));
        to.some("uid", self.uid.finish(rows));
        to.some("user", self.user.finish(rows));
        to.some("cgroup_id", self.cgroup_id.finish(rows));
        to.some("cgroup", self.cgroup.finish(rows));
        columns.batch()
    }
}
