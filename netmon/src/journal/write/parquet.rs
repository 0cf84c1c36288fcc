//! Segments that are done: Parquet files, sorted so that they are small, with checksums of all
//! their contents.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    sync::Arc,
};

use arrow_array::{Array, Int32Array, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::{concat::concat_batches, take::take_record_batch};
use parquet::{
    arrow::ArrowWriter,
    file::{
        metadata::{KeyValue, RowGroupMetaData},
        writer::SerializedFileWriter,
    },
};

use crate::{
    core::{connection::Direction, id::SocketId, table::cookie_map::CookieMap, time::Wall},
    journal::{
        error::Malformed,
        layout::{FileKind, HostDir},
        read::{IpcReader, chunk_ranges, footer_of, footer_sum},
        schema::{
            CHECKSUMS_KEY, Dataset, FOOTER_SUM_KEY, PREVIOUS_KEY, TAKEN_OVER, VERSION, VERSION_KEY,
            column::{WordReader, column},
            writer_properties,
        },
    },
};

/// The rows of a row group, which are sorted together and read together. Rows of two groups are
/// never sorted together: a reader orders each group by itself.
const ROW_GROUP: usize = 128 << 10;
/// The digits of a footer's checksum (SHA-256). All digits are zeros while the footer is summed.
const FOOTER_SUM_DIGITS: usize = 64;

/// A segment that was turned into Parquet.
pub(super) struct Sealed {
    /// The number of events in the segment.
    pub(super) events: usize,
    /// The streams were not ended in order.
    pub(super) torn: bool,
    /// A part of the streams was changed after it was written.
    pub(super) damaged: bool,
}

/// Turns a segment that no recorder writes any more into Parquet, and removes its streams. A stream
/// that could be read only in part is kept under another name.
pub(super) fn seal_segment(
    host: &HostDir,
    start: Wall,
    previous: Option<&str>,
) -> Result<Sealed, Malformed> {
    let mut sealed = Sealed { events: 0, torn: false, damaged: false };
    // The recorder was killed before it had written the beginning. A segment exists only with its
    // events.
    match IpcReader::open(host, Dataset::Events, start) {
        Err(error) if error.is_cut_short() => {
            host.remove_streams(start)?;
            return Ok(Sealed { torn: true, ..sealed });
        }
        Err(Malformed::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            host.remove_streams(start)?;
            return Err(error.into());
        }
        _ => {}
    }
    for dataset in Dataset::ALL {
        let stream = host.path(dataset, start, FileKind::Stream);
        if !host.dir.has(&stream) {
            continue;
        }
        let mut batches = match IpcReader::open(host, dataset, start) {
            Ok(batches) => batches,
            Err(error) if error.is_cut_short() => {
                sealed.torn = true;
                continue;
            }
            // A stream that cannot be read may still be of use to another program, and stays.
            Err(error) => return Err(error),
        };
        let partial = host.path(dataset, start, FileKind::Partial);
        host.dir.remove(&partial)?;
        let file = host.dir.create_new(&partial)?;
        let mut metadata = vec![
            // Other programs do not read the Arrow schema, which has the version as well.
            (VERSION_KEY, VERSION.to_owned()),
            ("netmon.host", host.host().to_string()),
            (PREVIOUS_KEY, previous.unwrap_or_default().to_owned()),
        ];
        for key in TAKEN_OVER {
            metadata.extend(batches.key(key).map(|value| (key, value.to_owned())));
        }
        let rows = write(&file, dataset, &metadata, &mut batches)?;
        sealed.torn |= batches.torn;
        sealed.damaged |= batches.damaged;
        if dataset == Dataset::Events {
            sealed.events = rows;
        }
        let partition = host.partition(dataset, start);
        host.dir.make_dirs(&partition)?;
        host.dir.rename(&partial, &host.path(dataset, start, FileKind::Parquet))?;
        host.dir.sync(&partition)?;
        if batches.damaged {
            host.dir.rename(&stream, &host.path(dataset, start, FileKind::Damaged))?;
        }
    }
    host.remove_streams(start)?;
    Ok(sealed)
}

/// Writes the rows of a dataset. Returns the number of rows.
fn write(
    file: &File,
    dataset: Dataset,
    metadata: &[(&str, String)],
    batches: &mut impl Iterator<Item = Result<RecordBatch, Malformed>>,
) -> Result<usize, Malformed> {
    let schema = dataset.schema()?;
    let properties = writer_properties(dataset)?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let (mut group, mut rows, mut all) = (Vec::new(), 0, 0);
    loop {
        let batch = match batches.next() {
            // The reader has reported the damaged part, and the rest is worth keeping.
            Some(Err(error)) if error.is_of_the_system() => return Err(error),
            Some(Err(_)) => continue,
            Some(Ok(batch)) => Some(batch),
            None => None,
        };
        let is_end = batch.is_none();
        if let Some(batch) = batch {
            rows += batch.num_rows();
            group.push(batch);
        }
        while rows >= ROW_GROUP || is_end && rows > 0 {
            let together = take_rows(&schema, &mut group, ROW_GROUP)?;
            rows -= together.num_rows();
            all += together.num_rows();
            writer.write(&sorted(dataset, &together)?)?;
            writer.flush()?;
        }
        if is_end {
            break;
        }
    }
    let (writer, _) = writer.into_serialized_writer()?;
    finish(file, writer, metadata)?;
    file.sync_all()?;
    Ok(all)
}

/// Ends a file whose row groups are written: adds the metadata, the checksums of all contents, and
/// the footer.
pub(in crate::journal) fn finish(
    file: &File,
    mut writer: SerializedFileWriter<&File>,
    metadata: &[(&str, String)],
) -> Result<(), Malformed> {
    for (key, value) in metadata {
        writer.append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
    }
    writer.flush()?;
    let checksums = checksums(file, writer.flushed_row_groups())?;
    writer.append_key_value_metadata(KeyValue::new(CHECKSUMS_KEY.to_owned(), checksums));
    let zeros = "0".repeat(FOOTER_SUM_DIGITS);
    writer.append_key_value_metadata(KeyValue::new(FOOTER_SUM_KEY.to_owned(), zeros.clone()));
    writer.close()?;
    seal_footer(file, &zeros)
}

/// Takes `most` rows from the front of `batches`, or all rows if there are fewer.
fn take_rows(
    schema: &SchemaRef,
    batches: &mut Vec<RecordBatch>,
    most: usize,
) -> Result<RecordBatch, Malformed> {
    let all = concat_batches(schema, &*batches)?;
    batches.clear();
    let rows = all.num_rows().min(most);
    if rows < all.num_rows() {
        batches.push(all.slice(rows, all.num_rows() - rows));
    }
    Ok(all.slice(0, rows))
}

/// Returns the CRC-32 of each column chunk and each Bloom filter in hexadecimal, in the order of
/// the file's metadata.
fn checksums(file: &File, groups: &[RowGroupMetaData]) -> Result<String, Malformed> {
    let mut text = String::new();
    for (start, length) in groups.iter().flat_map(chunk_ranges) {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, start)?;
        text.push_str(&format!("{:08x}", crc32fast::hash(&bytes)));
    }
    Ok(text)
}

