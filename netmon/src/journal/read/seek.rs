//! Moments of a host's journal: the beginnings of segments, and the times of changes.

use super::journal::HostJournal;
use super::replay::HostReplay;
use crate::core::{
    entry::Entry,
    time::{Anchor, TimeSpan, Wall},
};

impl HostJournal {
    /// Calls `take` with the entries up to a moment, from the beginning of the segment: the table
    /// at that beginning, and the changes after that.
    pub fn replay_up_to(&self, moment: Wall, mut take: impl FnMut(Anchor, Entry)) {
        let segment = self.segments.iter().rev().find(|segment| segment.start <= moment);
        let from = segment.map_or(moment, |segment| segment.start);
        let mut replay = self.replay(TimeSpan { from, to: moment });
        while let Some((at, entry)) = replay.next() {
            take(at, entry);
        }
    }

    /// Returns the time of the first change of any connection after a moment.
    #[must_use]
    pub fn next_change_after(&self, moment: Wall) -> Option<Wall> {
        let mut replay = self.replay(TimeSpan { from: moment, to: Wall::MAX });
        replay.skip();
        changes(&mut replay).find(|time| *time > moment)
    }

    /// Returns the time of the last change of any connection before a moment.
    #[must_use]
    pub fn last_change_before(&self, moment: Wall) -> Option<Wall> {
        let segments = self.segments.iter().rev().filter(|segment| segment.start < moment);
        let mut to = moment;
        for segment in segments {
            let from = segment.start;
            let mut replay = self.replay(TimeSpan { from, to });
            let times = changes(&mut replay).filter(|time| (from..moment).contains(time));
            if let Some(last) = times.max() {
                return Some(last);
            }
            to = from;
        }
        None
    }
}

/// Returns the times at which connections changed.
fn changes(replay: &mut HostReplay) -> impl Iterator<Item = Wall> {
    std::iter::from_fn(|| replay.next())
        .filter_map(|(moment, entry)| entry.cookie().map(|_| moment.wall))
}
