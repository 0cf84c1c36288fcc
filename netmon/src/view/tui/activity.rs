//! The activity of a stretch of time, live or in the past: counts, rates, histories and losses.

use std::time::Duration;

use super::{
    groups::Flows,
    history::Histories,
    rates::{Counts, Rates},
};
use crate::core::{
    change::Change,
    filter::Filter,
    loss::Gap,
    time::{Anchor, Mono},
};

/// Everything that is derived from changes, without the table itself.
#[derive(Debug, Default)]
pub struct Activity {
    pub(super) histories: Histories,
    pub(super) rates: Rates,
    pub(super) flows: Flows,
    /// The anchor that ties the clocks.
    pub(super) anchor: Anchor,
    /// The number of lost events.
    pub(super) lost: u64,
    /// The latest gap.
    pub(super) gap: Option<Gap>,
    /// The number of rows that comparisons with the kernel corrected.
    pub(super) corrected: u64,
    /// The last report that comparisons are rare: its time, and the time between comparisons.
    rare: Option<(Mono, Duration)>,
}

impl Activity {
    /// Takes a change; keeps the details of connections that pass `filter`.
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
            Change::Resync(resync) => {
                self.corrected += resync.corrected();
                if let Some(distance) = resync.distance {
                    self.rare = Some((resync.time, distance));
                }
            }
            _ => {}
        }
    }

    /// Returns the time between comparisons with the kernel, if they are rare at `now`.
    pub(super) fn rare_at(&self, now: Mono) -> Option<Duration> {
        // The next report comes after the next comparison, which takes a while itself.
        let (time, distance) = self.rare?;
        (now < time + distance + distance / 2).then_some(distance)
    }

    /// Advances the time to `now`. `counts` returns the connections in each
    /// state; it is called only if a second is over.
    pub(super) fn tick(&mut self, now: Mono, counts: impl FnOnce() -> Counts) {
        let seconds = self.rates.tick(now, counts);
        if seconds > 0 {
            self.flows.tick(seconds);
        }
        self.histories.sweep(now);
    }
}
