//! Connections that ended in a stretch of time, and the gaps in that time, in the order of time.

use std::{collections::VecDeque, iter::Peekable, sync::Arc, vec};

use super::{
    blocks::Block,
    blocks::read_blocks,
    gaps::{Break, JournalGap},
    journal::{HostJournal, Journal},
    merge::BlockMerge,
    replay::HostReplay,
    select,
};
use crate::{
    core::{
        change::Change,
        entry::EndedConnection,
        filter::Filter,
        table::ConnectionTable,
        tcp::TcpState,
        time::{TimeSpan, Wall},
    },
    journal::{
        layout::{HostDir, Segment},
        schema::{ConnectionReader, Dataset},
    },
};

/// A connection that ended, or a gap.
#[derive(Clone, Debug)]
pub enum HistoryItem {
    /// A connection that ended.
    Connection(Box<EndedConnection>),
    /// Events that are missing.
    Gap(JournalGap),
}

impl HistoryItem {
    fn time(&self) -> Wall {
        match self {
            Self::Connection(ended) => ended.moment.wall,
            Self::Gap(gap) => gap.span.to,
        }
    }
}

impl Journal {
    /// Calls `take` with every connection that ended in a stretch of time and that `filter` may let
    /// pass, and with every gap. Calls come in the order of time, with the number of the host.
    ///
    /// # Errors
    /// Returns the first error of `take`.
    pub fn ended<E>(
        &self,
        span: TimeSpan,
        filter: &Arc<Filter>,
        mut take: impl FnMut(usize, &HistoryItem) -> Result<(), E>,
    ) -> Result<(), E> {
        let hosts = self.hosts().iter();
        let mut hosts: Vec<_> = hosts.map(|host| host.ended(span, filter).peekable()).collect();
        loop {
            let heads = hosts.iter_mut().enumerate();
            let heads = heads.filter_map(|(number, host)| Some((host.peek()?.time(), number)));
            let Some((_, number)) = heads.min() else { return Ok(()) };
            if let Some(ended) = hosts[number].next() {
                take(number, &ended)?;
            }
        }
    }
}

impl HostJournal {
    fn ended(&self, span: TimeSpan, filter: &Arc<Filter>) -> EndedRows {
        let (gaps, breaks) = self.gaps_and_breaks(span);
        let mut between: Vec<_> = gaps.into_iter().map(HistoryItem::Gap).collect();
        for pair in breaks {
            let ended = self.ended_between(pair);
            between.extend(ended.into_iter().map(|ended| HistoryItem::Connection(Box::new(ended))));
        }
        between.retain(|ended| match ended {
            HistoryItem::Connection(ended) => {
                span.contains(ended.moment.wall) && filter.matches(&ended.step())
            }
            HistoryItem::Gap(_) => true,
        });
        between.sort_by_key(HistoryItem::time);
        let wanted = Arc::clone(filter);
        let load = move |block: &Block| select::load(block, span, &wanted);
        EndedRows {
            host: Arc::clone(&self.host),
            segments: self.segments_of(span).collect(),
            merge: BlockMerge::new(Box::new(load)),
            span,
            filter: Arc::clone(filter),
            between: between.into_iter().peekable(),
            row: None,
        }
    }

    /// Returns the connections that the first segment of a break had at its end and the second
    /// segment does not have.
    fn ended_between(&self, pair: Break) -> Vec<EndedConnection> {
        let Break { before, after } = pair;
        let span = TimeSpan { from: before.start, to: after.start };
        let segments = self.segments.iter().copied();
        let segments = segments
            .filter(|segment| (before.start..=after.start).contains(&segment.start))
            .collect();
        let mut replay = HostReplay::new(Arc::clone(&self.host), segments, span);
        let mut ended = Vec::new();
        replay.for_each_change(&mut ConnectionTable::default(), |moment, change| {
            if let Change::Closed(step) = change
                && step.transition.old != TcpState::Listen
                && moment.wall == after.start
            {
                let mut connection = step.connection.clone();
                connection.verdict = step.verdict;
                let transition = step.transition.clone();
                ended.push(EndedConnection { moment, connection, transition });
            }
        });
        ended
    }
}

/// The connections of one host, and the gaps between them.
struct EndedRows {
    host: Arc<HostDir>,
    segments: VecDeque<Segment>,
    merge: BlockMerge<ConnectionReader>,
    span: TimeSpan,
    filter: Arc<Filter>,
    between: Peekable<vec::IntoIter<HistoryItem>>,
    /// The next connection from a file.
    row: Option<HistoryItem>,
}

impl EndedRows {
    fn read(&mut self) -> Option<HistoryItem> {
        loop {
            while let Some(segment) =
                self.segments.pop_front_if(|next| self.merge.needs_segment(next.start))
            {
                if let Ok(ended) = read_blocks(&self.host, segment, Dataset::Connections) {
                    let (span, filter) = (self.span, &self.filter);
                    let wanted = |block: &Block| select::may_have(block, span, filter);
                    self.merge.extend(ended.blocks.into_iter().filter(wanted));
                }
            }
            match self.merge.next() {
                Ok(Some(ended)) => {
                    if self.span.contains(ended.moment.wall) {
                        return Some(HistoryItem::Connection(Box::new(ended)));
                    }
                }
                Ok(None) if self.segments.is_empty() => return None,
                Ok(None) => {}
                Err(error) => self.host.leave_out(&error.path, &error.error),
            }
        }
    }
}

impl Iterator for EndedRows {
    type Item = HistoryItem;

    fn next(&mut self) -> Option<HistoryItem> {
        if self.row.is_none() {
            self.row = self.read();
        }
        let is_between = match (self.between.peek(), &self.row) {
            (Some(between), Some(row)) => between.time() <= row.time(),
            (between, None) => between.is_some(),
            (None, Some(_)) => false,
        };
        if is_between { self.between.next() } else { self.row.take() }
    }
}
