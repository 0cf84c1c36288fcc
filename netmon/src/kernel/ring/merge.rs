//! Several sources, each in the order in which it was written, read as one, by time.

/// What a source answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// The next that is in it, with its time.
    There(u64, T),
    /// Nothing more was in it, at a moment after it was asked.
    Empty,
    /// What comes next is not complete yet, and what is behind it cannot be seen.
    Blocked,
}

/// What is read from.
pub(super) trait Ring {
    /// What comes out of it.
    type Item;
    /// Takes the next out.
    fn next(&mut self) -> Next<Self::Item>;
}

/// How a reading ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::kernel) struct Reading {
    /// How much was taken.
    pub(in crate::kernel) taken: usize,
    /// Whether there is nothing left of what was there when it began.
    pub(in crate::kernel) complete: bool,
}

struct RingCursor<R: Ring> {
    ring: R,
    /// The next of it, taken out already, with its time.
    head: Option<(u64, R::Item)>,
    /// Whether it was seen empty in this reading: what comes later is of no concern.
    empty: bool,
}

/// All of them.
///
/// Two items of one writer, a socket, may be in different rings: the first is complete before the second is
/// given its time. So what is older than the beginning of a reading comes in order, if a ring is known to be
/// empty, or blocked, after that: where the second is there, the first was.
pub(super) struct RingMerge<R: Ring>(Vec<RingCursor<R>>);

impl<R: Ring> RingMerge<R> {
    pub(in crate::kernel) fn new(rings: impl IntoIterator<Item = R>) -> Self {
        let source = |ring| RingCursor { ring, head: None, empty: false };
        Self(rings.into_iter().map(source).collect())
    }

    pub(in crate::kernel) fn rings(&mut self) -> impl Iterator<Item = &mut R> {
        self.0.iter_mut().map(|source| &mut source.ring)
    }

    /// Whether anything was left that was taken out of a ring, which will not tell of it again.
    pub(super) fn has_more(&self) -> bool {
        self.0.iter().any(|source| source.head.is_some())
    }

    /// Takes what was there at `now`, or `most` of it, by time.
    pub(in crate::kernel) fn read(
        &mut self,
        now: u64,
        most: usize,
        mut each: impl FnMut(R::Item),
    ) -> Reading {
        let mut taken = 0;
        for source in &mut self.0 {
            source.empty = false;
        }
        while taken < most {
            if !self.0.iter_mut().all(RingCursor::fill) {
                return Reading { taken, complete: false };
            }
            // The one that is first, and when the next one is: up to there it stays first.
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
            while taken < most
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
    /// Takes the next out, where that is not done; whether it is known what comes next.
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

    /// Items are their own times; 0 is one that is not complete, and is so when it was seen.
    #[derive(Debug)]
    struct Script(VecDeque<u64>);

    impl Ring for Script {
        type Item = u64;

        fn next(&mut self) -> Next<u64> {
            match self.0.pop_front() {
                None => Next::Empty,
                Some(0) => Next::Blocked,
                Some(time) => Next::There(time, time),
            }
        }
    }

    fn ring() -> impl Strategy<Value = VecDeque<u64>> {
        vec(1..200u64, 0..20).prop_map(|mut times| {
            times.sort_unstable();
            times.into()
        })
    }

    proptest! {
        /// Everything comes once, by time, and nothing before it is its turn.
        #[test]
        fn all_that_was_there_comes_by_time(rings in vec(ring(), 1..6), most in 1..30usize) {
            let mut expected: Vec<u64> = rings.iter().flatten().copied().collect();
            expected.sort_unstable();
            let mut merge = RingMerge::new(rings.into_iter().map(Script));
            let mut read = Vec::new();
            for now in (0..=200).step_by(10) {
                loop {
                    let before = read.len();
                    let reading = merge.read(now, most, |time| read.push(time));
                    prop_assert_eq!(reading.taken, read.len() - before);
                    if reading.complete {
                        break;
                    }
                    prop_assert_eq!(reading.taken, most);
                }
                let there = expected.partition_point(|time| *time <= now);
                prop_assert_eq!(&read, &expected[..there]);
            }
            prop_assert!(!merge.has_more());
        }

        /// What is behind something incomplete is waited for, by all.
        #[test]
        fn nothing_overtakes_what_cannot_be_seen(
            rings in vec((ring(), any::<prop::sample::Index>(), any::<bool>()), 1..6),
        ) {
            let mut expected: Vec<u64> = rings.iter().flat_map(|(ring, ..)| ring).copied().collect();
            expected.sort_unstable();
            let scripts = rings.into_iter().map(|(mut ring, at, is_blocked)| {
                if is_blocked {
                    ring.insert(at.index(ring.len() + 1), 0);
                }
                Script(ring)
            });
            let mut merge = RingMerge::new(scripts);
            let mut read = Vec::new();
            // Each blocks a reading once.
            for _ in 0..6 {
                if merge.read(200, usize::MAX, |time| read.push(time)).complete {
                    break;
                }
            }
            prop_assert_eq!(read, expected);
        }
    }
}