/// Replaces the zeros in a footer by its checksum.
fn seal_footer(mut file: &File, zeros: &str) -> Result<(), Malformed> {
    file.flush()?;
    let (start, footer) = footer_of(file)?;
    let sum = footer_sum(&footer);
    let key = FOOTER_SUM_KEY.as_bytes();
    let place = |needle: &[u8], from: usize| {
        footer[from..].windows(needle.len()).position(|window| window == needle).map(|at| at + from)
    };
    let at = place(key, 0).and_then(|at| place(zeros.as_bytes(), at + key.len()));
    let at = at.ok_or(Malformed::Corrupt)?;
    Ok(file.write_all_at(sum.as_bytes(), start + at as u64)?)
}

/// Returns the rows sorted by cookie, and the rows of one cookie in the order of arrival.
/// Neighbouring rows are then alike.
///
/// Sockets that connected, or whose own port is the higher one, are sorted apart from the others,
/// because a host assigns its ports in order.
pub(in crate::journal) fn sorted(
    dataset: Dataset,
    batch: &RecordBatch,
) -> Result<RecordBatch, Malformed> {
    if matches!(dataset, Dataset::Processes | Dataset::Namespaces) {
        return Ok(batch.clone());
    }
    let cookies: Int64Array = column(batch, "cookie")?;
    let local: Int32Array = column(batch, "local_port")?;
    let remote: Int32Array = column(batch, "remote_port")?;
    let direction = WordReader::new(batch, "direction", &Direction::ALL, Direction::name)?;
    let mut clients: CookieMap<bool> = CookieMap::default();
    let rows = u32::try_from(batch.num_rows()).map_err(|_| Malformed::Column("cookie"))?;
    let mut order: Vec<_> = (0..rows)
        .map(|number| {
            let row = number as usize;
            let port = |ports: &Int32Array| ports.is_valid(row).then(|| ports.value(row));
            let cookie = cookies.is_valid(row).then(|| cookies.value(row).cast_unsigned());
            let cookie = cookie.and_then(SocketId::new);
            // All rows of a socket get the same answer, although a socket may connect again.
            // Otherwise the rows would not stay in order.
            let mut is_client = |cookie| {
                *clients.entry(cookie).or_insert_with(|| match direction.get(row) {
                    Some(direction) => direction == Direction::Outbound,
                    None => port(&local) > port(&remote),
                })
            };
            let is_client = dataset != Dataset::Checkpoints && cookie.is_some_and(&mut is_client);
            (is_client, cookie, number)
        })
        .collect();
    order.sort_unstable();
    let order = order.into_iter().map(|(.., row)| row).collect::<Vec<u32>>();
    Ok(take_record_batch(batch, &UInt32Array::from(order))?)
}
