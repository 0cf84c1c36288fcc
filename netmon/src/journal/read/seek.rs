//! Moments of a host's journal: the beginnings of segments, and the times of changes.

use super::journal::HostJournal;
use super::replay::HostReplay;
use crate::core::{
    entry::Entry,
    time::{Anchor, TimeSpan, Wall},
};

/// The entries of a host's journal in the order of time, from the beginning of a segment on: the
/// table at that beginning, and the changes after that.
pub struct Playback(HostReplay);

impl Iterator for Playback {
    type Item = (Anchor, Entry);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl HostJournal {
    /// Returns the beginning of the segment that has a moment.
    #[must_use]
    pub fn beginning_of(&self, moment: Wall) -> Wall {
        let segment = self.segments.iter().rev().find(|segment| segment.start <= moment);
        segment.map_or(moment, |segment| segment.start)
    }

    /// Returns the entries of a stretch of time, from the beginning of the segment on that has the
    /// beginning of the stretch.
    #[must_use]
    pub fn play(&self, span: TimeSpan) -> Playback {
        Playback(self.replay(TimeSpan { from: self.beginning_of(span.from), ..span }))
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
