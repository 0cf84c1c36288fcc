//! Routes, devices and counters as tables.

use std::io::{self, Write};

use super::{NetworkView, json::hardware};
use crate::{
    core::{
        escape::Escaped,
        network::{Counter, Interface, NetworkRow, Route, RowChange},
    },
    view::{
        listing::name_cache::NameCache,
        net_tools::{Form, sentence},
        text::{netns::Netns, output::Output, width::columns_of},
    },
};

/// Writes each listing as a table, whose columns are as wide as their contents.
pub(crate) struct NetworkText<W> {
    out: Output<W>,
    /// Names of network namespaces, and the own one.
    namespaces: NameCache<u32>,
    own_netns: Option<u32>,
    /// Rows have a column with the network namespace.
    has_netns: bool,
    time: jiff::Timestamp,
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// The listing has rows with changes.
    has_changes: bool,
}

impl<W: Write> NetworkText<W> {
    pub(crate) fn new(
        to: W,
        namespaces: NameCache<u32>,
        own_netns: Option<u32>,
        has_netns: bool,
    ) -> Self {
        Self {
            out: Output::new(to),
            namespaces,
            own_netns,
            has_netns,
            time: jiff::Timestamp::UNIX_EPOCH,
            headings: Vec::new(),
            rows: Vec::new(),
            has_changes: false,
        }
    }
}

impl<W: Write> NetworkView for NetworkText<W> {
    fn begin(&mut self, time: jiff::Timestamp) {
        self.time = time;
        self.rows.clear();
        self.has_changes = false;
    }

    fn row(&mut self, netns: u32, row: &NetworkRow, change: Option<&RowChange>) -> io::Result<()> {
        self.has_changes |= change.is_some();
        let (mut headings, mut cells) = match row {
            NetworkRow::Route(route) => route_cells(route),
            NetworkRow::Interface(interface) => interface_cells(interface),
            NetworkRow::Counter(counter) => counter_cells(counter),
        };
        if self.has_netns {
            let (name, own) = (self.namespaces.name(netns), self.own_netns);
            headings.insert(0, "Netns");
            cells.insert(0, Netns { inum: netns, own, name }.to_string());
        }
        if let Some(change) = change {
            headings.push("Change");
            cells.push(match (row, change) {
                (NetworkRow::Counter(_), RowChange::Changed(increases)) => {
                    increases.iter().map(|(_, increase)| format!("{increase:+}")).collect()
                }
                _ => change_text(change),
            });
        }
        self.headings = headings;
        self.rows.push(cells);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return self.out.flush();
        }
        let out = self.out.line()?;
        // Writing to a vector does not fail, here and below.
        if self.has_changes {
            let time = self.time.to_zoned(jiff::tz::TimeZone::system());
            let _ = writeln!(out, "{}", time.strftime("%H:%M:%S"));
        }
        let headings = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        put_table(out, &[vec![headings], std::mem::take(&mut self.rows)].concat());
        self.out.flush()
    }
}

/// Writes rows in columns. The cells of numbers stand at the right.
fn put_table(out: &mut Vec<u8>, rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| columns_of(cell.as_bytes())).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let is_number = |column: usize| {
        let mut cells = rows.iter().skip(1).filter_map(|row| row.get(column));
        cells.all(|cell| cell.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let numbers: Vec<_> = (0..widths.len()).map(is_number).collect();
    for row in rows {
        let start = out.len();
        for ((cell, width), is_number) in row.iter().zip(&widths).zip(&numbers) {
            let space = width.saturating_sub(columns_of(cell.as_bytes()));
            let (before, after) = if *is_number { (space, 0) } else { (0, space) };
            let _ = write!(out, "{:before$}{cell}{:after$}  ", "", "");
        }
        let end = start + out[start..].trim_ascii_end().len();
        out.truncate(end);
        out.push(b'\n');
    }
}

type Cells = (Vec<&'static str>, Vec<String>);

fn escaped(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

/// Joins texts, or shows that there is none.
fn joined(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<_> = texts.collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
}

fn route_cells(route: &Route) -> Cells {
    let hops = || route.hops.iter();
    let destination = match route.prefix {
        0 => "default".to_owned(),
        prefix => format!("{}/{prefix}", route.destination),
    };
    let family = if route.destination.is_ipv4() { "ipv4" } else { "ipv6" };
    let cells = vec![
        family.to_owned(),
        destination,
        joined(hops().filter_map(|hop| Some(hop.gateway?.to_string()))),
        joined(hops().filter_map(|hop| hop.device.as_deref().map(escaped))),
        route.metric.to_string(),
        joined(route.source.iter().map(ToString::to_string)),
        route.kind.to_owned(),
        route.origin.to_owned(),
        route.table.to_string(),
    ];
    let headings = vec![
        "Family",
        "Destination",
        "Gateway",
        "Device",
        "Metric",
        "Source",
        "Kind",
        "Origin",
        "Table",
    ];
    (headings, cells)
}

fn interface_cells(interface: &Interface) -> Cells {
    const SHOWN: [&str; 8] = [
        "rx_bytes",
        "rx_packets",
        "rx_errors",
        "rx_dropped",
        "tx_bytes",
        "tx_packets",
        "tx_errors",
        "tx_dropped",
    ];
    let mut cells =
        vec![escaped(&interface.name), interface.state.to_owned(), interface.mtu.to_string()];
    cells.extend(SHOWN.map(|name| interface.counters.get(name).to_string()));
    let addresses = interface.addresses.iter();
    cells.push(joined(addresses.map(|one| format!("{}/{}", one.address, one.prefix))));
    cells.push(joined(Some(hardware(&interface.hardware)).into_iter().filter(|a| !a.is_empty())));
    let headings = vec![
        "Device",
        "State",
        "MTU",
        "RX-Bytes",
        "RX-Packets",
        "RX-Err",
        "RX-Drop",
        "TX-Bytes",
        "TX-Packets",
        "TX-Err",
        "TX-Drop",
        "Addresses",
        "Hardware",
    ];
    (headings, cells)
}

fn counter_cells(counter: &Counter) -> Cells {
    let Counter { protocol, name, value } = counter;
    let meaning = match sentence(protocol, name) {
        None | Some((Form::Hidden, _)) => String::new(),
        Some((_, words)) => {
            let words = words.strip_prefix("{} ").unwrap_or(words);
            words.strip_suffix(": {}").unwrap_or(words).replace("{}", "N")
        }
    };
    let cells = vec![escaped(protocol), escaped(name), value.to_string(), meaning];
    (vec!["Protocol", "Counter", "Value", "Meaning"], cells)
}

fn change_text(change: &RowChange) -> String {
    match change {
        RowChange::Added => "+ new".to_owned(),
        RowChange::Removed => "- gone".to_owned(),
        RowChange::Changed(increases) if increases.is_empty() => "changed".to_owned(),
        RowChange::Changed(increases) => {
            let increases = increases.iter().map(|(name, increase)| format!("{name} {increase:+}"));
            increases.collect::<Vec<_>>().join(", ")
        }
    }
}
