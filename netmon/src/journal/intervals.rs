//! The intervals at which a recorder writes, and the delay with which a row may come.

use std::time::{Duration, SystemTime};

use crate::core::time::Wall;

/// Returns the wall time.
pub(super) fn wall_now() -> Wall {
    Wall::EPOCH + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The longest time between two anchors. Up to the newest anchor the journal knows that nothing
/// else happened.
pub(super) const ALIVE: Duration = Duration::from_secs(10);
/// The longest time between two writes of a running recorder, including the delay of a busy
/// disk.
pub(super) const SILENT: Duration = Duration::from_secs(15);
/// The time after the start of a segment within which older rows may come to the segment.
/// Connects are held until they have a port. A minisocket whose end nothing can show is given up
/// after 70 s (`kernel/stream/minisockets.rs`).
///
/// A reader looks for such rows only in segments that begin within this time. The segments
/// themselves show whether there are such rows.
pub(super) const LATE: Duration = Duration::from_secs(80);
