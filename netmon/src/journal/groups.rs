//! Reads Parquet files: of their row groups, those that may have what is wanted.

use std::{io, net::IpAddr};

use arrow_array::RecordBatch;
use parquet::{
    arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    },
    bloom_filter::Sbbf,
    file::{
        metadata::{ColumnChunkMetaData, RowGroupMetaData},
        reader::ChunkReader,
        statistics::Statistics,
    },
};

use super::{
    decode::{self, Malformed},
    guard::guarded,
    reader::Span,
};
use crate::core::filter::{Extent, Filter, Side};

/// The row groups of a file that may have rows of `span` which `filter` lets pass, each as one batch: what
/// was sorted together is put in order together. `open` opens the file, once more for each of them.
pub(super) fn batches<R, F>(
    open: F,
    span: Option<Span>,
    filter: &Filter,
) -> Result<impl Iterator<Item = Result<RecordBatch, Malformed>> + Send + use<R, F>, Malformed>
where
    R: ChunkReader + 'static,
    F: Fn() -> io::Result<R> + Send,
{
    some(open, &|group| span.is_none_or(|span| group.is_in(span)) && filter.may_match(group))
}

/// The row groups of a file of events that say what is missing, of those that may have rows of `span`.
pub(super) fn gaps<R, F>(
    open: F,
    span: Span,
) -> Result<impl Iterator<Item = Result<RecordBatch, Malformed>> + Send + use<R, F>, Malformed>
where
    R: ChunkReader + 'static,
    F: Fn() -> io::Result<R> + Send,
{
    some(open, &|group| group.is_in(span) && group.may_have("from"))
}

fn some<R, F>(
    open: F,
    is_wanted: &dyn Fn(&Group<'_, R>) -> bool,
) -> Result<impl Iterator<Item = Result<RecordBatch, Malformed>> + Send + use<R, F>, Malformed>
where
    R: ChunkReader + 'static,
    F: Fn() -> io::Result<R> + Send,
{
    let metadata = load(&open()?)?;
    decode::check_version(metadata.schema())?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(open()?, metadata.clone());
    let mut wanted = Vec::new();
    for (number, metadata) in metadata.metadata().row_groups().iter().enumerate() {
        let group = Group { builder: &builder, number, metadata };
        if guarded(|| Ok(is_wanted(&group)))? {
            wanted.push((number, usize::try_from(metadata.num_rows()).unwrap_or(0).max(1)));
        }
    }
    Ok(wanted.into_iter().flat_map(move |(group, rows)| {
        let read = || {
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(open()?, metadata.clone());
            let mut reader = builder.with_row_groups(vec![group]).with_batch_size(rows).build()?;
            Ok(reader.next().transpose()?)
        };
        guarded(read).transpose()
    }))
}

fn load(file: &impl ChunkReader) -> Result<ArrowReaderMetadata, Malformed> {
    guarded(|| Ok(ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?))
}

/// The last moment in a file; nothing where it has no row.
pub(super) fn last<R: ChunkReader>(file: &R) -> Result<Option<i64>, Malformed> {
    let metadata = load(file)?;
    let groups = metadata.metadata().row_groups().iter();
    Ok(groups.filter_map(times).map(|times| times.to).max())
}

/// The first and the last moment of a row group.
fn times(group: &RowGroupMetaData) -> Option<Span> {
    match group.columns().first()?.statistics()? {
        Statistics::Int64(times) => Some(Span { from: *times.min_opt()?, to: *times.max_opt()? }),
        _ => None,
    }
}

/// What a file tells of a row group: the least and the greatest of a column, and, where it has one, a Bloom
/// filter of it.
struct Group<'a, R: ChunkReader + 'static> {
    builder: &'a ParquetRecordBatchReaderBuilder<R>,
    number: usize,
    metadata: &'a RowGroupMetaData,
}

impl<R: ChunkReader + 'static> Group<'_, R> {
    fn is_in(&self, span: Span) -> bool {
        times(self.metadata).is_none_or(|times| times.from <= span.to && times.to >= span.from)
    }

    /// Whether any row may have a value there.
    fn may_have(&self, name: &str) -> bool {
        let Some((_, column)) = self.column(name) else { return true };
        let nulls = column.statistics().and_then(Statistics::null_count_opt);
        nulls.map(u64::cast_signed) != Some(column.num_values())
    }

    fn column(&self, name: &str) -> Option<(usize, &ColumnChunkMetaData)> {
        let mut columns = self.metadata.columns().iter().enumerate();
        columns.find(|(_, column)| column.column_path().string() == name)
    }

    fn bloom_filter(&self, column: usize) -> Option<Sbbf> {
        self.builder.get_row_group_column_bloom_filter(self.number, column).ok().flatten()
    }
}

impl<R: ChunkReader + 'static> Extent for Group<'_, R> {
    fn may_have_port(&self, side: Side, [low, high]: [u16; 2]) -> bool {
        let name = match side {
            Side::Local => "local_port",
            Side::Remote => "remote_port",
        };
        let Some((number, column)) = self.column(name) else { return true };
        let Some(Statistics::Int32(statistics)) = column.statistics() else { return true };
        // No port at all is port 0.
        let nulls = statistics.null_count_opt();
        if low == 0 && nulls != Some(0) {
            return true;
        }
        let (Some(least), Some(greatest)) = (statistics.min_opt(), statistics.max_opt()) else {
            return nulls.map(u64::cast_signed) != Some(column.num_values());
        };
        let (low, high) = (i32::from(low), i32::from(high));
        let is_within = *least <= high && *greatest >= low;
        is_within
            && (low != high || self.bloom_filter(number).is_none_or(|filter| filter.check(&low)))
    }

    fn may_have_address(&self, side: Side, address: IpAddr) -> bool {
        let name = match side {
            Side::Local => "local_addr",
            Side::Remote => "remote_addr",
        };
        let filter = self.column(name).and_then(|(number, _)| self.bloom_filter(number));
        filter.is_none_or(|filter| filter.check(&*address.to_string()))
    }
}
