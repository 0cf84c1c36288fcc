//! A journal as a source: what happened, done again, in the order of time.

use std::{collections::VecDeque, convert::Infallible, io, sync::Arc};

use bytes::Bytes;

use super::{
    blocks::{self, Beginning, Block, Blocks, Joint, read_blocks},
    ipc_reader::IpcReader,
    merge::BlockMerge,
    parquet_file::ParquetFile,
};
use crate::{
    core::{
        connection::{Change, Connection},
        entry::Entry,
        event::{Anchor, Gap, Loss},
        table::ConnectionTable,
        time::TimeSpan,
    },
    journal::{
        error::{Malformed, Result},
        intervals::SILENT,
        layout::{HostDir, Segment},
        schema::{CheckpointReader, Dataset, EventReader, Follows, GapReader},
    },
    session::{Source, TableInput, Tables},
};

/// Items that are handed over at once.
const AT_ONCE: usize = 4096;

/// An entry, and its moment on both clocks.
type Timed = (Anchor, Entry);

/// One host's part of a journal, in the order of time.
pub(super) struct HostReplay {
    host: Arc<HostDir>,
    /// Segments that are not opened.
    segments: VecDeque<Segment>,
    merge: BlockMerge<EventReader>,
    span: TimeSpan,
    /// A segment that begins when everything before it was handed over.
    next: Option<NextSegment>,
    /// The start of the segment that was opened last, and the greatest time in those that were, ns
    /// since 1970.
    opened: Option<i64>,
    most: i64,
    /// Rows are missing since the segment before.
    has_gap: bool,
    pending: VecDeque<Timed>,
    /// The moment of the last that was handed over.
    last: Anchor,
    /// Entries that come after the beginning, once that was gone to.
    ahead: Option<Timed>,
    /// Wall time less the monotonic clock, as it was last handed over.
    offset: Option<i64>,
}

struct NextSegment {
    segment: Segment,
    blocks: Vec<Block>,
    beginning: Beginning,
    /// The start of the segment before it, and whether a part of that is damaged.
    before: Option<i64>,
    is_after_damage: bool,
}

impl HostReplay {
    pub(super) fn new(host: Arc<HostDir>, segments: VecDeque<Segment>, span: TimeSpan) -> Self {
        Self {
            host,
            segments,
            merge: BlockMerge::new(Box::new(Block::load)),
            span,
            next: None,
            opened: None,
            most: i64::MIN,
            has_gap: false,
            pending: VecDeque::new(),
            last: Anchor::default(),
            ahead: None,
            offset: None,
        }
    }

    /// The next entry; nothing at the end.
    fn entry(&mut self) -> Option<Timed> {
        if let Some(ahead) = self.ahead.take() {
            return Some(ahead);
        }
        loop {
            if let Some(entry) = self.pending.pop_front() {
                return Some(entry);
            }
            while self.next.is_none()
                && let Some(segment) =
                    self.segments.pop_front_if(|next| self.merge.needs_segment(next.start))
            {
                self.open(segment);
            }
            match self.merge.next() {
                Ok(Some((moment, entry))) => {
                    self.last = moment;
                    return Some((moment, entry));
                }
                Ok(None) => match self.next.take() {
                    Some(next) => self.begin(next),
                    None if !self.segments.is_empty() => {}
                    // The end is missing.
                    None if std::mem::take(&mut self.has_gap) => {
                        let from = self.last.wall;
                        self.report(from / 1_000, from.max(self.span.to) / 1_000);
                    }
                    None => return None,
                },
                Err(error) => {
                    self.host.leave_out(&error.path, &error.error);
                    self.report(error.least, error.most);
                }
            }
        }
    }

