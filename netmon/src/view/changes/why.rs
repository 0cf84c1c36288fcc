//! The reason of a step in words, for lines and for the screen; and the rest of a line, which also
//! has totals and the namespace.

use std::{
    fmt::{self, Display},
    io::Write,
};

use crate::{
    core::{
        change::Step,
        errno,
        event::{ResetSide, Totals},
        tcp::TcpState,
        time::Mono,
        verdict::Verdict,
    },
    view::{
        palette::{Palette, Tone},
        text::netns::Netns,
    },
};

/// A step of a connection, in few bytes: the screen keeps some for every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view) struct Mark {
    /// The time of the step.
    pub(in crate::view) time: Mono,
    pub(in crate::view) old: TcpState,
    pub(in crate::view) new: TcpState,
    errno: Option<u8>,
    reset: Option<ResetSide>,
    pub(in crate::view) verdict: Option<Verdict>,
    orphan: bool,
    /// No hook saw the step: a later look found the step done.
    inferred: bool,
}

const _: () = assert!(size_of::<Mark>() == 16);

impl Mark {
    pub(in crate::view) fn of(step: &Step<'_>) -> Self {
        let t = step.transition;
        Self {
            time: t.time,
            old: t.old,
            new: t.new,
            errno: t.errno,
            reset: t.reset,
            verdict: step.verdict,
            orphan: t.orphan,
            inferred: t.inferred,
        }
    }

    /// Returns the reason of the step in words, with the totals where they are known.
    pub(in crate::view) fn why(&self, totals: Option<&Totals>) -> String {
        let mut text = Vec::new();
        Parts::new(&mut text, Palette { colour: false }).put_why(self, totals);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The parts of the rest of a line, with commas between the parts.
pub(super) struct Parts<'a> {
    line: &'a mut Vec<u8>,
    palette: Palette,
    start: usize,
}

impl<'a> Parts<'a> {
    pub(super) const fn new(line: &'a mut Vec<u8>, palette: Palette) -> Self {
        let start = line.len();
        Self { line, palette, start }
    }

    pub(super) fn put(&mut self, tone: Tone, part: impl Display) {
        if self.line.len() > self.start {
            self.line.extend_from_slice(b", ");
        }
        self.palette.put(self.line, tone, |line| {
            // Writing to a vector does not fail.
            let _ = write!(line, "{part}");
        });
    }

    /// Writes the namespace, unless it is the own one.
    pub(super) fn put_netns(&mut self, netns: Netns<'_>) {
        if !netns.is_own() {
            self.put(Tone::Plain, format_args!("netns={netns}"));
        }
    }

    /// Writes the reason of a step. The error and the RST are left out where the verdict says the
    /// same.
    fn put_why(&mut self, mark: &Mark, totals: Option<&Totals>) {
        let is_last = matches!(mark.new, TcpState::Close | TcpState::TimeWait);
        match mark.verdict {
            Some(verdict) => self.put(Tone::of_verdict(verdict), verdict),
            None if mark.old == TcpState::TimeWait => self.put(Tone::Quiet, "expired"),
            None if is_last => self.put(Tone::Plain, "closed"),
            None => {}
        }
        let (implied_error, implied_reset) = mark.verdict.map_or((None, None), implied);
        if let Some(number) = mark.errno {
            match errno::name(number) {
                Some(name) if Some(name) == implied_error => {}
                Some(name) => self.put(Tone::Bad, name),
                None => self.put(Tone::Bad, format_args!("errno {number}")),
            }
        }
        if let Some(side) = mark.reset.filter(|side| Some(*side) != implied_reset) {
            self.put(Tone::Bad, format_args!("RST {}", side.name()));
        }
        if let Some(totals) = totals {
            self.put_totals(totals);
        }
        if mark.orphan && !is_last {
            self.put(Tone::Plain, "orphan");
        }
        if mark.inferred {
            self.put(Tone::Plain, "inferred");
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
pub(super) fn found(parts: &mut Parts<'_>, initial: bool) {
    if initial {
        parts.put(Tone::Quiet, "initial");
    } else {
        parts.put(Tone::Warning, "found (its beginning was lost)");
    }
}

/// Writes the rest of a row of a connection that is open.
pub(super) fn open(parts: &mut Parts<'_>, state: TcpState) {
    parts.put(Tone::Plain, format_args!("open, {state}"));
}

/// Writes the rest of a line: on the last line of a connection, why the connection ended.
pub(super) fn why(parts: &mut Parts<'_>, step: &Step<'_>) {
    parts.put_why(&Mark::of(step), step.transition.totals.as_ref());
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
