//! How each column is encoded in Parquet.

use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
    schema::types::ColumnPath,
};

use super::Dataset;
use crate::journal::error::Malformed;

/// zstd's level: a twentieth less than with 3, in no more time, as little of it is zstd's.
const LEVEL: i32 = 9;
/// Columns whose values lie close to those before.
const NEAR: [&str; 8] =
    ["time", "tie", "opened", "since", "cookie", "rtt_us", "gap_from", "process_started"];
/// Columns of connections that are asked for by value: a row group says which values it has not.
const ASKED: [&str; 7] =
    ["local_addr", "local_port", "remote_addr", "remote_port", "pid", "comm", "cookie"];
/// Columns that lie close to those before where rows are sorted by socket.
const PORTS: [&str; 2] = ["local_port", "remote_port"];

/// How a dataset is written.
pub(in crate::journal) fn writer_properties(
    dataset: Dataset,
) -> Result<WriterProperties, Malformed> {
    let mut properties = WriterProperties::builder()
        // Pages of version 2 leave uncompressed which values are null: a byte for each event here.
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        // A row group ends where sorting ends, and nowhere else.
        .set_max_row_group_row_count(None);
    let ports = PORTS.into_iter().filter(|_| dataset != Dataset::Checkpoints);
    for name in NEAR.into_iter().chain(ports) {
        let column = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for name in ASKED.into_iter().filter(|_| dataset == Dataset::Connections) {
        properties = properties.set_column_bloom_filter_enabled(ColumnPath::from(name), true);
    }
    Ok(properties.build())
}
