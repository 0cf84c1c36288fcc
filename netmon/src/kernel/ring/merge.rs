//! Merges several sources, each in the order of its writing, into one order of time.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::core::time::Mono;

/// The answer of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// The next item of the source, with its time.
    There(Mono, T),
    /// The source was empty at a moment after the request.
    Empty,
    /// The next item is not complete yet, and hides the items behind it.
    Blocked,
}

/// The weight of the heaviest item.
pub(super) const HEAVIEST: usize = 10;

/// A source of items.
pub(super) trait Ring {
    /// The type of the items.
    type Item;
    /// Takes the next item out.
    fn next(&mut self) -> Next<Self::Item>;

    /// Returns the memory of an item, in units of most items; [`HEAVIEST`] at most.
    fn weight(_: &Self::Item) -> usize {
        1
    }
}

/// The result of a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::kernel) struct Reading {
    /// The number of items that were taken.
    pub(in crate::kernel) taken: usize,
    /// `true` if every item that existed at the start of the reading has been taken.
    pub(in crate::kernel) complete: bool,
}

struct RingCursor<R: Ring> {
    ring: R,
    /// The next item of the ring, already taken out. Its time is in [`RingMerge::heads`].
    head: Option<R::Item>,
}

/// The time of the next item of a ring, and the number of the ring. Heads compare by time alone,
/// which takes a sixth less time than comparing both.
#[derive(Clone, Copy, Debug)]
struct Head {
    time: Mono,
    ring: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.time.cmp(&other.time)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// Several rings, read as one.
///
/// Two items of one writer (a socket) may be in different rings. The first item is complete before
/// the second item gets its time. So the items that are older than the start of a reading come out
/// in order, if each ring was seen empty or blocked after that start: a reading that sees the
/// second item sees the first one too.
///
/// A heap has the heads of the rings, so that an item costs the logarithm of the number of rings.
/// The items stay beside the heap, since moving them within it would cost more than comparing.
pub(super) struct RingMerge<R: Ring> {
    cursors: Vec<RingCursor<R>>,
    /// The heads of all rings that have one, the earliest first.
    heads: BinaryHeap<Reverse<Head>>,
    /// The rings without a head. A reading asks each of these rings once.
    headless: Vec<usize>,
}

impl<R: Ring> RingMerge<R> {
    pub(in crate::kernel) fn new(rings: impl IntoIterator<Item = R>) -> Self {
        let cursors: Vec<_> =
            rings.into_iter().map(|ring| RingCursor { ring, head: None }).collect();
        let heads = BinaryHeap::with_capacity(cursors.len());
        Self { headless: (0..cursors.len()).collect(), cursors, heads }
    }

    pub(in crate::kernel) fn rings(&mut self) -> impl Iterator<Item = &mut R> {
        self.cursors.iter_mut().map(|cursor| &mut cursor.ring)
    }

    /// Returns whether an item is held here that was already taken out of its ring. The ring does
    /// not report such an item again.
    pub(super) fn has_more(&self) -> bool {
        !self.heads.is_empty()
    }

    /// Takes the items that existed at `now`, at most `limit` of them, in order of time.
    pub(in crate::kernel) fn read(
        &mut self,
        now: Mono,
        limit: usize,
        mut each: impl FnMut(R::Item),
    ) -> Reading {
        let mut taken = 0;
        if limit == 0 || !self.fill() {
            return Reading { taken, complete: false };
        }
        // The first ring is outside of the heap while its items are taken. The rest of this
        // function puts it back, with its next head, or among the rings without a head.
        let Some(Reverse(mut first)) = self.heads.pop() else {
            return Reading { taken, complete: true };
        };
        loop {
            if first.time > now {
                self.heads.push(Reverse(first));
                return Reading { taken, complete: true };
            }
            let cursor = &mut self.cursors[first.ring];
            if let Some(item) = cursor.head.take() {
                each(item);
                taken += 1;
            }
            match cursor.ring.next() {
                Next::There(time, item) => {
                    cursor.head = Some(item);
                    first.time = time;
                    if taken == limit {
                        self.heads.push(Reverse(first));
                        return Reading { taken, complete: false };
                    }
                    // Without another ring that is earlier, this ring stays first.
                    if let Some(mut next) = self.heads.peek_mut()
                        && next.0 < first
                    {
                        std::mem::swap(&mut next.0, &mut first);
                    }
                }
                Next::Blocked => {
                    self.headless.push(first.ring);
                    return Reading { taken, complete: false };
                }
                Next::Empty => {
                    // Later items belong to the next reading.
                    self.headless.push(first.ring);
                    if taken == limit {
                        return Reading { taken, complete: false };
                    }
                    let Some(Reverse(next)) = self.heads.pop() else {
                        return Reading { taken, complete: true };
                    };
                    first = next;
                }
            }
        }
    }

