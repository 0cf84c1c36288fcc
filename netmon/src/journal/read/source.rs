//! A journal as a source: all its hosts, merged by time.

use std::{collections::VecDeque, io, sync::Arc};

use super::replay::{HostReplay, Timed};
use crate::{
    core::{
        change::Change,
        entry::Entry,
        time::{Mono, TimeSpan},
    },
    session::{Source, TableInput, Tables},
};

/// Items that are handed over at once.
const AT_ONCE: usize = 4096;

/// An item of a replayed journal.
#[derive(Clone, Debug)]
pub enum ReplayItem {
    /// The host of the items that follow: its number and its name.
    Host(usize, Arc<str>),
    /// A change of the host's table.
    Entry(Entry),
}

impl TableInput for ReplayItem {
    fn apply<E>(
        &self,
        tables: &mut Tables,
        mut view: impl FnMut(Change<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        match self {
            Self::Host(number, name) => {
                tables.turn_to(*number);
                view(Change::Host(name))
            }
            Self::Entry(entry) => tables.current.redo(entry, view),
        }
    }

    fn transition_time(&self) -> Option<Mono> {
        match self {
            Self::Entry(Entry::Step(step)) => Some(step.transition.time),
            _ => None,
        }
    }
}

/// A journal as a source: all its hosts, merged by time.
pub struct Replay {
    hosts: Vec<ReplayedHost>,
    span: TimeSpan,
    has_begun: bool,
    current: usize,
}

struct ReplayedHost {
    name: Arc<str>,
    replay: HostReplay,
    head: Option<Timed>,
}

impl Replay {
    /// Returns the source for a stretch of time on several hosts, each with its name.
    pub(super) fn new(hosts: impl Iterator<Item = (Arc<str>, HostReplay)>, span: TimeSpan) -> Self {
        let hosts = hosts.map(|(name, replay)| ReplayedHost { name, replay, head: None });
        Self { hosts: hosts.collect(), span, has_begun: false, current: usize::MAX }
    }

    fn begin(&mut self, items: &mut VecDeque<ReplayItem>) {
        for number in 0..self.hosts.len() {
            self.turn_to(number, items);
            let host = &mut self.hosts[number];
            let (table, anchor) = host.replay.skip();
            let rows = table.rows().cloned().collect();
            let (time, after_gap) = (anchor.monotonic, false);
            items.push_back(ReplayItem::Entry(Entry::Anchor(anchor)));
            items.push_back(ReplayItem::Entry(Entry::Checkpoint { time, rows, after_gap }));
            host.head = host.replay.next();
        }
    }

    fn turn_to(&mut self, number: usize, items: &mut VecDeque<ReplayItem>) {
        if self.current != number {
            items.push_back(ReplayItem::Host(number, Arc::clone(&self.hosts[number].name)));
        }
        self.current = number;
    }
}

impl Source for Replay {
    type Item = ReplayItem;

    async fn next(&mut self, items: &mut VecDeque<ReplayItem>) -> io::Result<bool> {
        if !self.has_begun {
            self.has_begun = true;
            self.begin(items);
        }
        for _ in 0..AT_ONCE {
            let heads = self.hosts.iter().enumerate();
            let heads =
                heads.filter_map(|(number, host)| Some((host.head.as_ref()?.0.wall, number)));
            let Some((_, number)) = heads.min() else { return Ok(false) };
            self.turn_to(number, items);
            let host = &mut self.hosts[number];
            let Some((moment, entry)) = host.head.take() else { return Ok(false) };
            host.head = host.replay.next();
            if host.replay.date(moment) {
                items.push_back(ReplayItem::Entry(Entry::Anchor(moment)));
            }
            items.push_back(ReplayItem::Entry(entry));
        }
        Ok(true)
    }

    async fn finish(&mut self, _: &mut VecDeque<ReplayItem>) -> io::Result<()> {
        Ok(())
    }
}

impl Replay {
    /// Returns the stretch of time of the source.
    #[must_use]
    pub fn span(&self) -> TimeSpan {
        self.span
    }
}
