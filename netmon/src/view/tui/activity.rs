//! The activity of a stretch of time, live or in the past: counts, rates, histories and losses.

use std::time::Duration;

use super::{
    groups::Flows,
    history::Histories,
    rates::{Rates, Tally},
};
use crate::core::{
    change::Change,
    filter::Filter,
    loss::Gap,
    time::{Anchor, Mono},
};

/// Everything that is derived from changes, without the table itself.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    pub(super) histories: Histories,
    /// The rates of all connections.
    pub(super) rates: Rates,
    /// The rates of the connections that the filter admits.
    pub(super) shown_rates: Rates,
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
        let is_shown = change.step().is_some_and(|step| filter.matches(step));
        self.rates.add(change);
        if is_shown {
            self.shown_rates.add(change);
            self.flows.add(change);
        }
        self.histories.add(change, is_shown);
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

    /// Advances the time to `now`. `tally` counts the connections; it is called only if a second is
    /// over.
    pub(super) fn tick(&mut self, now: Mono, tally: impl FnOnce() -> Tally) {
        let mut shown = None;
        let seconds = self.rates.tick(now, || {
            let tally = tally();
            shown = Some(tally.shown);
            tally.all
        });
        // Both have the same seconds.
        self.shown_rates.tick(now, || shown.unwrap_or_default());
        if seconds > 0 {
            self.flows.tick(seconds);
        }
        self.histories.sweep(now);
    }

    /// Forgets everything that passed a filter: another filter follows.
    pub(super) fn forget_filtered(&mut self) {
        self.histories.forget_latest();
        self.shown_rates.clear();
    }
}
