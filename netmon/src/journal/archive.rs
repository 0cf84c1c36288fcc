//! Segments that are done: Parquet files, sorted so that they are small, with the times of each row
//! group, so that only those that matter are read.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use arrow_array::{Array, RecordBatch, UInt16Array, UInt32Array, UInt64Array};
use arrow_schema::SchemaRef;
use arrow_select::{concat::concat_batches, take::take_record_batch};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
    schema::types::ColumnPath,
};

use super::{
    arrays::{Words, column},
    batches::Batches,
    community,
    decode::Malformed,
    files::{Dataset, Home},
    stream::FILE_MODE,
};
use crate::core::{by_cookie::ByCookie, connection::Direction};

/// Rows of a row group: what is sorted together, and read together.
const ROW_GROUP: usize = 128 << 10;
/// zstd's level: a twentieth less than with 3, in no more time, as little of it is zstd's.
const LEVEL: i32 = 9;
/// Columns whose values lie close to those before.
const NEAR: [&str; 7] = ["time", "opened", "since", "cookie", "lifetime_us", "rtt_us", "from"];

/// Columns of connections that are asked for by value: a row group says what is not in it.
const ASKED: [&str; 4] = ["local_addr", "local_port", "remote_addr", "remote_port"];

/// Of what is sorted so, ports too.
const PORTS: [&str; 2] = ["local_port", "remote_port"];

pub(super) fn properties(dataset: Dataset) -> Result<WriterProperties, Malformed> {
    let mut properties = WriterProperties::builder()
        // Pages of version 2 leave uncompressed which values are null: a byte for each event here.
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP));
    let ports = PORTS.into_iter().filter(|_| dataset != Dataset::Checkpoints);
    for name in NEAR.into_iter().chain(ports) {
        let column = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for name in ASKED.into_iter().filter(|_| dataset == Dataset::Connections) {
        let column = ColumnPath::from(name);
        properties = properties.set_column_bloom_filter_enabled(column, true);
    }
    let community_id = ColumnPath::from("community_id");
    Ok(properties.set_column_dictionary_enabled(community_id, false).build())
}

/// Turns a segment that nobody writes any more into Parquet, and removes what it was; how many events it
/// has, and whether its end was torn.
pub(super) fn close(home: &Home, start: i64) -> Result<(usize, bool), Malformed> {
    let (live, closed) = (home.live(start), home.closed(start));
    let (mut events, mut torn) = (0, false);
    // The program was ended before it had written the beginning: with its events a segment is there.
    if Batches::open(&live.path(Dataset::Events)).is_err_and(|error| error.is_cut_short()) {
        live.remove()?;
        return Ok((0, true));
    }
    for dataset in Dataset::ALL {
        let (from, to) = (live.path(dataset), closed.path(dataset));
        if !from.try_exists()? {
            continue;
        }
        let directory = to.parent().unwrap_or(&home.0);
        super::create_directory(directory)?;
        let partial = closed.partial(dataset);
        let mut batches = match Batches::open(&from) {
            Ok(batches) => batches,
            Err(error) if error.is_cut_short() => {
                torn = true;
                continue;
            }
            // What cannot be read may be worth something to somebody else.
            Err(error) => return Err(error),
        };
        let rows = write(&partial, dataset, &batches.schema(), &mut batches)?;
        torn |= batches.torn;
        if dataset == Dataset::Events {
            events = rows;
        }
        fs::rename(&partial, &to)?;
        File::open(directory)?.sync_all()?;
    }
    live.remove()?;
    Ok((events, torn))
}

fn write(
    path: &Path,
    dataset: Dataset,
    schema: &SchemaRef,
    batches: &mut impl Iterator<Item = Result<RecordBatch, Malformed>>,
) -> Result<usize, Malformed> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    let mut writer = ArrowWriter::try_new(&file, Arc::clone(schema), Some(properties(dataset)?))?;
    let (mut group, mut rows, mut all) = (Vec::new(), 0, 0);
    loop {
        let batch = batches.next().transpose()?;
        let is_end = batch.is_none();
        if let Some(batch) = batch {
            rows += batch.num_rows();
            group.push(batch);
        }
        if rows > 0 && (is_end || rows >= ROW_GROUP) {
            let mut batch = concat_batches(schema, &group)?;
            if dataset == Dataset::Connections {
                batch = community::named(&batch)?;
            }
            writer.write(&sorted(dataset, &batch)?)?;
            writer.flush()?;
            all += rows;
            group.clear();
            rows = 0;
        }
        if is_end {
            break;
        }
    }
    writer.close()?;
    file.sync_all()?;
    Ok(all)
}

/// Sockets whose rows are sorted together: beyond some thousand, copies are no longer found.
const NEIGHBOURS: u64 = 2048;

/// The rows by cookie, and those of one cookie in the order they came: neighbours are alike then.
///
/// Sockets that connected, or whose own port is the higher one, come apart from the others, as a host gives its ports in order: of
/// events, all of them; of connections, those of each two thousand sockets or so, since both ends of a connection of
/// this host have the same Community ID, and a copy that is near takes no room.
pub(super) fn sorted(dataset: Dataset, batch: &RecordBatch) -> Result<RecordBatch, Malformed> {
    let cookies: &UInt64Array = column(batch, "cookie")?;
    let local: &UInt16Array = column(batch, "local_port")?;
    let remote: &UInt16Array = column(batch, "remote_port")?;
    let direction = Words::new(batch, "direction", &Direction::ALL, Direction::name)?;
    let mut clients: ByCookie<bool> = ByCookie::default();
    let rows = u32::try_from(batch.num_rows()).map_err(|_| Malformed::Column("cookie"))?;
    let mut order: Vec<_> = (0..rows)
        .map(|number| {
            let row = number as usize;
            let port = |ports: &UInt16Array| ports.is_valid(row).then(|| ports.value(row));
            let cookie = cookies.is_valid(row).then(|| cookies.value(row));
            let group = match dataset {
                Dataset::Connections => cookie.map(|cookie| cookie / NEIGHBOURS),
                Dataset::Events | Dataset::Checkpoints => None,
            };
            // One answer for all rows of a socket, which may connect again: else they would not stay in order.
            let mut is_client = || {
                *clients.entry(cookie.unwrap_or(0)).or_insert_with(|| match direction.get(row) {
                    Some(direction) => direction == Direction::Outbound,
                    None => port(local) > port(remote),
                })
            };
            (group, dataset != Dataset::Checkpoints && is_client(), cookie, number)
        })
        .collect();
    order.sort_unstable();
    let order = order.into_iter().map(|(.., row)| row).collect::<Vec<u32>>();
    Ok(take_record_batch(batch, &UInt32Array::from(order))?)
}
