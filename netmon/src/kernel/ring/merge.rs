//! Merges several sources, each in the order of its writing, into one order of time.

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

/// A source of items.
pub(super) trait Ring {
    /// The type of the items.
    type Item;
    /// Takes the next item out.
    fn next(&mut self) -> Next<Self::Item>;
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
    /// The next item of the ring, already taken out, with its time.
    head: Option<(Mono, R::Item)>,
    /// `true` if the ring was seen empty in this reading: later items belong to the next reading.
    empty: bool,
}

/// Several rings, read as one.
///
/// Two items of one writer (a socket) may be in different rings. The first item is complete before
/// the second item gets its time. So the items that are older than the start of a reading come out
/// in order, if each ring was seen empty or blocked after that start: a reading that sees the
/// second item sees the first one too.
pub(super) struct RingMerge<R: Ring>(Vec<RingCursor<R>>);

impl<R: Ring> RingMerge<R> {
    pub(in crate::kernel) fn new(rings: impl IntoIterator<Item = R>) -> Self {
        let source = |ring| RingCursor { ring, head: None, empty: false };
        Self(rings.into_iter().map(source).collect())
    }

    pub(in crate::kernel) fn rings(&mut self) -> impl Iterator<Item = &mut R> {
        self.0.iter_mut().map(|source| &mut source.ring)
    }

    /// Returns whether an item is held here that was already taken out of its ring. The ring does
    /// not report such an item again.
    pub(super) fn has_more(&self) -> bool {
        self.0.iter().any(|source| source.head.is_some())
    }

    /// Takes the items that existed at `now`, at most `limit` of them, in order of time.
    pub(in crate::kernel) fn read(
        &mut self,
        now: Mono,
        limit: usize,
        mut each: impl FnMut(R::Item),
    ) -> Reading {
        let mut taken = 0;
        for source in &mut self.0 {
            source.empty = false;
        }
        while taken < limit {
            if !self.0.iter_mut().all(RingCursor::fill) {
                return Reading { taken, complete: false };
            }
            // Finds the earliest item and the time of the next one: until then, this ring stays
            // first.
            let (mut first, mut until) = (None, now);
            for (at, source) in self.0.iter().enumerate() {
                let Some((time, _)) = source.head else { continue };
                match first {
                    Some((_, earliest)) if time >= earliest => until = until.min(time),
                    Some((_, earliest)) => {
                        first = Some((at, time));
                        until = until.min(earliest);
                    }
                    None => first = Some((at, time)),
                }
            }
            let Some((at, _)) = first.filter(|(_, time)| *time <= now) else {
                return Reading { taken, complete: true };
            };
            let source = &mut self.0[at];
            while taken < limit
                && let Some((_, item)) = source.head.take_if(|(time, _)| *time <= until)
            {
                each(item);
                taken += 1;
                if !source.fill() {
                    return Reading { taken, complete: false };
                }
            }
        }
        Reading { taken, complete: false }
    }
}

impl<R: Ring> RingCursor<R> {
    /// Takes the next item out of the ring, unless one is held already. Returns `false` if the ring
    /// is blocked.
    fn fill(&mut self) -> bool {
        if self.head.is_some() || self.empty {
            return true;
        }
        match self.ring.next() {
            Next::There(time, item) => self.head = Some((time, item)),
            Next::Empty => self.empty = true,
            Next::Blocked => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A ring of items that are their own times. An item of 0 is incomplete at the first look only.
    #[derive(Debug)]
    struct ScriptedRing(VecDeque<i64>);

    impl Ring for ScriptedRing {
        type Item = i64;

        fn next(&mut self) -> Next<i64> {
            match self.0.pop_front() {
                None => Next::Empty,
                Some(0) => Next::Blocked,
                Some(time) => Next::There(Mono::from_nanos(time), time),
            }
        }
    }

    fn ring() -> impl Strategy<Value = VecDeque<i64>> {
        vec(1..200i64, 0..20).prop_map(|mut times| {
            times.sort_unstable();
            times.into()
        })
    }

    proptest! {
        /// Every item comes once, in order of time, and not before its time.
        #[test]
        fn all_that_was_there_comes_by_time(rings in vec(ring(), 1..6), limit in 1..30usize) {
            let mut expected: Vec<i64> = rings.iter().flatten().copied().collect();
            expected.sort_unstable();
            let mut merge = RingMerge::new(rings.into_iter().map(ScriptedRing));
            let mut read = Vec::new();
            for now in (0..=200).step_by(10) {
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

        /// All rings wait for an incomplete item, since it may hide an earlier one.
        #[test]
        fn nothing_overtakes_what_cannot_be_seen(
            rings in vec((ring(), any::<prop::sample::Index>(), any::<bool>()), 1..6),
        ) {
            let times = rings.iter().flat_map(|(ring, ..)| ring);
            let mut expected: Vec<i64> = times.copied().collect();
            expected.sort_unstable();
            let scripts = rings.into_iter().map(|(mut ring, at, is_blocked)| {
                if is_blocked {
                    ring.insert(at.index(ring.len() + 1), 0);
                }
                ScriptedRing(ring)
            });
            let mut merge = RingMerge::new(scripts);
            let mut read = Vec::new();
            // Each ring blocks one reading at most.
            for _ in 0..6 {
                if merge.read(Mono::from_nanos(200), usize::MAX, |time| read.push(time)).complete {
                    break;
                }
            }
            prop_assert_eq!(read, expected);
        }
    }
}
