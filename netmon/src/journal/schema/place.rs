//! The identity and the place of a connection: its socket, the time when it opened, its namespace
//! and both ends.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use arrow_array::{
    Array, BooleanArray, DictionaryArray, Int8Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
    cast::AsArray,
    types::{Int8Type, Int32Type, Int64Type, TimestampMicrosecondType},
};

use super::{
    NumberNames,
    column::{
        BatchColumns, Flags, Numbers, OptionalFlags, TextReader, Texts, column, get, names_of,
    },
    moment::MomentReader,
};
use crate::{
    core::{
        connection::Connection,
        id::{Binding, ConnectionId, SocketId, Tuple},
        socket::Protocol,
        tcp::TcpState,
        time::Wall,
    },
    journal::error::{Malformed, Result},
};

/// Builds the columns `cookie`, `opened`, `first_sight`, `netns`, `netns_name`, those of the
/// device, `proto`, `family`, and those of both ends.
pub(super) struct PlaceBuilder {
    cookie: Numbers<Int64Type>,
    opened: Numbers<TimestampMicrosecondType>,
    first_sight: Flags,
    netns: Numbers<Int64Type>,
    interface: Numbers<Int64Type>,
    device: Texts<String>,
    v6only: OptionalFlags,
    local_addr: Texts<u128>,
    local_port: Numbers<Int32Type>,
    remote_addr: Texts<u128>,
    remote_port: Numbers<Int32Type>,
}

/// Returns an address as a number, which is faster to hash. An IPv4 address becomes a mapped
/// address; no other address here is mapped.
#[inline]
fn as_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn as_text(number: &u128) -> String {
    Ipv6Addr::from_bits(*number).to_canonical().to_string()
}

/// Returns the protocols of the rows with an address: a journal has TCP.
fn proto(addresses: &DictionaryArray<Int32Type>) -> DictionaryArray<Int8Type> {
    let keys = addresses.keys().iter().map(|key| key.map(|_| 0)).collect();
    words_of(keys, &[Protocol::Tcp.name()])
}

/// Returns the families of addresses. No text of an IPv4 address has a colon.
fn family(addresses: &DictionaryArray<Int32Type>) -> DictionaryArray<Int8Type> {
    let texts = addresses.values().as_string::<i32>();
    let families: Vec<i8> =
        texts.iter().map(|text| i8::from(text.is_some_and(|text| text.contains(':')))).collect();
    let keys = addresses.keys().iter();
    let keys = keys.map(|key| Some(families[usize::try_from(key?).ok()?])).collect();
    words_of(keys, &["ipv4", "ipv6"])
}

fn words_of(keys: Int8Array, words: &[&str]) -> DictionaryArray<Int8Type> {
    DictionaryArray::new(keys, Arc::new(StringArray::from_iter_values(words)))
}

impl PlaceBuilder {
    pub(super) fn new() -> Self {
        Self {
            cookie: Numbers::default(),
            opened: Numbers::default(),
            first_sight: Flags::default(),
            netns: Numbers::default(),
            interface: Numbers::default(),
            device: Texts::new(),
            v6only: OptionalFlags::default(),
            local_addr: Texts::new(),
            local_port: Numbers::default(),
            remote_addr: Texts::new(),
            remote_port: Numbers::default(),
        }
    }

    /// Puts a connection, at the place that the change had.
    #[inline]
    pub(super) fn put(&mut self, row: usize, connection: &Connection, tuple: &Tuple) {
        let port = |port: u16| Some(i32::from(port)).filter(|port| *port != 0);
        let Tuple { netns, interface, local, remote } = tuple;
        self.cookie.put(row, Some(connection.id.cookie.get().cast_signed()));
        self.opened.put(row, Some(connection.opened.as_micros()));
        self.first_sight.put(row, connection.first_sight);
        self.netns.put(row, Some((*netns).into()));
        self.interface.put(row, Some((*interface).into()).filter(|interface| *interface != 0));
        let Binding { device, v6only } = &connection.binding;
        // A row may have moved to another device since this change.
        if let Some(device) = device
            && *interface == connection.tuple.interface
        {
            self.device.put(row, &**device, str::to_owned);
        }
        self.v6only.put(row, *v6only);
        self.local_addr.put(row, &as_number(local.ip()), as_text);
        self.local_port.put(row, port(local.port()));
        self.remote_addr.put(row, &as_number(remote.ip()), as_text);
        self.remote_port.put(row, port(remote.port()));
    }