    fn open(&mut self, segment: Segment) {
        let Ok(Blocks { blocks, errors, beginning }) =
            read_blocks(&self.host, segment, Dataset::Events)
        else {
            // Its checkpoint may be there all the same.
            let (blocks, beginning) = (Vec::new(), Beginning::default());
            let before = self.opened.replace(segment.start);
            self.next =
                Some(NextSegment { segment, blocks, beginning, before, is_after_damage: false });
            self.has_gap = true;
            return;
        };
        let before = self.opened.replace(segment.start);
        let is_after_damage = std::mem::take(&mut self.has_gap);
        let follows_last = before.is_some_and(|last| beginning.follows == Follows::Segment(last));
        // A clock that was set back begins a segment among the times of the one before.
        let is_in_order = segment.start >= self.most;
        let most = blocks.iter().map(|block| block.most).max();
        if let Some(most) = most {
            self.most = most.saturating_mul(1_000);
        }
        if follows_last && is_in_order && !is_after_damage {
            // It goes on without a break: the table needs no checkpoint.
            self.merge.extend(blocks);
        } else {
            self.next = Some(NextSegment { segment, blocks, beginning, before, is_after_damage });
        }
        for error in errors {
            log::debug!("a part of a stream is damaged: {error}");
            self.has_gap = true;
        }
    }

    /// Begins a segment that does not go on where the one before has ended.
    fn begin(&mut self, next: NextSegment) {
        let NextSegment { segment, blocks, mut beginning, before, is_after_damage } = next;
        let rows = match checkpoint(&self.host, segment) {
            Ok((rows, of_checkpoint)) => {
                beginning.clock_offset = beginning.clock_offset.or(of_checkpoint.clock_offset);
                rows
            }
            Err(error) => {
                let path = blocks::path_of(&self.host, segment, Dataset::Checkpoints);
                self.host.leave_out(&path, &error);
                Vec::new()
            }
        };
        let last = self.last;
        let offset = beginning.clock_offset.unwrap_or(last.offset());
        let time = segment.start.wrapping_sub(offset).cast_unsigned();
        let moment = Anchor { monotonic: time, wall: segment.start };
        let is_silent = segment.start.saturating_sub(last.wall) > SILENT;
        let is_unexplained = || is_silent && !explains(&blocks);
        // Nothing comes before the first.
        let joint =
            before.filter(|_| last != Anchor::default()).map_or(Joint::default(), |before| {
                beginning.joint(before, is_after_damage, is_unexplained)
            });
        if joint.is_hole {
            let from = last.wall.wrapping_sub(offset).cast_unsigned();
            let gap = Gap { from, time, count: 0, loss: Loss::Missing };
            self.pending.push_back((moment, Entry::Anchor(moment)));
            self.pending.push_back((moment, Entry::Gap(gap)));
        }
        let checkpoint = Entry::Checkpoint { time, rows, after_gap: joint.is_break };
        self.pending.push_back((moment, checkpoint));
        self.last = moment;
        self.merge.extend(blocks);
    }

    /// Reports that rows of these times, µs since 1970, cannot be read.
    fn report(&mut self, least: i64, most: i64) {
        let Anchor { monotonic, wall } = self.last;
        let clock = |micros: i64| {
            let moved = micros.saturating_mul(1_000).wrapping_sub(wall);
            monotonic.wrapping_add(moved.cast_unsigned())
        };
        let gap = Gap { from: clock(least), time: clock(most), count: 0, loss: Loss::Missing };
        self.pending.push_back((self.last, Entry::Gap(gap)));
    }

    /// Notes how the clocks are tied. Returns whether that is new.
    fn date(&mut self, moment: Anchor) -> bool {
        self.offset.replace(moment.offset()) != Some(moment.offset())
    }

    /// Goes to the beginning. Returns the table there, and the beginning on both clocks.
    pub(super) fn skip(&mut self) -> (ConnectionTable, Anchor) {
        let mut table = ConnectionTable::default();
        while let Some((moment, entry)) = self.entry() {
            if moment.wall > self.span.from {
                self.ahead = Some((moment, entry));
                break;
            }
            self.date(moment);
            let applied: std::result::Result<(), Infallible> = table.redo(&entry, |_| Ok(()));
            let Ok(()) = applied;
        }
        let wall = self.span.from;
        let monotonic = wall.wrapping_sub(self.offset.unwrap_or(wall)).cast_unsigned();
        (table, Anchor { monotonic, wall })
    }

