//! The events of each second, and the connections in each state, for the last minutes.

use std::{collections::VecDeque, time::Duration};

use crate::core::{
    change::Change, connection::Connection, filter::Filter, prefetch::for_each_prefetched,
    table::ConnectionTable, tcp::TcpState, time::Mono, verdict::Verdict,
};

/// The most seconds that are kept: five minutes.
pub(super) const SECONDS: usize = 300;
/// Rates are averages of this number of past seconds, so that a person can read the rates.
const RECENT: usize = 5;
const SECOND: Duration = Duration::from_secs(1);

/// The number of connections in each state, by the kernel's number of the state less one.
pub(super) type Counts = [u32; TcpState::ALL.len()];

/// The connections in each state: all, and those that the filter admits. Half-open connections
/// count as SYN_RECV, whatever the kernel's name for their state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) all: Counts,
    pub(super) shown: Counts,
}

impl Tally {
    pub(super) fn of(table: &ConnectionTable, filter: &Filter, now: Mono) -> Self {
        let mut tally = Self::default();
        let load = |row: &&Connection| row.id.epoch.as_nanos() ^ row.state as i64;
        let add = |row| tally.add(row, filter.matches(&(row, now)));
        for_each_prefetched(table.rows(), load, add);
        tally
    }

    pub(super) fn add(&mut self, row: &Connection, is_shown: bool) {
        let half_open = row.state == TcpState::NewSynRecv;
        let state = if half_open { TcpState::SynRecv } else { row.state };
        self.all[state as usize - 1] += 1;
        self.shown[state as usize - 1] += u32::from(is_shown);
    }

    /// Returns the number of all connections.
    pub(super) fn total(&self) -> u32 {
        self.all.iter().sum()
    }

    /// Returns the number of connections that the filter admits.
    pub(super) fn matching(&self) -> u32 {
        self.shown.iter().sum()
    }
}

/// Counts of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) opened: u32,
    pub(super) closed: u32,
    /// Closed connections that failed ([`Verdict::is_failure`]).
    pub(super) failed: u32,
    pub(super) transitions: u32,
}

impl Happened {
    pub(super) fn add(&mut self, change: &Change<'_>) {
        let Some(step) = change.step() else { return };
        self.transitions += u32::from(!step.corrected);
        let is_listener =
            step.transition.old == TcpState::Listen || step.transition.new == TcpState::Listen;
        match change {
            // A connection that a listener took begins at LISTEN as well.
            Change::Opened(step) => {
                self.opened += u32::from(step.transition.new != TcpState::Listen);
            }
            Change::Closed(step) if !is_listener => {
                self.closed += 1;
                self.failed += u32::from(step.verdict.is_some_and(Verdict::is_failure));
            }
            _ => {}
        }
    }
}

/// A second that is over.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    counts: Counts,
    happened: Happened,
}

/// The last minutes, second by second.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    samples: VecDeque<Sample>,
    now: Happened,
    /// The beginning of the current second.
    since: Option<Mono>,
}

impl Rates {
    pub(super) fn add(&mut self, change: &Change<'_>) {
        self.now.add(change);
    }

    /// Forgets all counts, but not the beginning of the current second.
    pub(super) fn clear(&mut self) {
        *self = Self { since: self.since, ..Self::default() };
    }

    /// Returns the end of the current second.
    pub(super) fn due(&self) -> Option<Mono> {
        self.since.map(|since| since + SECOND)
    }

    /// Ends the current second if the second is over at `now`; `counts` returns the connections at
    /// `now`. Returns the number of seconds that are over, at most [`SECONDS`] + 1.
    pub(super) fn tick(&mut self, now: Mono, counts: impl FnOnce() -> Counts) -> usize {
        let since = *self.since.get_or_insert(now);
        let seconds = now.since(since).as_secs();
        if seconds == 0 {
            return 0;
        }
        let sample = Sample { counts: counts(), happened: std::mem::take(&mut self.now) };
        // Seconds without a look get the same counts, as far as netmon knows. The events of all
        // these seconds count for the last second.
        let idle_seconds = usize::try_from(seconds - 1).unwrap_or(SECONDS).min(SECONDS);
        let idle = Sample { happened: Happened::default(), ..sample };
        self.samples.extend(std::iter::repeat_n(idle, idle_seconds).chain([sample]));
        while self.samples.len() > SECONDS {
            self.samples.pop_front();
        }
        self.since = Some(since + Duration::from_secs(seconds));
        idle_seconds + 1
    }

