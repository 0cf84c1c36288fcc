//! A Parquet file of a segment, read without trust in its contents. The footer and each chunk are
//! compared with their checksums before decoding. The sizes that the file claims are limited before
//! memory is allocated.

use std::{
    fs::File,
    sync::{Arc, OnceLock, PoisonError},
};

use arrow_array::{BooleanArray, RecordBatch, RecordBatchReader};
use arrow_schema::ArrowError;
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions,
            ParquetRecordBatchReaderBuilder, RowFilter,
        },
    },
    file::{
        metadata::{
            ColumnChunkMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
        },
        statistics::Statistics,
    },
};
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use super::{
    checked_chunks::{CheckedChunks, Chunk, FileBytes, load},
    panic_guard::catch_reader_panic,
};
use crate::journal::{
    error::{Malformed, Result},
    layout::HostDir,
    schema::{self, CHECKSUMS_KEY, Dataset, FOOTER_SUM_KEY, NETNS_KEY, VERSION_KEY},
};

/// The maximum number of rows of a row group: eight times the rows that are written.
const MAX_GROUP_ROWS: i64 = 1 << 20;
/// The maximum number of row groups of a file: a segment has about four.
const MAX_GROUPS: usize = 4096;
/// The maximum number of bytes of a column chunk, in the file, and decompressed.
const MAX_CHUNK: u64 = 64 << 20;

/// The number of rows that are tested together.
const SELECTED_BATCH: usize = 64 << 10;

/// A file whose footer is as it was written.
pub(in crate::journal) struct ParquetFile {
    source: Arc<FileBytes>,
    metadata: Arc<ParquetMetaData>,
    /// The metadata in Arrow's form, made when rows are read: of many files only the metadata is
    /// needed.
    arrow: OnceLock<ArrowReaderMetadata>,
    /// The start, length and checksum of everything that has a checksum, sorted by start.
    chunks: Arc<[Chunk]>,
    keys: FxHashMap<String, String>,
}

/// Returns the start of the footer of a file that was just written, and the footer.
pub(in crate::journal) fn footer_of(file: &File) -> Result<(u64, Vec<u8>)> {
    let (start, footer) = FileBytes::File(file.try_clone()?).footer()?;
    Ok((start, footer.to_vec()))
}

/// Returns the checksum of a footer that has zeros in the place of the checksum.
pub(in crate::journal) fn footer_sum(footer: &[u8]) -> String {
    Sha256::digest(footer).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the checksum that the footer of a file has in its metadata.
pub(in crate::journal) fn footer_sum_of(file: &File) -> Result<String> {
    let (_, footer) = footer_of(file)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer)?;
    let keys = metadata.file_metadata().key_value_metadata();
    let sum = keys.into_iter().flatten().find(|entry| entry.key == FOOTER_SUM_KEY);
    sum.and_then(|entry| entry.value.clone()).ok_or(Malformed::Foreign)
}

/// Returns the start and the length of each column chunk and Bloom filter of a row group, in the
/// order of the checksums.
pub(in crate::journal) fn chunk_ranges(group: &RowGroupMetaData) -> Vec<(u64, usize)> {
    let chunks = group.columns().iter().map(|column| {
        let (start, length) = column.byte_range();
        (start, usize::try_from(length).unwrap_or(usize::MAX))
    });
    let filters = group.columns().iter().filter_map(|column| {
        let start = u64::try_from(column.bloom_filter_offset()?).ok()?;
        Some((start, usize::try_from(column.bloom_filter_length()?).ok()?))
    });
    chunks.chain(filters).collect()
}

/// Returns the column `name` of a row group, with its number.
pub(super) fn column<'a>(
    group: &'a RowGroupMetaData,
    name: &str,
) -> Option<(usize, &'a ColumnChunkMetaData)> {
    let mut columns = group.columns().iter().enumerate();
    columns.find(|(_, column)| column.column_path().string() == name)
}

/// Returns whether any row may have a value in a column.
pub(super) fn may_have_values(column: &ColumnChunkMetaData) -> bool {
    let nulls = column.statistics().and_then(Statistics::null_count_opt);
    nulls.map(u64::cast_signed) != Some(column.num_values())
}

impl ParquetFile {
    /// Opens a file of a journal.
    pub(super) fn open(host: &HostDir, path: &str) -> Result<Self> {
        Self::new(FileBytes::File(host.dir.read(path)?))
    }

