//! The encoding of each column in Parquet.

use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
    schema::types::ColumnPath,
};

use super::Dataset;
use crate::journal::error::Malformed;

/// The level of zstd. Files are a twentieth smaller than with level 3, and take no more time: zstd
/// has only a small share of the time.
const LEVEL: i32 = 9;
/// Columns whose values are close to the values in the rows before.
const NEAR: [&str; 7] = ["time", "tie", "opened", "since", "cookie", "rtt_us", "gap_from"];
/// Columns of connections that filters test for a value. Such columns get Bloom filters, by which a
/// reader skips row groups without the value.
const ASKED: [&str; 15] = [
    "local_addr",
    "local_port",
    "remote_addr",
    "remote_port",
    "pid",
    "comm",
    "exe",
    "holder_pid",
    "holder_comm",
    "holder_exe",
    "unit",
    "container",
    "container_id",
    "pod",
    "cookie",
];
/// Columns whose values are close to the values in the rows before, if rows are sorted by socket.
const PORTS: [&str; 2] = ["local_port", "remote_port"];

/// Returns the settings with which a dataset is written.
pub(in crate::journal) fn writer_properties(
    dataset: Dataset,
) -> Result<WriterProperties, Malformed> {
    let mut properties = WriterProperties::builder()
        // Pages of version 2 do not compress the levels that mark nulls: a byte for each event
        // here.
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        // A row group ends only where sorting ends.
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