    /// Returns the average of `what` in the last seconds; none before the first second is over.
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    pub(super) fn rate(&self, what: fn(&Happened) -> u32) -> Option<f64> {
        let recent = self.samples.iter().rev().take(RECENT);
        let count = recent.len();
        let sum: u32 = recent.map(|sample| what(&sample.happened)).sum();
        (count > 0).then(|| f64::from(sum) / count as f64)
    }

    /// Returns the last minutes of a state as heights up to [`HEIGHT`], the latest last, in at most
    /// `width` columns.
    pub(super) fn of_state(&self, state: TcpState, width: usize) -> Vec<u8> {
        heights(self.samples.iter().map(|sample| sample.counts[state as usize - 1].into()), width)
    }

    /// Returns the last minutes of a kind of event, as [`Self::of_state`] does for a state.
    pub(super) fn of(&self, what: fn(&Happened) -> u32, width: usize) -> Vec<u8> {
        heights(self.samples.iter().map(|sample| what(&sample.happened).into()), width)
    }
}

/// The greatest height of a column of a curve.
pub(super) const HEIGHT: u8 = 7;

/// Returns the heights of the columns for `values`, one value a second, in `width` columns at most.
///
/// A column has one second, or 2, 4, 8 … seconds, the least number that fits. The column shows the
/// greatest of its values. A value above 0 has a height of 1 at least.
pub(super) fn heights(values: impl ExactSizeIterator<Item = u64>, width: usize) -> Vec<u8> {
    let count = values.len();
    let mut each = 1;
    while count.div_ceil(each) > width.max(1) {
        each *= 2;
    }
    let mut columns = vec![0; count.div_ceil(each)];
    for (i, value) in values.enumerate() {
        // Counted from the end, where the latest is.
        let column = columns.len() - 1 - (count - 1 - i) / each;
        columns[column] = u64::max(columns[column], value);
    }
    let most = columns.iter().copied().max().unwrap_or(0).max(1);
    let height = |value: u64| value.saturating_mul(HEIGHT.into()).div_ceil(most);
    columns.into_iter().map(|value| u8::try_from(height(value)).unwrap_or(HEIGHT)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment so many seconds after the boot.
    fn seconds(count: u64) -> Mono {
        Mono::BOOT + Duration::from_secs(count)
    }

    #[test]
    fn heights_are_of_the_greatest() {
        assert_eq!(heights([0, 1, 100, 200].into_iter(), 300), [0, 1, 4, 7]);
        assert_eq!(heights([7, 7].into_iter(), 300), [7, 7]);
        assert_eq!(heights([0, 0].into_iter(), 300), [0, 0]);
        assert_eq!(heights([].into_iter(), 10), [0; 0]);
        // Eight seconds each, the last of them full.
        let values: Vec<u64> = (1..=40).collect();
        assert_eq!(heights(values.into_iter(), 5), [2, 3, 5, 6, 7]);
        assert_eq!(heights([5].into_iter(), 0), [7]);
    }

    #[test]
    fn seconds_are_counted_once() {
        let mut rates = Rates::default();
        let counts = || [3; TcpState::ALL.len()];
        assert_eq!(rates.tick(seconds(5), counts), 0, "the first begins");
        rates.now.opened = 10;
        assert_eq!(rates.tick(seconds(6) - Duration::from_nanos(1), counts), 0);
        assert_eq!(rates.rate(|h| h.opened), None);
        assert_eq!(rates.tick(seconds(6), counts), 1);
        assert_eq!(rates.rate(|h| h.opened), Some(10.0));
        rates.now.opened = 4;
        assert_eq!(rates.tick(seconds(8) + Duration::from_nanos(1), counts), 2, "one was missed");
        assert_eq!(rates.samples.len(), 3);
        assert_eq!(rates.rate(|h| h.opened), Some(14.0 / 3.0));
        assert_eq!(rates.due(), Some(seconds(9)));
        assert_eq!(rates.tick(seconds(1008), counts), SECONDS + 1, "a suspended laptop");
        assert_eq!(rates.samples.len(), SECONDS);
    }
}
