//! The dataset `namespaces`: each network namespace when a segment first met it.

use arrow_array::{
    RecordBatch,
    types::{Int64Type, TimestampMicrosecondType},
};
use arrow_schema::ArrowError;

use super::column::{BatchColumns, Numbers, Texts};
use crate::core::time::Wall;

/// A namespace when a segment first met it.
pub(in crate::journal) struct NamespaceRow<'a> {
    /// The time of the first row with the namespace.
    pub(in crate::journal) time: Wall,
    /// The id of the boot.
    pub(in crate::journal) boot: &'a str,
    /// The inode number, which the kernel may reuse.
    pub(in crate::journal) inum: u32,
    /// The kernel's cookie, which is never reused; unknown if netmon could not read the cookie.
    pub(in crate::journal) cookie: Option<u64>,
    /// The name, if the namespace has one.
    pub(in crate::journal) name: Option<&'a str>,
}

/// Builds rows of the dataset.
#[derive(Default)]
pub(in crate::journal) struct NamespaceBuilder {
    rows: usize,
    time: Numbers<TimestampMicrosecondType>,
    boot: Texts<String>,
    inum: Numbers<Int64Type>,
    cookie: Numbers<Int64Type>,
    name: Texts<String>,
}

impl NamespaceBuilder {
    pub(in crate::journal) fn push(&mut self, namespace: &NamespaceRow<'_>) {
        let row = self.rows;
        self.rows += 1;
        self.time.put(row, Some(namespace.time.as_micros()));
        self.boot.put(row, namespace.boot, str::to_owned);
        self.inum.put(row, Some(namespace.inum.into()));
        self.cookie.put(row, namespace.cookie.map(u64::cast_signed));
        if let Some(name) = namespace.name {
            self.name.put(row, name, str::to_owned);
        }
    }

    pub(in crate::journal) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let mut columns = BatchColumns::default();
        let to = &mut columns;
        to.times("time", self.time.finish(rows), false);
        to.always("boot_id", self.boot.finish(rows));
        to.always("netns", self.inum.finish(rows));
        to.some("netns_cookie", self.cookie.finish(rows));
        to.some("netns_name", self.name.finish(rows));
        columns.batch()
    }
}
