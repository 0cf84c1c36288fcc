//! Merges the rows of blocks into the order of time. Only the few blocks whose times overlap are in
//! memory.
//!
//! Rows are ordered by their time and their number within that time (`tie`). A row is returned once
//! the row is earlier than all rows of the blocks that are not loaded yet.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use arrow_array::RecordBatch;

use super::blocks::Block;
use crate::{
    core::{
        entry::{EndedConnection, Entry},
        time::{Anchor, Wall},
    },
    journal::{
        error::{Malformed, Result},
        intervals::LATE,
        schema::{ConnectionReader, EventReader},
    },
};

/// Rows of a dataset, decoded one at a time.
pub(super) trait BlockRows: Sized {
    /// A decoded row, with its moment.
    type Row;

    fn new(batch: &RecordBatch) -> Result<Self>;
    fn len(&self) -> usize;
    /// Returns the order of a row: its time in whole microseconds, and its number within the
    /// microsecond.
    fn order(&self, row: usize) -> (Wall, i32);
    /// Returns the row, decoded.
    fn row(&mut self, row: usize) -> Result<Self::Row>;
}

impl BlockRows for EventReader {
    type Row = (Anchor, Entry);

    fn new(batch: &RecordBatch) -> Result<Self> {
        Self::new(batch)
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn order(&self, row: usize) -> (Wall, i32) {
        self.order(row)
    }

    fn row(&mut self, row: usize) -> Result<(Anchor, Entry)> {
        self.entry(row)
    }
}

impl BlockRows for ConnectionReader {
    type Row = EndedConnection;

    fn new(batch: &RecordBatch) -> Result<Self> {
        Self::new(batch)
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn order(&self, row: usize) -> (Wall, i32) {
        self.order(row)
    }

    fn row(&mut self, row: usize) -> Result<EndedConnection> {
        self.get(row)
    }
}

/// A loaded block, with its rows in order.
struct Run<R> {
    path: Arc<str>,
    rows: R,
    order: Vec<(Wall, i32, u32)>,
    next: usize,
}

impl<R: BlockRows> Run<R> {
    /// Decodes the rows of a batch, and sorts them.
    fn new(block: &Block, batch: &RecordBatch) -> Result<Self> {
        let rows = R::new(batch)?;
        let count = u32::try_from(rows.len()).map_err(|_| Malformed::TooLarge("more rows"))?;
        let order = (0..count).map(|row| {
            let (time, tie) = rows.order(row as usize);
            (time, tie, row)
        });
        let mut order: Vec<_> = order.collect();
        order.sort_unstable();
        Ok(Self { path: Arc::clone(&block.path), rows, order, next: 0 })
    }
}

/// A block, or a row of a block, that could not be read.
pub(super) struct BlockError {
    /// The path of the file.
    pub(super) path: Arc<str>,
    /// The reason.
    pub(super) error: Malformed,
    /// The least and the greatest time of the rows that are missing.
    pub(super) least: Wall,
    pub(super) most: Wall,
}

/// Loads the rows of a block.
pub(super) type LoadBlock = Box<dyn FnMut(&Block) -> Result<RecordBatch> + Send>;

/// Rows of several blocks in the order of time.
pub(super) struct BlockMerge<R> {
    load: LoadBlock,
    /// The blocks that are not loaded, in the order in which their rows came.
    blocks: VecDeque<Block>,
    /// The least time in the blocks that are not loaded.
    unloaded: Option<Wall>,
    runs: Vec<Option<Run<R>>>,
    /// The next row of each run: its time, its number within that time, and the number of the run.
    heads: BinaryHeap<Reverse<(Wall, i32, usize)>>,
}

impl<R: BlockRows> BlockMerge<R> {
    /// Returns a merge without blocks, which loads blocks with `load`.
    pub(super) fn new(load: LoadBlock) -> Self {
        Self {
            load,
            blocks: VecDeque::new(),
            unloaded: None,
            runs: Vec::new(),
            heads: BinaryHeap::new(),
        }
    }

    /// Adds blocks whose rows came after those of all blocks before.
    pub(super) fn extend(&mut self, blocks: impl IntoIterator<Item = Block>) {
        self.blocks.extend(blocks);
        self.unloaded = self.blocks.iter().map(|block| block.least).min();
    }

    /// Returns the time of the next row as far as it is known. No row that was not
    /// returned yet is earlier.
    fn least(&self) -> Option<Wall> {
        let loaded = self.heads.peek().map(|Reverse((time, ..))| *time);
        loaded.into_iter().chain(self.unloaded).min()
    }

    /// Returns whether a segment that starts at `start` may have rows before the
    /// next row.
    pub(super) fn needs_segment(&self, start: Wall) -> bool {
        self.least().is_none_or(|least| start <= least + LATE)
    }

