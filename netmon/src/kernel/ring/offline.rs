//! Rings in memory instead of the kernel's, for benches of the merge.

use super::{
    merge::{Next, Ring, RingMerge},
    record::{MalformedRecord, Record, decode, time_of},
};
use crate::core::time::Mono;

/// Rings with records that were written before, merged as the kernel's rings are.
pub struct OfflineRings<'a>(RingMerge<WrittenRing<'a>>);

struct WrittenRing<'a>(std::vec::IntoIter<&'a [u8]>);

impl<'a> OfflineRings<'a> {
    /// Makes a ring of each list of records.
    pub fn new(rings: impl IntoIterator<Item = Vec<&'a [u8]>>) -> Self {
        Self(RingMerge::new(rings.into_iter().map(|records| WrittenRing(records.into_iter()))))
    }

    /// Takes all records in order of time, and hands the time of each to `each`. Returns the number
    /// of records.
    pub fn read(&mut self, mut each: impl FnMut(Mono)) -> usize {
        self.0.read(Mono::MAX, usize::MAX, |record| each(time_of(&record))).taken
    }
}

impl Ring for WrittenRing<'_> {
    type Item = Result<Record, MalformedRecord>;

    fn next(&mut self) -> Next<Self::Item> {
        let Some(bytes) = self.0.next() else { return Next::Empty };
        let record = decode(bytes);
        Next::There(time_of(&record), record)
    }
}
