//! Copies of a journal, shifted in time. From a journal of minutes `cargo xtask bench past` makes a
//! journal of a month.
//!
//! Columns that contain a time are written anew. The bytes of all other columns are copied.

use std::{
    io::{self, Read, Write},
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::{self, available_parallelism},
};

use bytes::Bytes;
use parquet::{
    basic::LogicalType,
    bloom_filter::Sbbf,
    column::{reader::ColumnReader, writer::ColumnCloseResult},
    data_type::{ByteArray, ByteArrayType, Int64Type},
    file::{
        metadata::{ColumnChunkMetaData, KeyValue},
        properties::ReaderProperties,
        reader::{FileReader, RowGroupReader},
        serialized_reader::{ReadOptionsBuilder, SerializedFileReader},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::TypePtr,
};

use super::parquet::finish;
use crate::{
    core::time::Wall,
    journal::{
        dir::Dir,
        error::{Malformed, Result},
        layout::{FileKind, HostDir},
        read::{Journal, file, footer_sum_of},
        schema::{
            CHECKSUMS_KEY, CLOCK_OFFSET_KEY, Dataset, FOLLOWS_KEY, FOOTER_SUM_KEY, PREVIOUS_KEY,
            writer_properties,
        },
    },
};

/// The length of a day, µs.
const DAY: i64 = 86_400_000_000;
/// The number of digits of a boot id that differ in each copy.
const DIGITS: usize = 8;

impl Journal {
    /// Copies the segments that are done into the directory `to`, once for each of `days` days
    /// before. Every copy has its own boot id. Returns the number of files of the copies.
    ///
    /// # Errors
    /// Returns an error when a file cannot be read, was changed, or cannot be written.
    pub fn shift(&self, to: &Path, days: u16) -> Result<u64> {
        let dir = Arc::new(Dir::create(to)?);
        let mut files = 0;
        for host in self.hosts() {
            let target = HostDir::new(Arc::clone(&dir), host.name());
            let mut copies: Vec<_> = (1..=i64::from(days)).map(Copy::new).collect();
            for segment in host.segments.iter().filter(|segment| segment.closed) {
                for dataset in Dataset::ALL {
                    let source = match ShiftSource::read(&host.host, segment.start, dataset) {
                        Err(Malformed::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                            continue;
                        }
                        source => source?,
                    };
                    copy_all(&mut copies, &target, &source)?;
                    host.host.files_read.fetch_add(1, Ordering::Relaxed);
                    files += u64::from(days);
                }
            }
        }
        Ok(files)
    }
}

/// Writes a file of each copy, on all cores.
fn copy_all(copies: &mut [Copy], target: &HostDir, source: &ShiftSource) -> Result<()> {
    let threads = available_parallelism().map_or(1, usize::from);
    let each = copies.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let parts = copies.chunks_mut(each).map(|part| {
            scope.spawn(move || part.iter_mut().try_for_each(|copy| copy.write(target, source)))
        });
        let threads: Vec<_> = parts.collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(written) => written,
            Err(_) => Err(Malformed::Corrupt),
        })
    })
}

/// A file that is copied.
struct ShiftSource {
    dataset: Dataset,
    /// The start of its segment.
    start: Wall,
    bytes: Bytes,
    schema: TypePtr,
    groups: Vec<Vec<ShiftColumn>>,
    keys: Vec<KeyValue>,
}

/// A column chunk.
enum ShiftColumn {
    /// A column without times or boot ids.
    Same(Box<ColumnChunkMetaData>, Option<Sbbf>),
    /// Moments, or offsets of wall time to the monotonic clock, µs; and the definition levels,
    /// which mark the rows that have a value.
    Times(Vec<i64>, Vec<i16>),
    /// A boot id for every row.
    Boots(Vec<ByteArray>),
}

impl ShiftSource {
    fn read(host: &HostDir, start: Wall, dataset: Dataset) -> Result<Self> {
        file(host, start, dataset)?.check()?;
        let mut bytes = Vec::new();
        host.dir.read(&host.path(dataset, start, FileKind::Parquet))?.read_to_end(&mut bytes)?;
        let bytes = Bytes::from(bytes);
        let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
        let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
        let reader = SerializedFileReader::new_with_options(bytes.clone(), options)?;
        let metadata = reader.metadata().file_metadata();
        let schema = metadata.schema_descr().root_schema_ptr();
        let keys = metadata.key_value_metadata().cloned().unwrap_or_default();
        let mut groups = Vec::new();
        for number in 0..reader.num_row_groups() {
            let group = reader.get_row_group(number)?;
            let columns = 0..group.num_columns();
            groups.push(columns.map(|column| read(&*group, column)).collect::<Result<_>>()?);
        }
        Ok(Self { dataset, start, bytes, schema, groups, keys })
    }
}