    /// The next entry of the stretch of time.
    pub(super) fn next(&mut self) -> Option<Timed> {
        self.entry().filter(|(moment, _)| moment.wall <= self.span.to)
    }

    /// Closed connections and gaps that only the replay knows of, as a checkpoint after a gap has
    /// them.
    pub(super) fn for_each_change(
        &mut self,
        table: &mut ConnectionTable,
        mut view: impl FnMut(Anchor, &Change<'_>),
    ) {
        while let Some((moment, entry)) = self.next() {
            let is_checkpoint = matches!(entry, Entry::Checkpoint { .. });
            let applied: std::result::Result<(), Infallible> = table.redo(&entry, |change| {
                if is_checkpoint {
                    view(moment, &change);
                }
                Ok(())
            });
            let Ok(()) = applied;
        }
    }
}

/// Returns whether a row of a segment's first block says what is missing before it.
fn explains(blocks: &[Block]) -> bool {
    let Some(first) = blocks.first().filter(|block| block.may_have("gap_from")) else {
        return false;
    };
    let reader = first.load_columns(&GapReader::COLUMNS).and_then(|batch| GapReader::new(&batch));
    reader.is_ok_and(|reader| !reader.gaps().is_empty())
}

/// The rows of a segment's checkpoint, and how the segment began.
fn checkpoint(host: &HostDir, segment: Segment) -> Result<(Vec<Connection>, Beginning)> {
    let mut rows = Vec::new();
    let Blocks { blocks, beginning, .. } = blocks::blocks(host, segment, Dataset::Checkpoints)?;
    for block in blocks {
        let mut reader = CheckpointReader::new(&block.load()?)?;
        for row in 0..reader.len() {
            rows.push(reader.get(row)?);
        }
    }
    Ok((rows, beginning))
}

/// One item that a journal yields.
#[derive(Clone, Debug)]
pub enum ReplayItem {
    /// The host of the items that follow: a number that is its own, and its name.
    Host(usize, Arc<str>),
    /// A change of that host's table.
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

    fn transition_time(&self) -> Option<u64> {
        match self {
            Self::Entry(Entry::Step(step)) => Some(step.transition.time),
            _ => None,
        }
    }
}

/// The source that a journal is: all its hosts, merged by time.
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
    /// The events of a stretch of time on several hosts, each with its name.
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
        if self.current != number && self.hosts.len() > 1 {
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
    /// The stretch of time that it covers.
    #[must_use]
    pub fn span(&self) -> TimeSpan {
        self.span
    }
}

/// The entries in a file of a journal that is in memory, whichever of the two kinds it is, in the
/// order of its rows.
///
/// # Errors
/// When it is neither, or corrupt; of a stream that ends early, what it had.
pub fn entries_of(file: &Bytes) -> std::result::Result<Vec<(Anchor, Entry)>, Malformed> {
    let mut batches = Vec::new();
    if file.starts_with(b"PAR1") {
        let file = ParquetFile::in_memory(file.clone())?;
        for group in 0..file.groups().len() {
            batches.push(file.group(group)?);
        }
    } else {
        for batch in IpcReader::new(&**file, VecDeque::new())? {
            batches.push(batch?);
        }
    }
    let mut entries = Vec::new();
    for batch in batches {
        let mut reader = EventReader::new(&batch)?;
        for row in 0..reader.len() {
            entries.push(reader.entry(row)?);
        }
    }
    Ok(entries)
}

/// The entries of batches, merged, each with its moment.
#[cfg(test)]
pub(in crate::journal) fn merge_of(batches: Vec<arrow_array::RecordBatch>) -> Vec<Timed> {
    let mut merge: BlockMerge<EventReader> = BlockMerge::new(Box::new(Block::load));
    let path = Arc::from("");
    let blocks = batches.into_iter().filter_map(|batch| {
        Block::of_batch(&path, batch).unwrap_or_else(|error| panic!("{error}"))
    });
    merge.extend(blocks);
    std::iter::from_fn(|| merge.next().unwrap_or_else(|error| panic!("{}", error.error))).collect()
}