    /// Opens a file in memory.
    pub(super) fn in_memory(bytes: Bytes) -> Result<Self> {
        Self::new(FileBytes::Memory(bytes))
    }

    fn new(source: FileBytes) -> Result<Self> {
        let (footer_start, footer) = source.footer()?;
        let (metadata, keys) = catch_reader_panic(|| decode(&footer))?;
        schema::check_version(keys.get(VERSION_KEY).map(String::as_str))?;
        check_footer(&footer, &keys)?;
        let groups = metadata.row_groups();
        if groups.len() > MAX_GROUPS {
            return Err(Malformed::TooLarge("more row groups"));
        }
        let sums = keys.get(CHECKSUMS_KEY).ok_or(Malformed::Foreign)?;
        let chunks = catch_reader_panic(|| chunks(groups, sums, footer_start))?;
        let (source, arrow) = (Arc::new(source), OnceLock::new());
        Ok(Self { source, metadata, arrow, chunks: chunks.into(), keys })
    }

    /// Returns the row groups, in order.
    pub(super) fn groups(&self) -> &[RowGroupMetaData] {
        self.metadata.row_groups()
    }

    /// Returns the names of the file's columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.metadata.file_metadata().schema_descr().columns().iter().map(|column| column.name())
    }

    fn arrow(&self) -> Result<ArrowReaderMetadata> {
        if let Some(known) = self.arrow.get() {
            return Ok(known.clone());
        }
        let metadata = Arc::clone(&self.metadata);
        let made = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())?;
        Ok(self.arrow.get_or_init(|| made).clone())
    }

    /// Returns the value of a key of the file's metadata.
    pub(super) fn key(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }

    /// Reads with the parquet crate, which gets no byte of a chunk before the chunk is checked.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(ParquetRecordBatchReaderBuilder<CheckedChunks>) -> Result<T>,
    ) -> Result<T> {
        let chunks = CheckedChunks::new(Arc::clone(&self.source), Arc::clone(&self.chunks));
        let failed = Arc::clone(&chunks.failed);
        catch_reader_panic(|| {
            read(ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.arrow()?))
        })
        .map_err(|error| {
            // The crate passes on an error only as text.
            failed.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(error)
        })
    }

    /// Returns all rows of a row group as one batch.
    pub(super) fn group(&self, group: usize) -> Result<RecordBatch> {
        self.rows(group, None)
    }

    /// Returns the columns `names` of all rows of a row group as one batch.
    pub(super) fn group_columns(&self, group: usize, names: &[&str]) -> Result<RecordBatch> {
        self.rows(group, Some(names))
    }

    fn rows(&self, group: usize, names: Option<&[&str]>) -> Result<RecordBatch> {
        let rows = self.groups().get(group).map_or(0, RowGroupMetaData::num_rows);
        let rows = usize::try_from(rows).unwrap_or(0).max(1);
        let batch = self.read(|builder| {
            let mask = |names: &[&str]| {
                ProjectionMask::columns(builder.parquet_schema(), names.iter().copied())
            };
            let projection = names.map_or_else(ProjectionMask::all, mask);
            let builder = builder.with_projection(projection);
            let mut batches = builder.with_row_groups(vec![group]).with_batch_size(rows).build()?;
            batches.next().transpose()?.ok_or(Malformed::Corrupt)
        })?;
        Ok(with_netns(batch, self.key(NETNS_KEY)))
    }

    /// Returns the rows of a row group that `test` accepts, as one batch, with the columns `names`,
    /// or with all columns. `test` gets the columns `tested`. The other columns are decoded only
    /// for accepted rows.
    pub(super) fn select(
        &self,
        group: usize,
        names: Option<&[&str]>,
        tested: &[&str],
        test: impl Fn(&RecordBatch) -> Result<BooleanArray> + Send + 'static,
    ) -> Result<RecordBatch> {
        let netns = self.key(NETNS_KEY).map(ToOwned::to_owned);
        let batch = self.read(|builder| {
            let columns = builder.parquet_schema();
            let mask = |names: &[&str]| ProjectionMask::columns(columns, names.iter().copied());
            let predicate = ArrowPredicateFn::new(mask(tested), move |batch| {
                test(&with_netns(batch, netns.as_deref()))
                    .map_err(|error| ArrowError::ExternalError(error.into()))
            });
            let projection = names.map_or_else(ProjectionMask::all, mask);
            let reader = builder
                .with_projection(projection)
                .with_row_groups(vec![group])
                .with_row_filter(RowFilter::new(vec![Box::new(predicate)]))
                .with_batch_size(SELECTED_BATCH)
                .build()?;
            let schema = reader.schema();
            let batches = reader.collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(arrow_select::concat::concat_batches(&schema, &batches)?)
        })?;
        Ok(with_netns(batch, self.key(NETNS_KEY)))
    }

    /// Compares every chunk with its checksum.
    pub(in crate::journal) fn check(&self) -> Result<()> {
        self.chunks.iter().try_for_each(|chunk| load(&self.source, chunk).map(drop))
    }
}

