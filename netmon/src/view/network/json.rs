//! Routes, devices and counters as JSON Lines. `docs/netmon.schema.json` describes the fields.

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::IpAddr,
};

use super::NetworkView;
use crate::{
    core::{
        escape::EXACT,
        network::{Counter, Interface, InterfaceCounters, NetworkRow, Route, RowChange},
    },
    view::{
        listing::name_cache::NameCache,
        text::{json_object::JsonObject, output::Output},
    },
};

/// Writes rows as JSON Lines.
pub(crate) struct NetworkJson<W> {
    out: Output<W>,
    /// Names of network namespaces.
    namespaces: NameCache<u32>,
    time: String,
}

impl<W: Write> NetworkJson<W> {
    pub(crate) fn new(to: W, namespaces: NameCache<u32>) -> Self {
        Self { out: Output::new(to), namespaces, time: String::new() }
    }
}

impl<W: Write> NetworkView for NetworkJson<W> {
    fn begin(&mut self, time: jiff::Timestamp) {
        self.time = time.to_string();
    }

    fn row(&mut self, netns: u32, row: &NetworkRow, change: Option<&RowChange>) -> io::Result<()> {
        let kind = match row {
            NetworkRow::Route(_) => "route",
            NetworkRow::Interface(_) => "interface",
            NetworkRow::Counter(_) => "counter",
        };
        let head = format!("{{\"type\":\"{kind}\",\"time\":\"{}\"", self.time);
        let mut object = JsonObject::begin(self.out.line()?, &head);
        object.number(",\"netns\":", netns.into());
        object.name(",\"netns_name\":", self.namespaces.name(netns));
        if let Some(change) = change {
            object.word(",\"change\":\"", change.name());
        }
        match row {
            NetworkRow::Route(route) => put_route(&mut object, route),
            NetworkRow::Interface(interface) => put_interface(&mut object, interface),
            NetworkRow::Counter(counter) => put_counter(&mut object, counter),
        }
        if let Some(RowChange::Changed(increases)) = change {
            put_increases(&mut object, increases);
        }
        object.end();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn put_family(object: &mut JsonObject<'_>, address: IpAddr) {
    object.word(",\"family\":\"", if address.is_ipv4() { "ipv4" } else { "ipv6" });
}

fn put_address(object: &mut JsonObject<'_>, key: &'static str, address: Option<IpAddr>) {
    if let Some(address) = address {
        object.address(key, address);
    }
}

fn put_route(object: &mut JsonObject<'_>, route: &Route) {
    put_family(object, route.destination);
    object.address(",\"destination\":\"", route.destination);
    object.number(",\"prefix\":", route.prefix.into());
    object.word(",\"kind\":\"", route.kind);
    object.number(",\"table\":", route.table.into());
    object.word(",\"origin\":\"", route.origin);
    object.number(",\"metric\":", route.metric.into());
    put_address(object, ",\"source\":\"", route.source);
    object.raw(",\"hops\":[");
    for (place, hop) in route.hops.iter().enumerate() {
        object.raw(if place == 0 { "{" } else { ",{" });
        put_address(object, "\"gateway\":\"", hop.gateway);
        let key = if hop.gateway.is_some() { ",\"device\":" } else { "\"device\":" };
        object.name(key, hop.device.as_deref());
        object.raw("}");
    }
    object.raw("]");
    let known = |number: u32| Some(u64::from(number)).filter(|number| *number != 0);
    object.some(",\"advmss\":", known(route.advmss));
    object.some(",\"window\":", known(route.window));
    object.some(",\"rtt_ms\":", known(route.rtt));
}

fn put_interface(object: &mut JsonObject<'_>, interface: &Interface) {
    object.text(",\"device\":", interface.name.as_bytes());
    object.number(",\"interface\":", interface.index.into());
    object.word(",\"state\":\"", interface.state);
    object.number(",\"mtu\":", interface.mtu.into());
    object.number(",\"flags\":", interface.flags.into());
    if !interface.hardware.is_empty() {
        object.text(",\"hardware_addr\":", hardware(&interface.hardware).as_bytes());
    }
    object.raw(",\"addresses\":[");
    for (place, address) in interface.addresses.iter().enumerate() {
        object.address(if place == 0 { "{\"addr\":\"" } else { ",{\"addr\":\"" }, address.address);
        object.number(",\"prefix\":", address.prefix.into());
        put_address(object, ",\"peer\":\"", address.peer);
        put_address(object, ",\"broadcast\":\"", address.broadcast.map(IpAddr::from));
        object.raw("}");
    }
    object.raw("]");
    for (name, value) in InterfaceCounters::NAMES.into_iter().zip(interface.counters.0) {
        object.text(",", name.as_bytes());
        object.number(":", value);
    }
}

/// Returns the bytes of a hardware address in the usual form.
pub(super) fn hardware(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (place, byte) in bytes.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{}{byte:02x}", if place == 0 { "" } else { ":" });
    }
    text
}

fn put_counter(object: &mut JsonObject<'_>, counter: &Counter) {
    object.text(",\"protocol\":", counter.protocol.as_bytes());
    object.text(",\"name\":", counter.name.as_bytes());
    object.number(",\"value\":", counter.value);
}

fn put_increases(object: &mut JsonObject<'_>, increases: &[(String, i64)]) {
    object.raw(",\"increases\":{");
    for (place, (name, increase)) in increases.iter().enumerate() {
        object.text(if place == 0 { "" } else { "," }, name.as_bytes());
        match increase.unsigned_abs() {
            // As every number that readers would round, it is a string.
            fall if *increase < 0 && fall > EXACT => {
                object.text(":", format!("-{fall}").as_bytes());
            }
            fall if *increase < 0 => object.number(":-", fall),
            rise => object.number(":", rise),
        }
    }
    object.raw("}");
}
