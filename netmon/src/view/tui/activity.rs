//! What a stretch of time has shown, live or in the past: counts, rates, histories, what was lost.

use super::{
    groups::Flows,
    history::Histories,
    rates::{Counts, Rates},
};
use crate::core::{
    connection::Change,
    event::{Anchor, Gap},
    filter::Filter,
};

/// All that is derived from changes; the table itself is not in it.
#[derive(Debug, Default)]
pub struct Activity {
    pub(super) histories: Histories,
    pub(super) rates: Rates,
    pub(super) flows: Flows,
    /// The clocks.
    pub(super) anchor: Anchor,
    /// Events that were lost.
    pub(super) lost: u64,
    /// What was lost last.
    pub(super) gap: Option<Gap>,
    /// Rows that comparisons with the kernel corrected.
    pub(super) corrected: u64,
}

impl Activity {
    /// Takes a change; details are kept of what `filter` lets pass.
    pub fn add(&mut self, change: &Change<'_>, filter: &Filter) {
        self.rates.add(change);
        self.flows.add(change, filter);
        self.histories.add(change, filter);
        match change {
            Change::Anchor(anchor) => self.anchor = *anchor,
            Change::Gap(gap) => {
                self.lost += gap.count;
                self.gap = Some(*gap);
            }
            Change::Resync(resync) => self.corrected += resync.corrected(),
            _ => {}
        }
    }

    /// It is `now`, `CLOCK_MONOTONIC`, ns; should a second be over, there are so many in each state.
    pub(super) fn tick(&mut self, now: u64, counts: impl FnOnce() -> Counts) {
        let seconds = self.rates.tick(now, counts);
        if seconds > 0 {
            self.flows.tick(seconds);
        }
        self.histories.sweep(now);
    }
}