    /// Returns the next row; nothing at the end.
    ///
    /// # Errors
    /// Returns an error when a block or a row cannot be read. The other rows follow.
    pub(super) fn next(&mut self) -> std::result::Result<Option<R::Row>, Box<BlockError>> {
        loop {
            let head = self.heads.peek().map(|Reverse((time, ..))| *time);
            match (head, self.unloaded) {
                (None, None) => return Ok(None),
                (Some(time), least) if least.is_none_or(|least| time < least) => break,
                _ => self.load()?,
            }
        }
        let Some(Reverse((time, _, number))) = self.heads.pop() else { return Ok(None) };
        let Some(run) = self.runs.get_mut(number).and_then(Option::as_mut) else {
            return Ok(None);
        };
        let (.., row) = run.order[run.next];
        run.next += 1;
        let decoded = run.rows.row(row as usize).map_err(|error| {
            let path = Arc::clone(&run.path);
            Box::new(BlockError { path, error, least: time, most: time })
        });
        match run.order.get(run.next) {
            Some((time, tie, _)) => self.heads.push(Reverse((*time, *tie, number))),
            None => self.runs[number] = None,
        }
        decoded.map(Some)
    }

    /// Loads the next block.
    fn load(&mut self) -> std::result::Result<(), Box<BlockError>> {
        let Some(block) = self.blocks.pop_front() else { return Ok(()) };
        self.unloaded = self.blocks.iter().map(|block| block.least).min();
        let run = (self.load)(&block).and_then(|batch| Run::new(&block, &batch));
        let run = run.map_err(|error| {
            let (path, least, most) = (Arc::clone(&block.path), block.least, block.most);
            Box::new(BlockError { path, error, least, most })
        })?;
        if let Some((time, tie, _)) = run.order.first().copied() {
            self.heads.push(Reverse((time, tie, self.runs.len())));
            self.runs.push(Some(run));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        core::{
            change::{Change, Step},
            connection::Connection,
            event::Transition,
            id::{ConnectionId, Tuple, socket},
            tcp::TcpState,
            time::{Anchor, Mono, at},
        },
        journal::{
            read::merge_of,
            schema::{Dataset, EventBuilder, NoNames},
            write::sorted,
        },
    };

    /// A batch of rows: the socket, the time in µs, and a number, which is kept as the remote port.
    fn batch(events: &mut EventBuilder, rows: &[(u64, i64, u16)]) -> RecordBatch {
        let anchor = Anchor::default();
        for (cookie, micros, number) in rows {
            let end = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let tuple = Tuple { netns: 1, interface: 0, local: end(1), remote: end(*number) };
            let (time, cookie) = (at(micros * 1_000), socket(*cookie));
            let (old, new) = (TcpState::SynSent, TcpState::Established);
            let transition = Transition { time, ..Transition::bare(cookie, tuple, old, new) };
            let row = Connection::new(ConnectionId { cookie, epoch: Mono::BOOT }, tuple, new);
            let (in_state, verdict, corrected) = (None, None, false);
            let (transition, connection) = (&transition, &row);
            let step = Step { transition, connection, in_state, verdict, corrected };
            events.push(anchor, &Change::StateChanged(step));
        }
        events.finish(&mut NoNames).expect("a batch")
    }

    proptest! {
        /// Each row comes out once, in the order of time, and rows of one microsecond in the order
        /// of their arrival. That holds for rows that are cut into blocks at any place, and for
        /// rows that come late.
        #[test]
        fn any_cut_and_any_overlap_is_merged(
            rows in prop::collection::vec((1..7u64, 0..40i64, any::<bool>()), 1..200),
            cuts in prop::collection::vec(1..30usize, 1..20),
        ) {
            // Time goes on by one µs every three rows. Some rows are up to 39 µs late, and many
            // share a microsecond.
            let rows: Vec<(u64, i64, u16)> = (1u16..)
                .zip(rows)
                .map(|(number, (cookie, late, is_late))| {
                    let now = 100 + i64::from(number) / 3;
                    (cookie, if is_late { now - late } else { now }, number)
                })
                .collect();
            let mut events = EventBuilder::new(&Arc::from("boot"));
            let (mut blocks, mut rest, mut cuts) = (Vec::new(), &rows[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (block, after) = rest.split_at(rest.len().min(*cuts.next().expect("a cut")));
                blocks.push(sorted(Dataset::Events, &batch(&mut events, block)).expect("sorted"));
                rest = after;
            }
            let mut expected: Vec<_> = rows.iter().map(|row| (at(row.1 * 1_000), row.2)).collect();
            expected.sort_unstable();
            let merged = merge_of(blocks).into_iter().map(|(moment, entry)| {
                let Entry::Step(step) = entry else { panic!("{entry:?}") };
                (moment.monotonic, step.transition.tuple.remote.port())
            });
            prop_assert_eq!(merged.collect::<Vec<_>>(), expected);
        }
    }
}