/// Returns a batch with the recorder's own network namespace in its metadata, as batches of a
/// stream have it: the parquet crate does not pass on the metadata of a file.
fn with_netns(mut batch: RecordBatch, netns: Option<&str>) -> RecordBatch {
    if let Some(netns) = netns {
        batch.schema_metadata_mut().insert(NETNS_KEY, netns);
    }
    batch
}

fn decode(footer: &[u8]) -> Result<(Arc<ParquetMetaData>, FxHashMap<String, String>)> {
    let metadata = ParquetMetaDataReader::decode_metadata(footer)?;
    let keys = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let keys =
        keys.filter_map(|KeyValue { key, value }| Some((key.clone(), value.clone()?))).collect();
    Ok((Arc::new(metadata), keys))
}

/// Compares a footer with the checksum in its metadata.
fn check_footer(footer: &[u8], keys: &FxHashMap<String, String>) -> Result<()> {
    let sum = keys.get(FOOTER_SUM_KEY).ok_or(Malformed::Foreign)?;
    let find = |needle: &[u8]| footer.windows(needle.len()).position(|window| window == needle);
    let place = find(FOOTER_SUM_KEY.as_bytes()).and_then(|key| {
        let after = key + FOOTER_SUM_KEY.len();
        let offset = footer[after..].windows(sum.len()).position(|w| w == sum.as_bytes())?;
        Some(after + offset)
    });
    let place = place.filter(|_| !sum.is_empty()).ok_or(Malformed::Corrupt)?;
    let mut zeroed = footer.to_vec();
    zeroed[place..place + sum.len()].fill(b'0');
    if footer_sum(&zeroed) == *sum {
        Ok(())
    } else {
        Err(Malformed::Checksum("its footer".to_owned()))
    }
}

/// Returns everything that has a checksum, sorted by start.
fn chunks(groups: &[RowGroupMetaData], sums: &str, end: u64) -> Result<Vec<Chunk>> {
    let mut sums = sums.as_bytes().chunks_exact(8);
    let mut chunks = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        if !(0..=MAX_GROUP_ROWS).contains(&group.num_rows()) {
            return Err(Malformed::TooLarge("more rows in a row group"));
        }
        let columns = group.columns().len();
        for (at, (start, length)) in chunk_ranges(group).into_iter().enumerate() {
            let size = length as u64;
            if size > MAX_CHUNK {
                return Err(Malformed::TooLarge("more bytes in a column"));
            }
            if start.checked_add(size).is_none_or(|chunk_end| chunk_end > end) {
                return Err(Malformed::Corrupt);
            }
            let sum = sums
                .next()
                .and_then(|sum| u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok());
            let name = group.columns().get(at).map_or_else(
                || "a Bloom filter".to_owned(),
                |column| {
                    let name = column.column_path().string();
                    format!("column '{name}' of row group {number}")
                },
            );
            let sum = sum.ok_or(Malformed::Corrupt)?;
            chunks.push(Chunk { start, length, sum, name, is_data: at < columns });
        }
    }
    chunks.sort_by_key(|chunk| chunk.start);
    Ok(chunks)
}

/// Returns whether the columns of a file are the columns of a dataset.
pub(super) fn is_of(file: &ParquetFile, dataset: Dataset) -> bool {
    static NAMES: [OnceLock<Vec<String>>; Dataset::ALL.len()] =
        [const { OnceLock::new() }; Dataset::ALL.len()];
    let place = Dataset::ALL.iter().position(|known| *known == dataset).unwrap_or(0);
    let names = NAMES[place].get_or_init(|| {
        let schema = dataset.schema().ok();
        let fields = schema.iter().flat_map(|schema| schema.fields().iter());
        fields.map(|field| field.name().clone()).collect()
    });
    file.columns().eq(names.iter().map(String::as_str))
}
