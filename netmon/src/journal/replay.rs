//! A journal as a source of events: what happened, done again.

use std::{collections::VecDeque, convert::Infallible, io};

use arrow_array::RecordBatch;
use rustc_hash::FxHashMap;

use super::{
    decode::{self, Malformed},
    files::{Dataset, Home, Segment},
    reader::{LATE, Opened, Span, open, skip},
};
use crate::{
    core::{
        connection::Connection,
        event::{Anchor, Event},
        filter::Filter,
        table::ConnectionTable,
    },
    session::Source,
};

/// Events that are handed over at once.
const AT_ONCE: usize = 4096;

/// The rows of a segment's checkpoint.
fn checkpoint(home: &Home, segment: &Segment) -> Result<Vec<Connection>, Malformed> {
    let mut rows = Vec::new();
    for batch in open(home, segment, Dataset::Checkpoints, None, &Filter::default())? {
        rows.extend(decode::checkpoint(&batch?)?);
    }
    Ok(rows)
}

/// The events of a batch in the order of time; those of one connection in the order they came.
pub(super) fn in_order(batch: &RecordBatch) -> Result<Vec<(Anchor, Event)>, Malformed> {
    let mut events = decode::events(batch)?;
    // Of each connection, how far it has come.
    let mut reached: FxHashMap<u64, i64> = FxHashMap::default();
    let mut keyed: Vec<(i64, u32)> = Vec::with_capacity(events.len());
    for ((moment, event), number) in events.iter().zip(0..) {
        let mut wall = moment.wall;
        if let Some(cookie) = cookie(event) {
            let reached = reached.entry(cookie).or_insert(wall);
            wall = wall.max(*reached);
            *reached = wall;
        }
        keyed.push((wall, number));
    }
    if keyed.is_sorted() {
        return Ok(events);
    }
    keyed.sort_unstable();
    let mut taken: Vec<Option<(Anchor, Event)>> = events.drain(..).map(Some).collect();
    Ok(keyed.iter().filter_map(|(_, number)| taken.get_mut(*number as usize)?.take()).collect())
}

pub(super) fn cookie(event: &Event) -> Option<u64> {
    match event {
        Event::Recorded(recorded) => Some(recorded.transition.cookie),
        Event::Found { connection, .. } => Some(connection.id.cookie),
        Event::Owned { cookie, .. } => Some(*cookie),
        _ => None,
    }
}

/// The source that a journal is.
pub struct Replay {
    home: Home,
    segments: VecDeque<Segment>,
    batches: Option<(Segment, Opened)>,
    pending: VecDeque<(Anchor, Event)>,
    span: Span,
    /// The table on its way to the beginning.
    before: Option<ConnectionTable>,
    /// What wall time is ahead of the monotonic clock, as it was last told.
    offset: Option<i64>,
}

impl Replay {
    pub(super) fn new(home: Home, segments: VecDeque<Segment>, span: Span) -> Self {
        Self {
            home,
            segments,
            batches: None,
            pending: VecDeque::new(),
            span,
            before: Some(ConnectionTable::default()),
            offset: None,
        }
    }

    /// What was read and not handed over yet.
    pub(super) fn read_ahead(&mut self) -> Vec<(Anchor, Event)> {
        std::mem::take(&mut self.pending).into()
    }

    /// The next event, whenever it was; nothing at the end.
    pub(super) fn event(&mut self) -> Option<(Anchor, Event)> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if let Some((segment, batches)) = &mut self.batches {
                match batches.next() {
                    Some(Ok(batch)) => match in_order(&batch) {
                        Ok(events) => self.pending.extend(events),
                        Err(error) => skip(&segment.path(Dataset::Events), &error),
                    },
                    Some(Err(error)) => {
                        skip(&segment.path(Dataset::Events), &error);
                        self.batches = None;
                    }
                    None => self.batches = None,
                }
                continue;
            }
            let segment = self.segments.pop_front()?;
            if segment.start <= self.span.to {
                match checkpoint(&self.home, &segment) {
                    Ok(rows) => {
                        let moment = Anchor { monotonic: 0, wall: segment.start };
                        self.pending.push_back((moment, Event::Checkpoint { time: 0, rows }));
                    }
                    Err(error) => skip(&segment.path(Dataset::Checkpoints), &error),
                }
            }
            let span = Span { from: i64::MIN, ..self.span };
            // Every event may matter to the table, so nothing but time leaves any out.
            match open(&self.home, &segment, Dataset::Events, Some(span), &Filter::default()) {
                Ok(batches) => self.batches = Some((segment, batches)),
                Err(error) => skip(&segment.path(Dataset::Events), &error),
            }
        }
    }

    /// Notes how the clocks are tied; whether that is new.
    fn date(&mut self, moment: Anchor, event: &Event) -> bool {
        let offset = moment.wall.wrapping_sub(moment.monotonic.cast_signed());
        let is_dated = !matches!(event, Event::Checkpoint { .. });
        is_dated && self.offset.replace(offset) != Some(offset)
    }

    /// The beginning on both clocks, when it was gone to.
    pub(super) fn beginning(&self) -> Anchor {
        let wall = self.span.from;
        let monotonic = wall.wrapping_sub(self.offset.unwrap_or(wall)).cast_unsigned();
        Anchor { monotonic, wall }
    }

    /// Goes to the beginning; the table there. What is later, but may have earlier events behind it, waits.
    pub(super) fn skip(&mut self) -> ConnectionTable {
        let mut table = self.before.take().unwrap_or_default();
        let mut later = VecDeque::new();
        while let Some((moment, event)) = self.event() {
            if moment.wall > self.span.from {
                later.push_back((moment, event));
                if moment.wall > self.span.from.saturating_add(LATE) {
                    break;
                }
                continue;
            }
            self.date(moment, &event);
            let applied: Result<(), Infallible> = table.apply(&event, |_| Ok(()));
            match applied {
                Ok(()) => {}
                Err(never) => match never {},
            }
        }
        later.append(&mut self.pending);
        self.pending = later;
        table
    }
}

impl Source for Replay {
    async fn next(&mut self, events: &mut VecDeque<Event>) -> io::Result<bool> {
        if self.before.is_some() {
            let table = self.skip();
            let anchor = self.beginning();
            events.push_back(Event::Anchor(anchor));
            let rows = table.rows().cloned().collect();
            events.push_back(Event::Checkpoint { time: anchor.monotonic, rows });
        }
        for _ in 0..AT_ONCE {
            let Some((moment, event)) = self.event() else { return Ok(false) };
            if moment.wall > self.span.to {
                continue;
            }
            if self.date(moment, &event) {
                events.push_back(Event::Anchor(moment));
            }
            events.push_back(event);
        }
        Ok(true)
    }

    async fn finish(&mut self, _: &mut VecDeque<Event>) -> io::Result<()> {
        Ok(())
    }
}
