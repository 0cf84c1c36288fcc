//! Gaps in the dataset `events`, read without the other rows.

use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};

use super::{
    column::{WordReader, column, get},
    moment::MomentReader,
};
use crate::{
    core::{
        loss::{Gap, Loss},
        time::{Anchor, Wall},
    },
    journal::error::Result,
};

/// Reads the gaps of the dataset. A few columns are enough.
pub(in crate::journal) struct GapReader {
    moments: MomentReader,
    reason: WordReader<Loss>,
    gap_from: TimestampMicrosecondArray,
    lost: Int64Array,
}

impl GapReader {
    /// The columns that the reader needs.
    pub(in crate::journal) const COLUMNS: [&str; 7] =
        ["time", "tie", "clock_offset", "boot_id", "reason", "gap_from", "lost"];

    /// The column that has a value in the rows of gaps alone.
    pub(in crate::journal) const TESTED: &str = "gap_from";

    pub(in crate::journal) fn new(batch: &RecordBatch) -> Result<Self> {
        Ok(Self {
            moments: MomentReader::new(batch)?,
            reason: WordReader::new(batch, "reason", &Loss::ALL, Loss::name)?,
            gap_from: column(batch, "gap_from")?,
            lost: column(batch, "lost")?,
        })
    }

    /// Returns every gap, with the moment at which the gap was noticed, on both clocks.
    pub(in crate::journal) fn gaps(&self) -> Vec<(Anchor, Gap)> {
        let rows = 0..self.moments.len();
        rows.filter_map(|row| {
            let from = Wall::from_micros(get(&self.gap_from, row)?);
            let moment = self.moments.get(row);
            let count = get(&self.lost, row).map_or(0, |count| u64::try_from(count).unwrap_or(0));
            let (from, time) = (self.moments.monotonic(row, from), moment.monotonic);
            Some((moment, Gap { from, time, count, loss: self.reason.get(row)? }))
        })
        .collect()
    }
}
