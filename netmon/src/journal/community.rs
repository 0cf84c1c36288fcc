//! Community IDs: the names that flows have in the logs of Zeek and Suricata.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arrow_array::{Array, RecordBatch, StringArray, UInt16Array};
use community_id::calculate_community_id;

use super::{
    arrays::{Texts, column},
    decode::Malformed,
};

const COLUMN: &str = "community_id";

/// The batch of connections with the IDs of those that have none yet.
pub(super) fn named(batch: &RecordBatch) -> Result<RecordBatch, Malformed> {
    let known: &StringArray = column(batch, COLUMN)?;
    if known.null_count() == 0 {
        return Ok(batch.clone());
    }
    let place = |address, port| -> Result<_, Malformed> {
        let addresses = Texts::<IpAddr>::new(batch, address, |text| text.parse().ok())?;
        let ports: &UInt16Array = column(batch, port)?;
        Ok(move |row| {
            Some(SocketAddr::new(
                *addresses.get(row)?,
                ports.is_valid(row).then(|| ports.value(row))?,
            ))
        })
    };
    let local = place("local_addr", "local_port")?;
    let remote = place("remote_addr", "remote_port")?;
    let ids = (0..batch.num_rows()).map(|row| match known.is_valid(row) {
        true => Some(known.value(row).to_owned()),
        false => community_id(local(row)?, remote(row)?),
    });
    let ids: StringArray = ids.collect();
    let mut columns = batch.columns().to_vec();
    let at = batch.schema().index_of(COLUMN)?;
    columns[at] = Arc::new(ids);
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// Version 1, seed 0. None where the ends are of two families.
fn community_id(local: SocketAddr, remote: SocketAddr) -> Option<String> {
    let (ports, tcp) = ((Some(local.port()), Some(remote.port())), libc::IPPROTO_TCP);
    calculate_community_id(
        0,
        local.ip(),
        remote.ip(),
        ports.0,
        ports.1,
        tcp.try_into().ok()?,
        false,
    )
    .ok()
}
