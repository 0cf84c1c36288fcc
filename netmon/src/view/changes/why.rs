//! The rest of a line: the reason of a connection's end, its totals, and its namespace.

use std::{
    fmt::{self, Display},
    io::Write,
};

use super::appearance::Appearance;
use crate::{
    core::{
        change::Step,
        connection::Connection,
        errno,
        escape::Escaped,
        event::{ResetSide, Totals},
        tcp::TcpState,
        verdict::Verdict,
    },
    view::palette::Tone,
};

/// The parts of the rest of a line, with commas between the parts.
struct Parts<'a> {
    line: &'a mut Vec<u8>,
    look: &'a Appearance,
    start: usize,
}

impl<'a> Parts<'a> {
    const fn new(line: &'a mut Vec<u8>, look: &'a Appearance) -> Self {
        let start = line.len();
        Self { line, look, start }
    }

    fn put(&mut self, tone: Tone, part: impl Display) {
        if self.line.len() > self.start {
            self.line.extend_from_slice(b", ");
        }
        self.look.palette().put(self.line, tone, |line| {
            // Writing to a vector does not fail.
            let _ = write!(line, "{part}");
        });
    }

    /// Writes the namespace, unless it is implied.
    fn put_netns(&mut self, row: &Connection) {
        let name = row.labels.as_ref().and_then(|labels| labels.netns.as_deref());
        let netns = &self.look.netns;
        let is_implied = netns.is_empty() || netns.contains(&row.tuple.netns);
        match name {
            Some(name) => {
                self.put(Tone::Plain, format_args!("netns={}", Escaped(name.as_bytes())));
            }
            None if is_implied => {}
            None => self.put(Tone::Plain, format_args!("netns={}", row.tuple.netns)),
        }
    }

    /// Writes the bytes in both directions, unless no byte went, and the retransmitted segments.
    fn put_totals(&mut self, totals: &Totals) {
        let Totals { bytes_sent, bytes_received, retransmits, .. } = *totals;
        match (bytes_received, bytes_sent) {
            (None | Some(0), None | Some(0)) => {}
            (Some(received), Some(sent)) => {
                self.put(
                    Tone::Plain,
                    format_args!("in {:#} out {:#}", Bytes(received), Bytes(sent)),
                );
            }
            (Some(received), None) => {
                self.put(Tone::Plain, format_args!("in {:#}", Bytes(received)));
            }
            (None, Some(sent)) => self.put(Tone::Plain, format_args!("out {:#}", Bytes(sent))),
        }
        match retransmits {
            None | Some(0) => {}
            Some(1) => self.put(Tone::Warning, "1 segment resent"),
            Some(segments) => self.put(Tone::Warning, format_args!("{segments} segments resent")),
        }
    }
}

/// Writes the rest of a row that a dump reported.
pub(super) fn found(line: &mut Vec<u8>, look: &Appearance, row: &Connection, initial: bool) {
    let mut parts = Parts::new(line, look);
    if initial {
        parts.put(Tone::Quiet, "initial");
    } else {
        parts.put(Tone::Warning, "found (its beginning was lost)");
    }
    parts.put_netns(row);
}

/// Writes the rest of a line: on the last line of a connection, why the connection ended.
///
/// The error and the RST are left out where the verdict says the same.
pub(super) fn why(line: &mut Vec<u8>, look: &Appearance, step: &Step<'_>) {
    let t = step.transition;
    let mut parts = Parts::new(line, look);
    match step.verdict {
        Some(verdict) => parts.put(Tone::of_verdict(verdict), verdict),
        None if t.old == TcpState::TimeWait => parts.put(Tone::Quiet, "expired"),
        None if t.is_last() => parts.put(Tone::Plain, "closed"),
        None => {}
    }
    let (implied_error, implied_reset) = step.verdict.map_or((None, None), implied);
    if let Some(number) = t.errno {
        match errno::name(number) {
            Some(name) if Some(name) == implied_error => {}
            Some(name) => parts.put(Tone::Bad, name),
            None => parts.put(Tone::Bad, format_args!("errno {number}")),
        }
    }
    if let Some(side) = t.reset.filter(|side| Some(*side) != implied_reset) {
        parts.put(Tone::Bad, format_args!("RST {}", side.name()));
    }
    if let Some(totals) = &t.totals {
        parts.put_totals(totals);
    }
    if t.orphan && !t.is_last() {
        parts.put(Tone::Plain, "orphan");
    }
    if t.inferred {
        parts.put(Tone::Plain, "inferred");
    }
    parts.put_netns(step.connection);
}

/// Returns the error and the side of the RST that a reader expects of a verdict.
const fn implied(verdict: Verdict) -> (Option<&'static str>, Option<ResetSide>) {
    match verdict {
        Verdict::Refused => (Some("ECONNREFUSED"), Some(ResetSide::Received)),
        Verdict::ResetByPeer => (Some("ECONNRESET"), Some(ResetSide::Received)),
        Verdict::ResetLocally => (None, Some(ResetSide::Sent)),
        Verdict::TimedOut => (Some("ETIMEDOUT"), None),
        Verdict::NoFreePort => (Some("EADDRNOTAVAIL"), None),
        _ => (None, None),
    }
}

/// A number of bytes in three digits or so: `517`, `4.2K`, `38M`. The alternate form has the unit:
/// `517 B`, `4.2 KiB`.
pub(in crate::view) struct Bytes(pub(in crate::view) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
        let (mut whole, mut tenths, mut unit) = (self.0, 0, 0);
        while whole >= 1024 {
            (whole, tenths, unit) = (whole >> 10, ((whole & 1023) * 10) >> 10, unit + 1);
        }
        if unit > 0 && whole < 10 {
            write!(f, "{whole}.{tenths}")?;
        } else {
            write!(f, "{whole}")?;
        }
        match (f.alternate(), unit) {
            (false, _) => f.write_str(UNITS[unit]),
            (true, 0) => f.write_str(" B"),
            (true, _) => write!(f, " {}iB", UNITS[unit]),
        }
    }
}
