//! The process of a party: its start, its parent, its program.

use std::sync::Arc;

use arrow_array::{
    Array, BooleanArray, Int32Array, RecordBatch, TimestampMicrosecondArray, types::Int32Type,
};

use super::{
    column::{BatchColumns, TextReader, column, get, pid},
    shared::Shared,
};
use crate::{
    core::{
        arguments::Arguments,
        program::{Ancestor, KnownProcess, Program},
        time::Wall,
    },
    journal::error::Result,
};

/// The names of the columns of a process: start, parent, the parent's executable, executable,
/// whether that is deleted, arguments, and whether these are cut.
pub(super) type ProcessNames = [&'static str; 7];

/// The columns of the process that opened a connection.
pub(super) const OWNER: ProcessNames =
    ["process_started", "ppid", "parent_exe", "exe", "exe_deleted", "args", "args_cut"];
/// The columns of the process that holds it, where that is another.
pub(super) const HOLDER: ProcessNames = [
    "holder_started",
    "holder_ppid",
    "holder_parent_exe",
    "holder_exe",
    "holder_exe_deleted",
    "holder_args",
    "holder_args_cut",
];

/// Builds the columns of a process.
pub(super) struct ProcessColumns(Shared<KnownProcess>, ProcessNames);

impl ProcessColumns {
    pub(super) fn new(names: ProcessNames) -> Self {
        Self(Shared::default(), names)
    }

    /// Returns the number of a process, for [`Self::put`].
    pub(super) fn number(&mut self, process: &Arc<KnownProcess>) -> i32 {
        self.0.number(process)
    }

    #[inline]
    pub(super) fn put(&mut self, row: usize, number: Option<i32>) {
        self.0.put(row, number);
    }

    pub(super) fn finish(&mut self, rows: usize, to: &mut BatchColumns) {
        let rows = self.0.finish(rows);
        let [start, parent, parent_exe, exe, deleted, args, cut] = self.1;
        let started = rows.numbers(|of| Some(of.started.as_micros()));
        to.times(start, started, true);
        to.some(parent, rows.numbers::<Int32Type>(|of| pid(of.parent)));
        to.some(parent_exe, rows.texts(|of| Some(of.parent_path()?.into())));
        to.some(exe, rows.texts(|of| Some((*of.program.as_ref()?.path).into())));
        let is_deleted =
            |of: &Arc<KnownProcess>| of.program.as_ref().is_some_and(|of| of.is_deleted);
        to.always(deleted, rows.flags(is_deleted));
        to.some(args, rows.texts(|of| Some((*arguments(of)?.line).into())));
        to.always(cut, rows.flags(|of| arguments(of).is_some_and(|of| of.is_cut)));
    }
}

fn arguments(process: &KnownProcess) -> Option<&Arguments> {
    process.program.as_ref()?.arguments.as_ref()
}

/// The key of a process of a batch: the start, the parent, the numbers of the path of the parent's
/// program, of the program's path and of its arguments, and both flags.
pub(super) type ProcessKeys = (i64, i32, [Option<usize>; 3], [bool; 2]);

/// Returns a flag, false where it is null.
fn flag(flags: &BooleanArray, row: usize) -> bool {
    flags.is_valid(row) && flags.value(row)
}

/// Reads the columns that [`ProcessColumns`] wrote.
pub(super) struct ProcessReader {
    started: TimestampMicrosecondArray,
    parent: Int32Array,
    parent_path: TextReader<Box<[u8]>>,
    path: TextReader<Box<[u8]>>,
    is_deleted: BooleanArray,
    arguments: TextReader<Box<[u8]>>,
    is_cut: BooleanArray,
}

impl ProcessReader {
    pub(super) fn new(batch: &RecordBatch, names: ProcessNames) -> Result<Self> {
        let bytes = |text: &str| Some(text.as_bytes().into());
        let [start, parent, parent_exe, exe, deleted, args, cut] = names;
        Ok(Self {
            started: column(batch, start)?,
            parent: column(batch, parent)?,
            parent_path: TextReader::new(batch, parent_exe, bytes)?,
            path: TextReader::new(batch, exe, bytes)?,
            is_deleted: column(batch, deleted)?,
            arguments: TextReader::new(batch, args, bytes)?,
            is_cut: column(batch, cut)?,
        })
    }

    /// Returns the keys of a row's process; none where it is not known.
    pub(super) fn keys(&self, row: usize) -> Option<ProcessKeys> {
        let (started, parent) = (get(&self.started, row)?, get(&self.parent, row).unwrap_or(0));
        let flags = [flag(&self.is_deleted, row), flag(&self.is_cut, row)];
        let texts = [self.parent_path.key(row), self.path.key(row), self.arguments.key(row)];
        Some((started, parent, texts, flags))
    }

    /// Returns the process of a row, if it is known.
    pub(super) fn process(&self, row: usize) -> Option<Arc<KnownProcess>> {
        let started = Wall::from_micros(get(&self.started, row)?);
        let program = self.path.get(row).map(|path| {
            let line = self.arguments.get(row);
            let arguments =
                line.map(|line| Arguments { line: line.clone(), is_cut: flag(&self.is_cut, row) });
            let is_deleted = flag(&self.is_deleted, row);
            Arc::new(Program { path: path.clone(), is_deleted, arguments })
        });
        let parent = get(&self.parent, row).and_then(|pid| pid.try_into().ok()).unwrap_or(0);
        let above = self.parent_path.get(row).map(|path| Ancestor {
            pid: parent,
            program: Arc::new(Program { path: path.clone(), is_deleted: false, arguments: None }),
        });
        let ancestors = above.into_iter().collect();
        Some(Arc::new(KnownProcess { started, parent, run: 0, program, ancestors }))
    }
}
