//! The number of changes in each part of a stretch of time, without the changes themselves.

use super::{
    blocks::{Block, read_blocks},
    journal::HostJournal,
};
use crate::{
    core::time::{TimeSpan, Wall},
    journal::{
        error::Result,
        schema::{Dataset, OrderReader},
    },
};

/// The most rows whose times are read, some tenth of a second. The rows of other blocks are taken
/// as spread evenly from the first to the last.
const READ: usize = 4_000_000;

impl HostJournal {
    /// Returns the number of changes in each of `parts` equal parts of a stretch of time.
    #[must_use]
    pub fn changes_by_time(&self, span: TimeSpan, parts: usize) -> Vec<u64> {
        let mut counter = Counter { span, counts: vec![0; parts], left: READ };
        for segment in self.segments_of(span) {
            // The files that cannot be read were logged.
            let Ok(read) = read_blocks(&self.host, segment, Dataset::Events) else { continue };
            for block in read.blocks.iter().filter(|block| block.may_be_in(span)) {
                if let Err(error) = counter.add(block) {
                    self.host.leave_out(&block.path, &error);
                }
            }
        }
        counter.counts
    }
}

struct Counter {
    span: TimeSpan,
    counts: Vec<u64>,
    /// The number of rows whose times may still be read.
    left: usize,
}

impl Counter {
    fn add(&mut self, block: &Block) -> Result<()> {
        let rows = block.rows();
        if rows > self.left {
            self.spread(block, u64::try_from(rows).unwrap_or(u64::MAX));
            return Ok(());
        }
        self.left -= rows;
        let batch = block.load_columns(&["time"])?;
        let order = OrderReader::new(&batch)?;
        for row in 0..order.len() {
            if let Some(part) = self.part(order.get(row).0) {
                self.counts[part] += 1;
            }
        }
        Ok(())
    }

    /// Adds rows that are spread evenly over the time of their block.
    fn spread(&mut self, block: &Block, rows: u64) {
        let length = u64::try_from(self.length()).unwrap_or(1);
        let whole = block.most.since(block.least).as_nanos().max(1);
        let each = u64::try_from(u128::from(rows) * u128::from(length) / whole).unwrap_or(rows);
        for part in 0..self.counts.len() {
            let from = self.start_of(part);
            if from <= block.most && self.start_of(part + 1) > block.least {
                self.counts[part] += each.min(rows);
            }
        }
    }

    /// Returns the length of a part, ns.
    fn length(&self) -> i64 {
        let parts = i64::try_from(self.counts.len()).unwrap_or(i64::MAX).max(1);
        ((self.span.to.as_nanos() - self.span.from.as_nanos()) / parts).max(1)
    }

    fn start_of(&self, part: usize) -> Wall {
        let part = i64::try_from(part).unwrap_or(i64::MAX);
        Wall::from_nanos(self.span.from.as_nanos() + self.length().saturating_mul(part))
    }

    fn part(&self, moment: Wall) -> Option<usize> {
        let after = moment.as_nanos() - self.span.from.as_nanos();
        let part = usize::try_from(after.div_euclid(self.length())).ok()?;
        (part < self.counts.len()).then_some(part)
    }
}
