//! Blocks: rows of a dataset that are sorted together. A segment that is done has a block for each
//! row group. A segment that is being written has a block for each batch.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use parquet::file::{metadata::RowGroupMetaData, statistics::Statistics};

use super::{
    ipc_reader::IpcReader,
    parquet_file::{self, ParquetFile, may_have_values},
};
use crate::{
    core::time::{Anchor, TimeSpan, Wall},
    journal::{
        error::{Malformed, Result},
        layout::{FileKind, HostDir, Segment},
        schema::{
            CLOCK_OFFSET_KEY, Dataset, FOLLOWS_KEY, FOLLOWS_NOTHING, Follows, NETNS_KEY,
            OrderReader, column::recorder_netns_of,
        },
    },
};

/// Rows that are sorted together.
pub(super) struct Block {
    /// The file that contains the block.
    pub(super) path: Arc<str>,
    /// The least and the greatest time of the rows.
    pub(super) least: Wall,
    pub(super) most: Wall,
    source: BlockSource,
}

enum BlockSource {
    Group(Arc<ParquetFile>, usize),
    Batch(RecordBatch),
}

impl Block {
    /// Reads the rows of the block.
    pub(super) fn load(&self) -> Result<RecordBatch> {
        match &self.source {
            BlockSource::Group(file, group) => file.group(*group),
            BlockSource::Batch(batch) => Ok(batch.clone()),
        }
    }

    /// Reads at least the rows of the block that have a value in the column `tested`, with the
    /// columns `names` at least.
    pub(super) fn load_rows_with(&self, tested: &str, names: &[&str]) -> Result<RecordBatch> {
        match &self.source {
            BlockSource::Group(file, group) => {
                file.select(*group, Some(names), &[tested], |batch| Ok(has_value(batch.column(0))))
            }
            BlockSource::Batch(batch) => Ok(batch.clone()),
        }
    }

    /// Reads all rows of the block, with the columns `names` at least.
    pub(super) fn load_columns(&self, names: &[&str]) -> Result<RecordBatch> {
        match &self.source {
            BlockSource::Group(file, group) => file.group_columns(*group, names),
            BlockSource::Batch(batch) => Ok(batch.clone()),
        }
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        match &self.source {
            BlockSource::Group(file, group) => file
                .groups()
                .get(*group)
                .map_or(0, |group| usize::try_from(group.num_rows()).unwrap_or(0)),
            BlockSource::Batch(batch) => batch.num_rows(),
        }
    }

    /// Returns the row group of the block, if the block is a row group.
    pub(super) fn group(&self) -> Option<(&Arc<ParquetFile>, usize)> {
        match &self.source {
            BlockSource::Group(file, group) => Some((file, *group)),
            _ => None,
        }
    }

    /// Returns a block of rows in memory; nothing if there are no rows.
    pub(super) fn of_batch(path: &Arc<str>, batch: RecordBatch) -> Result<Option<Self>> {
        let order = OrderReader::new(&batch)?;
        let times = (0..order.len()).map(|row| order.get(row).0);
        let (least, most) = times
            .fold((Wall::MAX, Wall::MIN), |(least, most), time| (least.min(time), most.max(time)));
        let is_empty = batch.num_rows() == 0;
        let (path, source) = (Arc::clone(path), BlockSource::Batch(batch));
        Ok((!is_empty).then_some(Self { path, least, most, source }))
    }

    /// Returns whether any row may be in a stretch of time. Times are rounded down to microseconds.
    pub(super) fn may_be_in(&self, span: TimeSpan) -> bool {
        self.least <= span.to && self.most >= span.from - Duration::from_nanos(999)
    }

    /// Returns whether any row may have a value in a column.
    pub(super) fn may_have(&self, name: &str) -> bool {
        let Some((file, group)) = self.group() else { return true };
        let Some(group) = file.groups().get(group) else { return true };
        parquet_file::column(group, name).is_none_or(|(_, column)| may_have_values(column))
    }
}

/// The blocks of a segment's dataset, in the order in which their rows came, and the errors of
/// reading.
#[derive(Default)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    /// The errors of the parts that could not be read.
    pub(super) errors: Vec<Malformed>,
    /// The beginning of the segment, as described by its recorder.
    pub(super) beginning: Beginning,
}

/// The beginning of a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Beginning {
    /// The predecessor of the segment.
    pub(super) follows: Follows,
    /// A moment on both clocks.
    pub(super) clock: Option<Anchor>,
    /// Inode number of the recorder's own network namespace.
    pub(super) netns: Option<u32>,
}