fn read(group: &dyn RowGroupReader, number: usize) -> Result<ShiftColumn> {
    let metadata = group.metadata().column(number);
    let name = metadata.column_path().string();
    let is_time =
        matches!(metadata.column_descr().logical_type_ref(), Some(LogicalType::Timestamp(_)));
    if !is_time && name != "clock_offset" && name != "boot_id" {
        return Ok(ShiftColumn::Same(
            Box::new(metadata.clone()),
            group.get_column_bloom_filter(number).cloned(),
        ));
    }
    let rows = usize::try_from(metadata.num_values()).map_err(|_| Malformed::Corrupt)?;
    let is_optional = metadata.column_descr().max_def_level() > 0;
    let mut levels = Vec::new();
    let mut row_levels = is_optional.then_some(&mut levels);
    match group.get_column_reader(number)? {
        ColumnReader::Int64ColumnReader(mut reader) => {
            let (mut values, mut read) = (Vec::new(), 0);
            while read < rows {
                let left = rows - read;
                match reader.read_records(left, row_levels.as_deref_mut(), None, &mut values)? {
                    (0, ..) => return Err(Malformed::Corrupt),
                    (more, ..) => read += more,
                }
            }
            Ok(ShiftColumn::Times(values, levels))
        }
        ColumnReader::ByteArrayColumnReader(mut reader) if !is_optional => {
            let mut values = Vec::new();
            while values.len() < rows {
                let left = rows - values.len();
                if reader.read_records(left, None, None, &mut values)?.0 == 0 {
                    return Err(Malformed::Corrupt);
                }
            }
            Ok(ShiftColumn::Boots(values))
        }
        _ => Err(Malformed::Column("time")),
    }
}

/// A copy of a journal, `days` days before the original.
struct Copy {
    days: i64,
    /// The checksum of the footer of the last events file that was written.
    footer_sum: String,
}

impl Copy {
    fn new(days: i64) -> Self {
        Self { days, footer_sum: String::new() }
    }

    fn write(&mut self, target: &HostDir, source: &ShiftSource) -> Result<()> {
        let dataset = source.dataset;
        let start = Wall::from_nanos(self.moved(source.start.as_nanos()));
        target.dir.make_dirs(&target.partition(dataset, start))?;
        let file = target.dir.create_new(&target.path(dataset, start, FileKind::Parquet))?;
        let properties = Arc::new(writer_properties(dataset)?);
        let schema = Arc::clone(&source.schema);
        let mut writer = SerializedFileWriter::new(&file, schema, properties)?;
        for columns in &source.groups {
            let mut group = writer.next_row_group()?;
            for column in columns {
                self.put(&mut group, column, &source.bytes)?;
            }
            group.close()?;
        }
        let own = [CHECKSUMS_KEY, FOOTER_SUM_KEY];
        let keys = source.keys.iter().filter(|entry| !own.contains(&&*entry.key));
        let keys: Vec<_> = keys
            .map(|KeyValue { key, value }| (&**key, self.value(key, value.as_deref())))
            .collect();
        finish(&file, writer, &keys)?;
        if dataset == Dataset::Events {
            self.footer_sum = footer_sum_of(&file)?;
        }
        Ok(())
    }

    fn put<W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, W>,
        column: &ShiftColumn,
        bytes: &Bytes,
    ) -> Result<()> {
        if let ShiftColumn::Same(metadata, bloom_filter) = column {
            let close = ColumnCloseResult {
                bytes_written: metadata.compressed_size().cast_unsigned(),
                rows_written: metadata.num_values().cast_unsigned(),
                metadata: ColumnChunkMetaData::clone(metadata),
                bloom_filter: bloom_filter.clone(),
                column_index: None,
                offset_index: None,
            };
            return Ok(group.append_column(bytes, close)?);
        }
        let mut writer = group.next_column()?.ok_or(Malformed::Corrupt)?;
        match column {
            ShiftColumn::Same(..) => {}
            ShiftColumn::Times(times, levels) => {
                let times: Vec<_> = times.iter().map(|time| time - self.days * DAY).collect();
                let levels = Some(&**levels).filter(|levels| !levels.is_empty());
                writer.typed::<Int64Type>().write_batch(&times, levels, None)?;
            }
            ShiftColumn::Boots(boots) => {
                let boots: Vec<_> = boots.iter().map(|boot| self.boot(boot)).collect();
                writer.typed::<ByteArrayType>().write_batch(&boots, None, None)?;
            }
        }
        Ok(writer.close()?)
    }

    /// Returns the boot id with which the copy replaces another boot id.
    fn boot(&self, boot: &ByteArray) -> ByteArray {
        let mut bytes = boot.data().to_vec();
        let digits = format!("{:0DIGITS$x}", self.days);
        if let Some(first) = bytes.get_mut(..DIGITS) {
            first.copy_from_slice(digits.as_bytes());
        }
        bytes.into()
    }

    /// Returns the value of a key of the copy's metadata.
    fn value(&self, key: &str, value: Option<&str>) -> String {
        let value = value.unwrap_or_default();
        let moved = |time: &str| time.parse().map(|time| self.moved(time).to_string());
        match key {
            CLOCK_OFFSET_KEY | FOLLOWS_KEY => moved(value).unwrap_or_else(|_| value.to_owned()),
            PREVIOUS_KEY => value
                .split_once(' ')
                .and_then(|(start, _)| Some(format!("{} {}", moved(start).ok()?, self.footer_sum)))
                .unwrap_or_default(),
            _ => value.to_owned(),
        }
    }

    /// Returns the nanoseconds of a moment that is `nanos`, some days earlier.
    fn moved(&self, nanos: i64) -> i64 {
        nanos - self.days * DAY * 1_000
    }
}
