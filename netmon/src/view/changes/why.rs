//! The rest of a line: the reason of a connection's end, its totals, and its namespace.

use std::{fmt, io::Write};

use super::appearance::Appearance;
use crate::core::{
    change::Step, connection::Connection, errno, escape::Escaped, event::Totals, tcp::TcpState,
};

/// Writes the namespace, unless it is implied.
pub(super) fn put_netns(line: &mut Vec<u8>, look: &Appearance, row: &Connection) {
    let name = row.labels.as_ref().and_then(|labels| labels.netns.as_deref());
    let is_implied = look.netns.is_empty() || look.netns.contains(&row.tuple.netns);
    match name {
        // Writing to a vector does not fail, here and below.
        Some(name) => {
            let _ = write!(line, "netns={} ", Escaped(name.as_bytes()));
        }
        None if is_implied => {}
        None => {
            let _ = write!(line, "netns={} ", row.tuple.netns);
        }
    }
}

/// Writes the rest of a line: on the last line of a connection, why the connection ended.
pub(super) fn why(line: &mut Vec<u8>, look: &Appearance, step: &Step<'_>) {
    let t = step.transition;
    match step.verdict {
        Some(verdict) => {
            let _ = write!(line, "{verdict} ");
        }
        None if t.old == TcpState::TimeWait => line.extend_from_slice(b"expired "),
        None if t.is_last() => line.extend_from_slice(b"closed "),
        None => {}
    }
    match t.errno.map(|number| (number, errno::name(number))) {
        Some((_, Some(name))) => {
            let _ = write!(line, "{name} ");
        }
        Some((number, None)) => {
            let _ = write!(line, "errno {number} ");
        }
        None => {}
    }
    if let Some(side) = t.reset {
        let _ = write!(line, "RST {} ", side.name());
    }
    if let Some(totals) = &t.totals {
        put_totals(line, totals);
    }
    if t.orphan && !t.is_last() {
        line.extend_from_slice(b"orphan ");
    }
    if t.inferred {
        line.extend_from_slice(b"(inferred) ");
    }
    put_netns(line, look, step.connection);
}

/// Writes the totals of a connection that are not 0.
fn put_totals(line: &mut Vec<u8>, totals: &Totals) {
    for (name, bytes) in [("sent", totals.bytes_sent), ("received", totals.bytes_received)] {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
            let _ = write!(line, "{name} {} ", Bytes(bytes));
        }
    }
    if let Some(retransmits) = totals.retransmits.filter(|retransmits| *retransmits > 0) {
        let _ = write!(line, "retransmitted {retransmits} ");
    }
}

/// A number of bytes in three digits or so: `517`, `4.2K`, `38M`.
pub(in crate::view) struct Bytes(pub(in crate::view) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
        let (mut whole, mut tenths, mut unit) = (self.0, 0, 0);
        while whole >= 1024 {
            (whole, tenths, unit) = (whole >> 10, ((whole & 1023) * 10) >> 10, unit + 1);
        }
        if unit > 0 && whole < 10 {
            write!(f, "{whole}.{tenths}{}", UNITS[unit])
        } else {
            write!(f, "{whole}{}", UNITS[unit])
        }
    }
}