    pub(super) fn finish(
        &mut self,
        rows: usize,
        names: &mut dyn NumberNames,
        to: &mut BatchColumns,
    ) {
        let netns = self.netns.finish(rows);
        let netns_name = names_of(&netns, |inum| names.netns(inum.try_into().ok()?));
        let local_addr = self.local_addr.finish(rows);
        to.some("cookie", self.cookie.finish(rows));
        to.times("opened", self.opened.finish(rows), true);
        to.always("first_sight", self.first_sight.finish(rows));
        to.some("netns", netns);
        to.some("netns_name", netns_name);
        to.some("interface", self.interface.finish(rows));
        to.some("device", self.device.finish(rows));
        to.some("v6only", self.v6only.finish(rows));
        to.some("proto", proto(&local_addr));
        to.some("family", family(&local_addr));
        to.some("local_addr", local_addr);
        to.some("local_port", self.local_port.finish(rows));
        to.some("remote_addr", self.remote_addr.finish(rows));
        to.some("remote_port", self.remote_port.finish(rows));
    }
}

/// Reads the columns that [`PlaceBuilder`] wrote.
pub(in crate::journal) struct PlaceReader {
    cookie: Int64Array,
    opened: TimestampMicrosecondArray,
    first_sight: BooleanArray,
    netns: Int64Array,
    interface: Int64Array,
    device: TextReader<Arc<str>>,
    v6only: BooleanArray,
    pub(super) netns_name: TextReader<Arc<str>>,
    local_addr: TextReader<IpAddr>,
    local_port: Int32Array,
    remote_addr: TextReader<IpAddr>,
    remote_port: Int32Array,
}

impl PlaceReader {
    pub(in crate::journal) fn new(batch: &RecordBatch) -> Result<Self> {
        let address = |text: &str| text.parse().ok();
        Ok(Self {
            cookie: column(batch, "cookie")?,
            opened: column(batch, "opened")?,
            first_sight: column(batch, "first_sight")?,
            netns: column(batch, "netns")?,
            interface: column(batch, "interface")?,
            device: TextReader::new(batch, "device", |text| Some(Arc::from(text)))?,
            v6only: column(batch, "v6only")?,
            netns_name: TextReader::new(batch, "netns_name", |text| Some(Arc::from(text)))?,
            local_addr: TextReader::new(batch, "local_addr", address)?,
            local_port: column(batch, "local_port")?,
            remote_addr: TextReader::new(batch, "remote_addr", address)?,
            remote_port: column(batch, "remote_port")?,
        })
    }

    /// Returns the socket of a row, if the row is about a socket.
    #[inline]
    pub(in crate::journal) fn cookie(&self, row: usize) -> Option<SocketId> {
        SocketId::new(get(&self.cookie, row)?.cast_unsigned())
    }

    fn tuple(&self, row: usize) -> Option<Tuple> {
        let end = |address: &TextReader<IpAddr>, port: &Int32Array| {
            let port = get(port, row).map_or(Some(0), |port| u16::try_from(port).ok())?;
            Some(SocketAddr::new(*address.get(row)?, port))
        };
        Some(Tuple {
            netns: get(&self.netns, row)?.try_into().ok()?,
            interface: get(&self.interface, row).unwrap_or(0).try_into().ok()?,
            local: end(&self.local_addr, &self.local_port)?,
            remote: end(&self.remote_addr, &self.remote_port)?,
        })
    }

    /// Returns the connection of a row, with no more than its identity, its place and its state.
    pub(super) fn get(
        &self,
        row: usize,
        moments: &MomentReader,
        state: TcpState,
    ) -> Result<Connection> {
        let cookie = self.cookie(row).ok_or(Malformed::Column("cookie"))?;
        let tuple = self.tuple(row).ok_or(Malformed::Column("local_addr"))?;
        let opened = get(&self.opened, row).ok_or(Malformed::Column("opened"))?;
        let opened = Wall::from_micros(opened);
        let id = ConnectionId { cookie, epoch: moments.monotonic(row, opened) };
        let mut connection = Connection::new(id, tuple, state);
        connection.opened = opened;
        connection.binding = Binding {
            device: self.device.get(row).cloned(),
            v6only: self.v6only.is_valid(row).then(|| self.v6only.value(row)),
        };
        connection.first_sight = self.first_sight.value(row);
        Ok(connection)
    }
}
