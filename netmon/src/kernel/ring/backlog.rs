//! Items that wait in memory since their reader is behind.
//!
//! A busy host fills its rings in a fifth of a second. A reader may be away for longer: it reads
//! the sockets that were there before, or draws a screen of them.

use std::collections::VecDeque;

use super::merge::{HEAVIEST, Reading, Ring, RingMerge};
use crate::core::time::Mono;

/// The most weight of items that wait: most weigh 1, which is some 120 bytes, and two busy cores
/// make as many in a second. Beyond that, items wait in the rings.
const MOST: usize = 1 << 20;
/// The most items that are put aside at once, in some milliseconds.
const AT_ONCE: usize = 1 << 16;

/// Rings, read as one, and the items that were taken out of them too early.
pub(super) struct Backlog<R: Ring> {
    merge: RingMerge<R>,
    /// In order of time, and earlier than every item of the rings.
    waiting: VecDeque<R::Item>,
    /// The weight of the waiting items.
    weight: usize,
    most: usize,
}

impl<R: Ring> Backlog<R> {
    pub(super) fn new(merge: RingMerge<R>) -> Self {
        Self { merge, waiting: VecDeque::new(), weight: 0, most: MOST }
    }

    pub(super) fn rings(&mut self) -> impl Iterator<Item = &mut R> {
        self.merge.rings()
    }

    /// Returns whether an item is held here that no ring will report.
    pub(super) fn has_more(&self) -> bool {
        self.merge.has_more() || !self.waiting.is_empty()
    }

    /// Makes room in the rings: items that existed at `now`, [`AT_ONCE`] at most, wait for a later
    /// reading.
    pub(super) fn relieve(&mut self, now: Mono) {
        let room = self.most.saturating_sub(self.weight) / HEAVIEST;
        self.merge.read(now, room.min(AT_ONCE), |item| {
            self.weight += R::weight(&item);
            self.waiting.push_back(item);
        });
    }

    /// Returns the items that wait in memory.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &R::Item> {
        self.waiting.iter()
    }

    /// Takes the items that existed at `now`, at most `limit` of them, in order of time. A reader
    /// that gets so many is behind, and the rings are relieved.
    pub(super) fn read(
        &mut self,
        now: Mono,
        limit: usize,
        mut each: impl FnMut(R::Item),
    ) -> Reading {
        if !self.waiting.is_empty() {
            self.relieve(now);
        }
        let waited = limit.min(self.waiting.len());
        for item in self.waiting.drain(..waited) {
            self.weight -= R::weight(&item);
            each(item);
        }
        if !self.waiting.is_empty() {
            return Reading { taken: waited, complete: false };
        }
        if waited > 0 {
            // A backlog is rare: its memory is of no use until the next.
            self.waiting = VecDeque::new();
        }
        let Reading { taken, complete } = self.merge.read(now, limit - waited, each);
        let reading = Reading { taken: waited + taken, complete };
        if reading.taken == limit {
            self.relieve(now);
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{super::merge::Next, *};

    /// A ring of items that are their own times.
    struct Times(std::vec::IntoIter<i64>);

    /// Every seventh item is heavy.
    fn heavy(item: i64) -> usize {
        if item % 7 == 0 { HEAVIEST } else { 1 }
    }

    impl Ring for Times {
        type Item = i64;

        fn next(&mut self) -> Next<i64> {
            self.0.next().map_or(Next::Empty, |time| Next::There(Mono::from_nanos(time), time))
        }

        fn weight(item: &i64) -> usize {
            heavy(*item)
        }
    }

    proptest! {
        /// Every item comes once, in order of time and not before its time, wherever it waited.
        #[test]
        fn items_come_in_order(
            mut rings in vec(vec(1..100i64, 0..40), 1..5),
            steps in vec((0..20i64, prop::option::of(1..30usize)), 0..40),
            most in 0..600usize,
        ) {
            rings.iter_mut().for_each(|ring| ring.sort_unstable());
            let mut expected: Vec<i64> = rings.iter().flatten().copied().collect();
            expected.sort_unstable();
            let rings = rings.into_iter().map(|times| Times(times.into_iter()));
            let mut backlog = Backlog { most, ..Backlog::new(RingMerge::new(rings)) };
            let (mut read, mut now) = (Vec::new(), 0);
            // The last steps read the rest, ten items at a time.
            let rest = std::iter::repeat_n((100, Some(10)), 30);
            for (passed, limit) in steps.into_iter().chain(rest) {
                now += passed;
                let there = expected.partition_point(|time| *time <= now);
                let Some(limit) = limit else {
                    backlog.relieve(Mono::from_nanos(now));
                    let weight: usize = backlog.waiting.iter().map(|item| heavy(*item)).sum();
                    prop_assert!(weight <= most && weight == backlog.weight);
                    continue;
                };
                let before = read.len();
                let reading = backlog.read(Mono::from_nanos(now), limit, |time| read.push(time));
                prop_assert_eq!(reading.taken, read.len() - before);
                prop_assert!(reading.taken <= limit);
                prop_assert!(reading.complete || reading.taken == limit);
                prop_assert!(!reading.complete || read.len() == there);
                prop_assert_eq!(&read, &expected[..read.len()]);
                prop_assert!(read.len() <= there);
            }
            prop_assert_eq!(read, expected);
            prop_assert!(!backlog.has_more());
        }
    }
}