    /// Asks each ring without a head for its next item. Returns `false` if a ring is blocked.
    fn fill(&mut self) -> bool {
        let mut place = 0;
        while let Some(&ring) = self.headless.get(place) {
            let cursor = &mut self.cursors[ring];
            match cursor.ring.next() {
                Next::There(time, item) => {
                    cursor.head = Some(item);
                    self.heads.push(Reverse(Head { time, ring }));
                    self.headless.swap_remove(place);
                }
                Next::Empty => place += 1,
                Next::Blocked => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::VecDeque, rc::Rc};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// More rings than a host with 128 CPUs has.
    const MOST: usize = 140;
    const END: i64 = 200;

    /// A ring of items that are their own times. An item of 0 is incomplete at the first look only.
    #[derive(Debug, Default)]
    struct ScriptedRing {
        items: VecDeque<i64>,
        /// Later items are not written yet.
        written: Rc<Cell<i64>>,
        /// How often this ring answered that it is empty.
        was_empty: usize,
    }

    impl Ring for ScriptedRing {
        type Item = i64;

        fn next(&mut self) -> Next<i64> {
            match self.items.pop_front_if(|time| *time <= self.written.get()) {
                None => {
                    self.was_empty += 1;
                    Next::Empty
                }
                Some(0) => Next::Blocked,
                Some(time) => Next::There(Mono::from_nanos(time), time),
            }
        }
    }

    fn ring() -> impl Strategy<Value = VecDeque<i64>> {
        vec(1..END, 0..20).prop_map(|mut times| {
            times.sort_unstable();
            times.into()
        })
    }

    /// Two rings, or some, or many.
    fn number() -> impl Strategy<Value = usize> {
        prop_oneof![Just(2), 1..6usize, 6..=MOST]
    }

    fn rings() -> impl Strategy<Value = Vec<VecDeque<i64>>> {
        number().prop_flat_map(|number| vec(ring(), number))
    }

    fn by_time<'a>(rings: impl IntoIterator<Item = &'a VecDeque<i64>>) -> Vec<i64> {
        let mut times: Vec<i64> = rings.into_iter().flatten().copied().collect();
        times.sort_unstable();
        times
    }

    fn scripted(items: VecDeque<i64>) -> ScriptedRing {
        ScriptedRing { items, written: Rc::new(Cell::new(i64::MAX)), was_empty: 0 }
    }

    proptest! {
        /// Every item comes once, in order of time, and not before its time.
        #[test]
        fn all_that_was_there_comes_by_time(rings in rings(), limit in 1..30usize) {
            let expected = by_time(&rings);
            let mut merge = RingMerge::new(rings.into_iter().map(scripted));
            let mut read = Vec::new();
            for now in (0..=END).step_by(10) {
                loop {
                    let before = read.len();
                    let reading = merge.read(Mono::from_nanos(now), limit, |time| read.push(time));
                    prop_assert_eq!(reading.taken, read.len() - before);
                    if reading.complete {
                        break;
                    }
                    prop_assert_eq!(reading.taken, limit);
                }
                let there = expected.partition_point(|time| *time <= now);
                prop_assert_eq!(&read, &expected[..there]);
            }
            prop_assert!(!merge.has_more());
        }

        /// Items that are written while readings go on come by time, and each reading asks each
        /// ring at most once more after the ring was empty.
        #[test]
        fn an_empty_ring_is_asked_once_a_reading(rings in rings(), ahead in 0..5i64) {
            let expected = by_time(&rings);
            let written = Rc::new(Cell::new(0));
            let mut merge = RingMerge::new(rings.into_iter().map(|items| ScriptedRing {
                items,
                written: Rc::clone(&written),
                was_empty: 0,
            }));
            let mut read = Vec::new();
            for now in (0..=END).step_by(7) {
                // Programs go on writing after the moment of the reading.
                written.set(now + ahead);
                merge.rings().for_each(|ring| ring.was_empty = 0);
                let reading = merge.read(Mono::from_nanos(now), usize::MAX, |time| read.push(time));
                prop_assert!(reading.complete);
                prop_assert!(merge.rings().all(|ring| ring.was_empty <= 1));
                prop_assert_eq!(&read, &expected[..expected.partition_point(|time| *time <= now)]);
            }
        }

        /// All rings wait for an incomplete item, since it may hide an earlier one.
        #[test]
        fn nothing_overtakes_what_cannot_be_seen(
            rings in number().prop_flat_map(|number| {
                vec((ring(), any::<prop::sample::Index>(), any::<bool>()), number)
            }),
        ) {
            let expected = by_time(rings.iter().map(|(ring, ..)| ring));
            let scripts = rings.into_iter().map(|(mut ring, at, is_blocked)| {
                if is_blocked {
                    ring.insert(at.index(ring.len() + 1), 0);
                }
                scripted(ring)
            });
            let mut merge = RingMerge::new(scripts);
            let mut read = Vec::new();
            // Each ring blocks one reading at most.
            for _ in 0..=MOST {
                let now = Mono::from_nanos(END);
                if merge.read(now, usize::MAX, |time| read.push(time)).complete {
                    break;
                }
            }
            prop_assert_eq!(read, expected);
        }
    }
}
