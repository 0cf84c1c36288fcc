//! Moments of a journal: where its segments begin, and when something happened.

use super::{
    reader::{Journal, Span},
    replay::cookie,
};
use crate::core::event::{Anchor, Event};

impl Journal {
    /// The events that lead to a moment, from the beginning of its segment: what there was then, and how it came.
    #[must_use]
    pub fn leading_to(&self, moment: i64) -> super::Replay {
        let segment = self.segments.iter().rev().find(|segment| segment.start <= moment);
        let from = segment.map_or(moment, |segment| segment.start);
        self.replay(Span { from, to: moment })
    }

    /// When something happened to a connection next after a moment.
    #[must_use]
    pub fn after(&self, moment: i64) -> Option<i64> {
        let mut replay = self.replay(Span { from: moment, to: i64::MAX });
        replay.skip();
        std::iter::from_fn(|| replay.event())
            .filter_map(|event| time(&event))
            .find(|time| *time > moment)
    }

    /// When something happened to a connection last before a moment.
    #[must_use]
    pub fn before(&self, moment: i64) -> Option<i64> {
        let segments = self.segments.iter().rev().filter(|segment| segment.start < moment);
        let mut to = moment;
        for segment in segments {
            let mut replay = self.replay(Span { from: segment.start, to });
            let events = std::iter::from_fn(|| replay.event());
            let times = events.filter_map(|event| time(&event));
            if let Some(last) = times.filter(|time| (segment.start..moment).contains(time)).max() {
                return Some(last);
            }
            to = segment.start;
        }
        None
    }
}

/// When it was, if it is of a connection.
fn time((moment, event): &(Anchor, Event)) -> Option<i64> {
    cookie(event).map(|_| moment.wall)
}
