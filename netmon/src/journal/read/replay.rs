//! A journal as a source: the recorded changes, replayed in the order of time.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use bytes::Bytes;

use super::{
    blocks::{self, Beginning, Block, Blocks, Joint, read_blocks},
    gaps::gaps_of,
    ipc_reader::IpcReader,
    merge::BlockMerge,
    parquet_file::ParquetFile,
};
use crate::{
    core::{
        change::Change,
        connection::Connection,
        entry::Entry,
        loss::{Gap, Loss},
        table::ConnectionTable,
        time::{Anchor, Mono, TimeSpan, Wall},
    },
    journal::{
        error::{Malformed, Result},
        intervals::SILENT,
        layout::{HostDir, Segment},
        schema::{CheckpointReader, Dataset, EventReader, Follows},
    },
};

/// An entry, with its moment on both clocks.
pub(super) type Timed = (Anchor, Entry);

/// The part of a journal that belongs to one host, in the order of time.
pub(super) struct HostReplay {
    host: Arc<HostDir>,
    /// The segments that are not opened yet.
    segments: VecDeque<Segment>,
    merge: BlockMerge<EventReader>,
    span: TimeSpan,
    /// The segment that begins when everything before it was handed over.
    next: Option<NextSegment>,
    /// The start of the last segment that was opened, and the greatest time in the segments that
    /// were opened.
    last_start: Option<Wall>,
    most: Wall,
    /// Rows are missing since the previous segment.
    has_gap: bool,
    pending: VecDeque<Timed>,
    /// The moment of the last entry that was handed over.
    last: Anchor,
    /// The entries that follow the stretch of time.
    after: VecDeque<Timed>,
    /// The stretch of time is over.
    is_over: bool,
    /// The first entry after the beginning, which was read to find the beginning.
    ahead: Option<Timed>,
    /// Wall time minus the monotonic clock, as it was last handed over.
    offset: Option<i64>,
}

struct NextSegment {
    segment: Segment,
    blocks: Vec<Block>,
    beginning: Beginning,
    /// The start of the previous segment, and whether a part of that segment is damaged.
    before: Option<Wall>,
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
            last_start: None,
            most: Wall::MIN,
            has_gap: false,
            pending: VecDeque::new(),
            last: Anchor::default(),
            after: VecDeque::new(),
            is_over: false,
            ahead: None,
            offset: None,
        }
    }

    /// Adds entries that follow the stretch of time.
    pub(super) fn then(mut self, after: impl Iterator<Item = Timed>) -> Self {
        self.after.extend(after);
        self
    }

    /// Returns the next entry; nothing at the end.
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
                    // The rows at the end are missing.
                    None if std::mem::take(&mut self.has_gap) => {
                        let from = self.last.wall;
                        self.report(from, from.max(self.span.to));
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
            // The checkpoint of the segment may still be readable.
            let (blocks, beginning) = (Vec::new(), Beginning::default());
            let before = self.last_start.replace(segment.start);
            self.next =
                Some(NextSegment { segment, blocks, beginning, before, is_after_damage: false });
            self.has_gap = true;
            return;
        };
        let before = self.last_start.replace(segment.start);
        let is_after_damage = std::mem::take(&mut self.has_gap);
        let follows_last = before.is_some_and(|last| beginning.follows == Follows::Segment(last));
        // After the clock was set back, a segment begins among the times of the previous segment.
        let is_in_order = segment.start >= self.most;
        let most = blocks.iter().map(|block| block.most).max();
        if let Some(most) = most {
            self.most = most;
        }
        if follows_last && is_in_order && !is_after_damage {
            // The segment continues without a break: the table needs no checkpoint.
            self.merge.extend(blocks);
        } else {
            self.next = Some(NextSegment { segment, blocks, beginning, before, is_after_damage });
        }
        for error in errors {
            log::debug!("a part of a stream is damaged: {error}");
            self.has_gap = true;
        }
    }

    /// Begins a segment that does not continue the previous segment.
    fn begin(&mut self, next: NextSegment) {
        let NextSegment { segment, blocks, mut beginning, before, is_after_damage } = next;
        let rows = match checkpoint(&self.host, segment) {
            Ok((rows, checkpoint_beginning)) => {
                beginning.clock = beginning.clock.or(checkpoint_beginning.clock);
                rows
            }
            Err(error) => {
                let path = blocks::path_of(&self.host, segment, Dataset::Checkpoints);
                self.host.leave_out(&path, &error);
                Vec::new()
            }
        };
        let last = self.last;
        let clock = beginning.clock.unwrap_or(last);
        let time = clock.monotonic_time(segment.start);
        let moment = Anchor { monotonic: time, wall: segment.start };
        let is_silent = segment.start.since(last.wall) > SILENT;
        let is_unexplained = || is_silent && !explains(&blocks);
        // There is no gap before the first segment.
        let joint =
            before.filter(|_| last != Anchor::default()).map_or(Joint::default(), |before| {
                beginning.joint(before, is_after_damage, is_unexplained)
            });
        if joint.is_hole {
            let from = clock.monotonic_time(last.wall);
            let gap = Gap { from, time, count: 0, loss: Loss::Missing };
            self.pending.push_back((moment, Entry::Anchor(moment)));
            self.pending.push_back((moment, Entry::Gap(gap)));
        }
        let checkpoint = Entry::Checkpoint { time, rows, after_gap: joint.is_break };
        self.pending.push_back((moment, checkpoint));
        self.last = moment;
        self.merge.extend(blocks);
    }

    /// Reports that rows from `least` to `most` cannot be read.
    fn report(&mut self, least: Wall, most: Wall) {
        let clock = |wall| self.last.monotonic_time(wall);
        let gap = Gap { from: clock(least), time: clock(most), count: 0, loss: Loss::Missing };
        self.pending.push_back((self.last, Entry::Gap(gap)));
    }

    /// Notes the offset between the clocks. Returns whether the offset has changed.
    pub(super) fn date(&mut self, moment: Anchor) -> bool {
        self.offset.replace(moment.offset()) != Some(moment.offset())
    }

    /// Goes to the beginning of the stretch of time. Returns the table at the beginning, and the
    /// beginning on both clocks.
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
        let clock = self.offset.map(Anchor::from_offset);
        let monotonic = clock.map_or(Mono::BOOT, |clock| clock.monotonic_time(wall));
        (table, Anchor { monotonic, wall })
    }

    /// Returns the next entry of the stretch of time.
    pub(super) fn next(&mut self) -> Option<Timed> {
        let to = self.span.to;
        let next = if self.is_over { None } else { self.entry() };
        let next = next.filter(|(moment, _)| moment.wall <= to);
        self.is_over = next.is_none();
        next.or_else(|| self.after.pop_front())
    }

    /// Replays all entries, and calls `view` with the changes that a checkpoint makes: after a gap,
    /// only the replay knows which connections have ended or are new.
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

/// Returns whether a row of a segment's first block reports a gap before the segment.
fn explains(blocks: &[Block]) -> bool {
    blocks.first().is_some_and(|first| gaps_of(first).is_ok_and(|gaps| !gaps.is_empty()))
}

/// Returns the rows of a segment's checkpoint, and the beginning of the segment.
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

/// Returns the entries of a file in memory, a stream or Parquet, in the order of its rows.
///
/// # Errors
/// Returns an error when the file is neither a stream nor Parquet, or is corrupt. Of a stream that
/// ends early, the entries before its end are returned.
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

/// Returns the entries of batches, merged, each with its moment.
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
