//! The moment of a row: wall time in microseconds, and the offset to the monotonic clock.

use std::sync::Arc;

use arrow_array::{
    DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    builder::{Int32Builder, Int64Builder},
    types::{Int8Type, TimestampMicrosecondType},
};

use super::column::{BatchColumns, Numbers, TextReader, column};
use crate::{
    core::time::{Anchor, Mono, Wall},
    journal::error::Result,
};

/// The number of microseconds whose row counts are remembered; a power of two. Rows come nearly in
/// the order of time.
const REMEMBERED: usize = 1 << 12;
/// A number above the rows of any microsecond. Rows of a microsecond that is not remembered any
/// more are numbered from here on. Late rows have numbers below 0.
const MANY: i32 = 1 << 20;

/// The greatest delay of a row, µs. With a greater delay the clock was set back.
const SET_BACK: i64 = 100_000_000;

/// Numbers the rows of one microsecond in the order of arrival, across batches. Late rows come
/// before the other rows, which show a later state.
pub(super) struct Ties {
    remembered: Box<[(i64, i32)]>,
    /// The count of rows that are numbered apart from their microsecond.
    apart: i32,
}

impl Ties {
    fn new() -> Self {
        Self { remembered: vec![(i64::MIN, 0); REMEMBERED].into(), apart: 0 }
    }

    #[inline]
    fn next(&mut self, micros: i64, is_late: bool) -> i32 {
        if is_late {
            return self.apart() - MANY;
        }
        let place = usize::try_from(micros & (REMEMBERED as i64 - 1)).unwrap_or(0);
        let (known, rows) = &mut self.remembered[place];
        if *known > micros && *known - micros < SET_BACK {
            // The row comes so late that its microsecond is forgotten.
            return self.apart() + MANY;
        }
        if *known != micros {
            (*known, *rows) = (micros, 0);
        }
        *rows += 1;
        *rows - 1
    }

    fn apart(&mut self) -> i32 {
        self.apart = (self.apart + 1) % MANY;
        self.apart
    }
}

/// Builds the columns `time`, `tie`, `clock_offset` and `boot_id`.
pub(super) struct MomentBuilder {
    time: Numbers<TimestampMicrosecondType>,
    tie: Int32Builder,
    is_ordered: bool,
    ties: Option<Ties>,
    offset: Int64Builder,
    boot: Arc<str>,
    /// The rows of earlier boots.
    other_boots: Vec<(usize, Arc<str>)>,
}

impl MomentBuilder {
    /// Returns a builder for a dataset whose rows are ordered by time.
    pub(super) fn ordered(boot: &Arc<str>) -> Self {
        Self { is_ordered: true, ties: Some(Ties::new()), ..Self::unordered(boot) }
    }

    /// Returns a builder for a dataset whose rows need no order, and which has no `tie`.
    pub(super) fn unordered(boot: &Arc<str>) -> Self {
        Self {
            time: Numbers::default(),
            tie: Int32Builder::new(),
            is_ordered: false,
            ties: None,
            offset: Int64Builder::new(),
            boot: Arc::clone(boot),
            other_boots: Vec::new(),
        }
    }

    /// Continues the numbering of rows of the builder of the batch before.
    pub(super) fn go_on_after(&mut self, before: &mut Self) {
        self.ties = before.ties.take().or_else(|| self.ties.take());
    }

    /// Puts the moment of the next row, its boot if that is an earlier boot, and whether the row
    /// was late: a later state was known when the row was read.
    #[inline]
    pub(super) fn push(
        &mut self,
        anchor: Anchor,
        monotonic: Mono,
        boot: Option<&Arc<str>>,
        is_late: bool,
    ) {
        let (row, time) = (self.len(), anchor.wall_time(monotonic).as_micros());
        self.time.put(row, Some(time));
        self.offset.append_value(anchor.offset().div_euclid(1_000));
        if self.is_ordered {
            // A batch that was handed over may still get a gap. The order of gaps does not matter.
            self.tie.append_value(self.ties.as_mut().map_or(0, |ties| ties.next(time, is_late)));
        }
        if let Some(boot) = boot.filter(|boot| **boot != self.boot) {
            self.other_boots.push((row, Arc::clone(boot)));
        }
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.time.len()
    }

    pub(super) fn finish(&mut self, to: &mut BatchColumns) {
        let rows = self.len();
        to.times("time", self.time.finish(rows), false);
        if self.is_ordered {
            to.always("tie", self.tie.finish());
        }
        to.always("clock_offset", self.offset.finish());
        to.always("boot_id", self.boots(rows));
    }

    fn boots(&mut self, rows: usize) -> DictionaryArray<Int8Type> {
        let mut boots = vec![Arc::clone(&self.boot)];
        let mut keys = vec![0_i8; rows];
        for (row, boot) in self.other_boots.drain(..) {
            let place = boots.iter().position(|known| *known == boot).unwrap_or_else(|| {
                boots.push(boot);
                boots.len() - 1
            });
            keys[row] = i8::try_from(place).unwrap_or(0);
        }
        let boots = StringArray::from_iter_values(boots.iter().map(|boot| &**boot));
        DictionaryArray::new(keys.into(), Arc::new(boots))
    }
}

/// Reads the order of rows, in any dataset.
pub(in crate::journal) struct OrderReader {
    time: TimestampMicrosecondArray,
    tie: Option<Int32Array>,
}

impl OrderReader {
    pub(in crate::journal) fn new(batch: &RecordBatch) -> Result<Self> {
        let has_tie = batch.column_by_name("tie").is_some();
        Ok(Self {
            time: column(batch, "time")?,
            tie: has_tie.then(|| column(batch, "tie")).transpose()?,
        })
    }

    pub(in crate::journal) fn len(&self) -> usize {
        self.time.len()
    }

    /// Returns the time of a row.
    #[inline]
    fn time(&self, row: usize) -> Wall {
        Wall::from_micros(self.time.value(row))
    }

    /// Returns the time of a row in whole microseconds, and the number of the row within the
    /// microsecond.
    #[inline]
    pub(in crate::journal) fn get(&self, row: usize) -> (Wall, i32) {
        (self.time(row), self.tie.as_ref().map_or(0, |tie| tie.value(row)))
    }
}

/// Reads the columns that [`MomentBuilder`] wrote.
pub(super) struct MomentReader {
    order: OrderReader,
    offset: Int64Array,
    pub(super) boot: TextReader<Arc<str>>,
}

impl MomentReader {
    pub(super) fn new(batch: &RecordBatch) -> Result<Self> {
        Ok(Self {
            order: OrderReader::new(batch)?,
            offset: column(batch, "clock_offset")?,
            boot: TextReader::of_few(batch, "boot_id", |text| Some(Arc::from(text)))?,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns the moment of a row on both clocks.
    #[inline]
    pub(super) fn get(&self, row: usize) -> Anchor {
        let wall = self.order.time(row);
        Anchor { monotonic: self.monotonic(row, wall), wall }
    }

    /// Returns the monotonic time of the wall time `wall`, with the offset of a row.
    #[inline]
    pub(super) fn monotonic(&self, row: usize, wall: Wall) -> Mono {
        let offset = self.offset.value(row).saturating_mul(1_000);
        Anchor::from_offset(offset).monotonic_time(wall)
    }

    /// Returns the order of a row: its time in whole microseconds, and its number within the
    /// microsecond.
    #[inline]
    pub(super) fn order(&self, row: usize) -> (Wall, i32) {
        self.order.get(row)
    }
}
