//! One Parquet file of a segment, of which nothing is believed: its footer and each chunk are
//! compared with their checksums before they are decoded, and what it claims is bounded before
//! memory is taken for it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use arrow_array::RecordBatch;
use bytes::{Buf, Bytes, buf::Reader};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
    file::{
        metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        reader::{ChunkReader, Length},
    },
};
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use super::{page_sizes, panic_guard::catch_reader_panic};
use crate::journal::{
    error::{Malformed, Result},
    layout::HostDir,
    schema::{self, CHECKSUMS_KEY, Dataset, FOOTER_SUM_KEY, VERSION_KEY},
};

/// The first and the last bytes of a file.
const MAGIC: &[u8; 4] = b"PAR1";
/// The length of the footer, and the magic.
const TAIL: u64 = 8;
/// Bytes of a footer at most: a segment's has some 50 KB.
const MAX_FOOTER: u64 = 16 << 20;
/// Rows of a row group at most: eight times what is written.
const MAX_GROUP_ROWS: i64 = 1 << 20;
/// Row groups of a file at most: a segment has four or so.
const MAX_GROUPS: usize = 4096;
/// Bytes of a column chunk at most, as they are in the file, and decompressed.
const MAX_CHUNK: u64 = 64 << 20;
const MAX_DECOMPRESSED: u64 = 256 << 20;

/// A file whose footer is as it was written.
pub(in crate::journal) struct ParquetFile {
    source: Arc<FileBytes>,
    metadata: Arc<ParquetMetaData>,
    /// The same for Arrow, made when rows are read: many files are only asked what they have.
    arrow: OnceLock<ArrowReaderMetadata>,
    /// Start, length and checksum of everything that has one, by start.
    chunks: Arc<[Chunk]>,
    keys: FxHashMap<String, String>,
}

/// Where the bytes are.
enum FileBytes {
    File(File),
    Memory(Bytes),
}

struct Chunk {
    start: u64,
    length: usize,
    sum: u32,
    /// Its name, for messages.
    name: String,
    is_data: bool,
}

impl FileBytes {
    fn len(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Self::File(file) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start)?;
                Ok(bytes.into())
            }
            Self::Memory(bytes) => {
                let start = usize::try_from(start).map_err(|_| Malformed::Corrupt)?;
                let end = start.checked_add(length).filter(|end| *end <= bytes.len());
                Ok(bytes.slice(start..end.ok_or(Malformed::Corrupt)?))
            }
        }
    }

    /// The footer, and where it starts.
    fn footer(&self) -> Result<(u64, Bytes)> {
        let length = self.len()?;
        let head = MAGIC.len() as u64;
        if length < head + TAIL {
            return Err(if length == 0 { cut_short() } else { Malformed::Corrupt });
        }
        let tail = self.read(length - TAIL, 8)?;
        let (size, magic) = tail.split_at(4);
        if magic != MAGIC {
            return Err(Malformed::Foreign);
        }
        let size = u64::from(u32::from_le_bytes(size.try_into().unwrap_or_default()));
        if size > MAX_FOOTER {
            return Err(Malformed::TooLarge("a footer of that size"));
        }
        let start = (length - TAIL).checked_sub(size).filter(|start| *start >= head);
        let start = start.ok_or(Malformed::Corrupt)?;
        Ok((start, self.read(start, usize::try_from(size).unwrap_or(0))?))
    }
}

fn cut_short() -> Malformed {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}

/// The footer of a file that was just written, and where it starts.
pub(in crate::journal) fn footer_of(file: &File) -> Result<(u64, Vec<u8>)> {
    let (start, footer) = FileBytes::File(file.try_clone()?).footer()?;
    Ok((start, footer.to_vec()))
}

/// The checksum of a footer in which zeros stand in the checksum's place.
pub(in crate::journal) fn footer_sum(footer: &[u8]) -> String {
    Sha256::digest(footer).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The checksum that the footer of a file says of itself.
pub(in crate::journal) fn footer_sum_of(file: &File) -> Result<String> {
    let (_, footer) = footer_of(file)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer)?;
    let keys = metadata.file_metadata().key_value_metadata();
    let sum = keys.into_iter().flatten().find(|entry| entry.key == FOOTER_SUM_KEY);
    sum.and_then(|entry| entry.value.clone()).ok_or(Malformed::Foreign)
}

/// Start and length of each column chunk and Bloom filter of a row group, in the order in which
/// their checksums stand.
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

impl ParquetFile {
    /// Opens the file at a path of a journal.
    pub(super) fn open(host: &HostDir, path: &str) -> Result<Self> {
        Self::new(FileBytes::File(host.dir.read(path)?))
    }

    /// A file that is in memory.
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

    /// The row groups, in order.
    pub(super) fn groups(&self) -> &[RowGroupMetaData] {
        self.metadata.row_groups()
    }

    /// The names of its columns.
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

    /// The value of a key of the file's metadata.
    pub(super) fn key(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }

    /// Reads with the parquet crate, which is given no byte before its chunk is checked.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(ParquetRecordBatchReaderBuilder<CheckedChunks>) -> Result<T>,
    ) -> Result<T> {
        let chunks = CheckedChunks {
            source: Arc::clone(&self.source),
            chunks: Arc::clone(&self.chunks),
            read: Arc::default(),
            failed: Arc::default(),
        };
        let failed = Arc::clone(&chunks.failed);
        catch_reader_panic(|| {
            read(ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.arrow()?))
        })
        .map_err(|error| {
            // The crate passes errors on as text.
            failed.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(error)
        })
    }

    /// All rows of a row group, as one batch.
    pub(super) fn group(&self, group: usize) -> Result<RecordBatch> {
        self.group_columns(group, None)
    }

    /// All rows of a row group, of these columns if there are any, as one batch.
    pub(super) fn group_columns(
        &self,
        group: usize,
        names: Option<&[&str]>,
    ) -> Result<RecordBatch> {
        let rows = self.groups().get(group).map_or(0, RowGroupMetaData::num_rows);
        let rows = usize::try_from(rows).unwrap_or(0).max(1);
        self.read(|builder| {
            let mask = names.map_or_else(ProjectionMask::all, |names| {
                ProjectionMask::columns(builder.parquet_schema(), names.iter().copied())
            });
            let builder = builder.with_projection(mask);
            let mut batches = builder.with_row_groups(vec![group]).with_batch_size(rows).build()?;
            batches.next().transpose()?.ok_or(Malformed::Corrupt)
        })
    }

    /// Compares every chunk with its checksum.
    pub(in crate::journal) fn check(&self) -> Result<()> {
        self.chunks.iter().try_for_each(|chunk| load(&self.source, chunk).map(drop))
    }
}

fn decode(footer: &[u8]) -> Result<(Arc<ParquetMetaData>, FxHashMap<String, String>)> {
    let metadata = ParquetMetaDataReader::decode_metadata(footer)?;
    let keys = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let keys =
        keys.filter_map(|KeyValue { key, value }| Some((key.clone(), value.clone()?))).collect();
    Ok((Arc::new(metadata), keys))
}

/// Compares a footer with the checksum that it has of itself.
fn check_footer(footer: &[u8], keys: &FxHashMap<String, String>) -> Result<()> {
    let sum = keys.get(FOOTER_SUM_KEY).ok_or(Malformed::Foreign)?;
    let find = |needle: &[u8]| footer.windows(needle.len()).position(|window| window == needle);
    let place = find(FOOTER_SUM_KEY.as_bytes()).and_then(|key| {
        let after = key + FOOTER_SUM_KEY.len();
        let found = footer[after..].windows(sum.len()).position(|w| w == sum.as_bytes())?;
        Some(after + found)
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

/// Everything that has a checksum, by where it starts.
fn chunks(groups: &[RowGroupMetaData], sums: &str, end: u64) -> Result<Vec<Chunk>> {
    let mut sums = sums.as_bytes().chunks_exact(8);
    let mut chunks = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        if !(0..=MAX_GROUP_ROWS).contains(&group.num_rows()) {
            return Err(Malformed::TooLarge("a row group of more rows"));
        }
        let columns = group.columns().len();
        for (at, (start, length)) in chunk_ranges(group).into_iter().enumerate() {
            let size = length as u64;
            if size > MAX_CHUNK {
                return Err(Malformed::TooLarge("a column of more bytes"));
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

/// A chunk, if it is as it was written, and no larger than any of netmon's when it is decompressed.
fn load(source: &FileBytes, chunk: &Chunk) -> Result<Bytes> {
    let bytes = source.read(chunk.start, chunk.length)?;
    if crc32fast::hash(&bytes) != chunk.sum {
        return Err(Malformed::Checksum(chunk.name.clone()));
    }
    if chunk.is_data && page_sizes::decompressed(&bytes)? > MAX_DECOMPRESSED {
        return Err(Malformed::TooLarge("pages of more bytes"));
    }
    Ok(bytes)
}

/// Gives the parquet crate the bytes of chunks, each checked as a whole when any of it is asked
/// for.
#[derive(Clone)]
pub(super) struct CheckedChunks {
    source: Arc<FileBytes>,
    chunks: Arc<[Chunk]>,
    /// Chunks that were read, by where they start: pages are asked for one after the other.
    read: Arc<Mutex<FxHashMap<u64, Bytes>>>,
    /// Why a chunk could not be given.
    failed: Arc<Mutex<Option<Malformed>>>,
}

impl CheckedChunks {
    /// The rest of the chunk in which `start` lies, from there.
    fn rest(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let outside = || ParquetError::General("it asks for bytes outside its columns".to_owned());
        let next = self.chunks.partition_point(|chunk| chunk.start <= start);
        let chunk = next.checked_sub(1).and_then(|at| self.chunks.get(at)).ok_or_else(outside)?;
        let offset = usize::try_from(start - chunk.start).map_err(|_| outside())?;
        if offset > chunk.length {
            return Err(outside());
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match read.get(&chunk.start) {
            Some(bytes) => bytes.clone(),
            None => {
                let bytes = load(&self.source, chunk).map_err(|error| {
                    let text = error.to_string();
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    ParquetError::General(text)
                })?;
                read.insert(chunk.start, bytes.clone());
                bytes
            }
        };
        Ok(bytes.slice(offset..))
    }
}

impl Length for CheckedChunks {
    fn len(&self) -> u64 {
        self.source.len().unwrap_or(0)
    }
}

impl ChunkReader for CheckedChunks {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.rest(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let rest = self.rest(start)?;
        if rest.len() < length {
            return Err(ParquetError::EOF("a page ends outside its column".to_owned()));
        }
        Ok(rest.slice(..length))
    }
}

/// Returns whether a file is of the dataset that its place says.
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