impl Beginning {
    fn of<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Self {
        let follows = match value(FOLLOWS_KEY) {
            Some(FOLLOWS_NOTHING) => Follows::Nothing,
            Some(start) => start
                .parse()
                .map_or(Follows::Gap, |start| Follows::Segment(Wall::from_nanos(start))),
            None => Follows::Gap,
        };
        let offset = value(CLOCK_OFFSET_KEY).and_then(|offset| offset.parse().ok());
        let clock = offset.map(Anchor::from_offset);
        let netns = recorder_netns_of(value(NETNS_KEY));
        Self { follows, clock, netns }
    }

    /// Returns how the segment meets the segment that starts at `before`. `is_damaged` means that a
    /// part of the earlier segment cannot be read. If a recorder began with this segment,
    /// `is_unexplained` returns whether no row reports the time between.
    pub(super) fn joint(
        &self,
        before: Wall,
        is_damaged: bool,
        is_unexplained: impl FnOnce() -> bool,
    ) -> Joint {
        let is_other = matches!(self.follows, Follows::Segment(start) if start != before);
        let is_missing = is_damaged || is_other;
        Joint {
            is_hole: is_missing || self.follows == Follows::Nothing && is_unexplained(),
            is_break: is_missing || self.follows == Follows::Gap,
        }
    }
}

/// The way in which two consecutive segments meet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Joint {
    /// Events are missing between the segments, and no row reports the loss.
    pub(super) is_hole: bool,
    /// Connections of the first segment that the second segment does not have ended between them.
    pub(super) is_break: bool,
}

/// Returns the blocks of a segment's dataset.
///
/// # Errors
/// Returns an error when nothing of the dataset can be read.
pub(super) fn blocks(host: &HostDir, segment: Segment, dataset: Dataset) -> Result<Blocks> {
    if segment.closed {
        return closed(host, segment.start, dataset);
    }
    let mut reader = match IpcReader::open(host, dataset, segment.start) {
        Ok(reader) => reader,
        // The segment was done meanwhile.
        Err(Malformed::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return closed(host, segment.start, dataset);
        }
        Err(error) => return Err(error),
    };
    let path = path_of(host, segment, dataset);
    let mut result =
        Blocks { beginning: Beginning::of(|key| reader.key(key)), ..Blocks::default() };
    for batch in reader.by_ref() {
        match batch.and_then(|batch| Block::of_batch(&path, batch)) {
            Ok(block) => result.blocks.extend(block),
            Err(error) => result.errors.push(error),
        }
    }
    Ok(result)
}

/// Reads the blocks of a segment's dataset, and logs the parts that cannot be read.
pub(super) fn read_blocks(host: &HostDir, segment: Segment, dataset: Dataset) -> Result<Blocks> {
    let path = || path_of(host, segment, dataset);
    host.files_read.fetch_add(1, Ordering::Relaxed);
    let result =
        blocks(host, segment, dataset).inspect_err(|error| host.leave_out(&path(), error))?;
    for error in &result.errors {
        host.leave_out(&path(), error);
    }
    Ok(result)
}

fn closed(host: &HostDir, start: Wall, dataset: Dataset) -> Result<Blocks> {
    let file = Arc::new(file(host, start, dataset)?);
    let path = path_of(host, Segment { start, closed: true }, dataset);
    let blocks = (0..file.groups().len()).filter_map(|number| {
        let group = &file.groups()[number];
        let (least, most) = times(group).unwrap_or((Wall::MIN, Wall::MAX));
        let source = BlockSource::Group(Arc::clone(&file), number);
        (group.num_rows() > 0).then(|| Block { path: Arc::clone(&path), least, most, source })
    });
    let blocks = blocks.collect();
    Ok(Blocks { blocks, beginning: Beginning::of(|key| file.key(key)), ..Blocks::default() })
}

/// Returns the path of a segment's file of a dataset, for messages.
pub(super) fn path_of(host: &HostDir, segment: Segment, dataset: Dataset) -> Arc<str> {
    host.dir.path_of(&host.file(segment, dataset)).display().to_string().into()
}

/// Opens the file of a dataset of a segment that is done.
pub(in crate::journal) fn file(
    host: &HostDir,
    start: Wall,
    dataset: Dataset,
) -> Result<ParquetFile> {
    let file = ParquetFile::open(host, &host.path(dataset, start, FileKind::Parquet))?;
    if parquet_file::is_of(&file, dataset) { Ok(file) } else { Err(Malformed::Foreign) }
}

/// Returns which rows of a column have a value.
fn has_value(column: &dyn Array) -> BooleanArray {
    let values = column
        .logical_nulls()
        .map_or_else(|| BooleanBuffer::new_set(column.len()), NullBuffer::into_inner);
    BooleanArray::new(values, None)
}

/// Returns the first and the last time of a row group.
fn times(group: &RowGroupMetaData) -> Option<(Wall, Wall)> {
    match parquet_file::column(group, "time")?.1.statistics()? {
        Statistics::Int64(times) => {
            Some((Wall::from_micros(*times.min_opt()?), Wall::from_micros(*times.max_opt()?)))
        }
        _ => None,
    }
}
