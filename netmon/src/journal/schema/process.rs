//! The process of a party: its start, its parent, its program.

use std::sync::Arc;

use arrow_array::{
    Array, BooleanArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, types::Int32Type,
};
use rustc_hash::FxHashMap;

use super::column::{BatchColumns, Numbers, TextReader, column, get, pid, text_of};
use crate::{
    core::{arguments::Arguments, program::KnownProcess, program::Program, time::Wall},
    journal::error::Result,
};

/// Builds the columns `process_started`, `ppid`, `exe`, `exe_deleted`, `args` and `args_cut`.
///
/// Many rows have few processes. So a row costs the number of its process, and the columns are made
/// from the processes at the end.
#[derive(Default)]
pub(super) struct ProcessColumns {
    rows: Numbers<Int32Type>,
    processes: Vec<Arc<KnownProcess>>,
    /// The number of each process, by its address, which `processes` keeps in use.
    numbers: FxHashMap<usize, i32>,
}

impl ProcessColumns {
    /// Returns the number of a process, for [`Self::put`].
    pub(super) fn number(&mut self, process: &Arc<KnownProcess>) -> i32 {
        let processes = &mut self.processes;
        *self.numbers.entry(Arc::as_ptr(process).addr()).or_insert_with(|| {
            processes.push(Arc::clone(process));
            // A batch never has `i32::MAX` rows.
            i32::try_from(processes.len() - 1).unwrap_or(i32::MAX)
        })
    }

    #[inline]
    pub(super) fn put(&mut self, row: usize, number: Option<i32>) {
        self.rows.put(row, number);
    }

    pub(super) fn finish(&mut self, rows: usize, to: &mut BatchColumns) {
        self.numbers.clear();
        let processes = std::mem::take(&mut self.processes);
        let rows = self.rows.finish(rows);
        let started = times(&rows, &processes);
        let programs = || processes.iter().map(|process| process.program.as_deref());
        let arguments = || programs().map(|program| program?.arguments.as_ref());
        let parents: Vec<_> = processes.iter().map(|process| pid(process.parent)).collect();
        to.times("process_started", started, true);
        to.some("ppid", of_rows(&rows, &parents).collect::<Int32Array>());
        to.some("exe", texts(&rows, programs().map(|program| Some(&*program?.path))));
        to.always("exe_deleted", flags(&rows, programs().map(|of| Some(of?.is_deleted))));
        to.some("args", texts(&rows, arguments().map(|of| Some(&*of?.line))));
        to.always("args_cut", flags(&rows, arguments().map(|of| Some(of?.is_cut))));
    }
}

/// Returns the value of each row's process, if there is one.
fn of_rows<'a, T: Copy>(
    rows: &'a Int32Array,
    values: &'a [Option<T>],
) -> impl Iterator<Item = Option<T>> + 'a {
    rows.iter().map(move |number| *values.get(usize::try_from(number?).ok()?)?)
}

fn times(rows: &Int32Array, processes: &[Arc<KnownProcess>]) -> TimestampMicrosecondArray {
    let times: Vec<_> = processes.iter().map(|process| Some(process.started.as_micros())).collect();
    of_rows(rows, &times).collect()
}

fn flags(rows: &Int32Array, flags: impl Iterator<Item = Option<bool>>) -> BooleanArray {
    let flags: Vec<_> = flags.collect();
    of_rows(rows, &flags).map(|flag| Some(flag.unwrap_or(false))).collect()
}

/// Returns a column of texts, each of which is stored once.
fn texts<'a>(
    rows: &Int32Array,
    texts: impl Iterator<Item = Option<&'a [u8]>>,
) -> DictionaryArray<Int32Type> {
    let mut known: FxHashMap<&[u8], i32> = FxHashMap::default();
    let mut values = Vec::new();
    let numbers: Vec<_> = texts
        .map(|text| {
            let text = text?;
            Some(*known.entry(text).or_insert_with(|| {
                values.push(text_of(text));
                i32::try_from(values.len() - 1).unwrap_or(i32::MAX)
            }))
        })
        .collect();
    let keys: Int32Array = of_rows(rows, &numbers).collect();
    DictionaryArray::new(keys, Arc::new(StringArray::from_iter_values(values)))
}

/// The key of a process of a batch: the start, the parent, the numbers of the program's path and of
/// its arguments, and both flags.
pub(super) type ProcessKeys = (i64, i32, Option<usize>, Option<usize>, [bool; 2]);

/// Returns a flag, false where it is null.
fn flag(flags: &BooleanArray, row: usize) -> bool {
    flags.is_valid(row) && flags.value(row)
}

/// Reads the columns that [`ProcessColumns`] wrote.
pub(super) struct ProcessReader {
    started: TimestampMicrosecondArray,
    parent: Int32Array,
    path: TextReader<Box<[u8]>>,
    is_deleted: BooleanArray,
    arguments: TextReader<Box<[u8]>>,
    is_cut: BooleanArray,
}

impl ProcessReader {
    pub(super) fn new(batch: &RecordBatch) -> Result<Self> {
        let bytes = |text: &str| Some(text.as_bytes().into());
        Ok(Self {
            started: column(batch, "process_started")?,
            parent: column(batch, "ppid")?,
            path: TextReader::new(batch, "exe", bytes)?,
            is_deleted: column(batch, "exe_deleted")?,
            arguments: TextReader::new(batch, "args", bytes)?,
            is_cut: column(batch, "args_cut")?,
        })
    }

    /// Returns the keys of a row's process; none where it is not known.
    pub(super) fn keys(&self, row: usize) -> Option<ProcessKeys> {
        let (started, parent) = (get(&self.started, row)?, get(&self.parent, row).unwrap_or(0));
        let flags = [flag(&self.is_deleted, row), flag(&self.is_cut, row)];
        Some((started, parent, self.path.key(row), self.arguments.key(row), flags))
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
        let ancestors = Box::default();
        Some(Arc::new(KnownProcess { started, parent, program, ancestors }))
    }
}
