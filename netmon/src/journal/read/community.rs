//! Community IDs: the names that flows have in the logs of Zeek and Suricata.

use std::net::{IpAddr, SocketAddr};

use arrow_array::{Array, Int32Array, RecordBatch, StringArray};
use community_id::calculate_community_id;

use crate::{
    core::id::Tuple,
    journal::{
        error::Result,
        schema::column::{TextReader, column},
    },
};

/// The name of the column that an export adds.
pub(super) const COLUMN: &str = "community_id";

/// Returns the ID of each row of a batch of connections.
pub(super) fn ids(batch: &RecordBatch) -> Result<StringArray> {
    let place = |address, port| -> Result<_> {
        let addresses = TextReader::<IpAddr>::new(batch, address, |text| text.parse().ok())?;
        let ports: Int32Array = column(batch, port)?;
        Ok(move |row| {
            let port = ports.is_valid(row).then(|| ports.value(row))?;
            Some(SocketAddr::new(*addresses.get(row)?, port.try_into().ok()?))
        })
    };
    let local = place("local_addr", "local_port")?;
    let remote = place("remote_addr", "remote_port")?;
    Ok((0..batch.num_rows()).map(|row| id_of(local(row)?, remote(row)?)).collect())
}

/// Returns the ID of a flow.
#[must_use]
pub(crate) fn community_id(tuple: &Tuple) -> Option<String> {
    id_of(tuple.local, tuple.remote)
}

/// Returns the ID of version 1 with the seed 0; none if the ends have different address families.
fn id_of(local: SocketAddr, remote: SocketAddr) -> Option<String> {
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
