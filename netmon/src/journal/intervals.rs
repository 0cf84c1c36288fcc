//! How often a recorder writes, and how late a row may come.

/// An anchor is written at least so often, ns: up to there the journal knows that nothing else
/// happened.
pub(super) const ALIVE: u64 = 10_000_000_000;
/// A recorder that runs writes at least so often, ns, and a busy disk takes its time.
pub(super) const SILENT: i64 = ALIVE.cast_signed() + 5_000_000_000;
/// How long after a segment began rows of before may come to it, ns: connects are held until they
/// have a port, and a minisocket whose end nobody can see is given up after 70 s
/// (`kernel/stream/minisockets.rs`). Only segments that begin within this time are looked at for such rows;
/// what they have says whether there are any.
pub(super) const LATE: i64 = 80_000_000_000;
