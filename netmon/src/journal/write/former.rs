//! Rows of an earlier recording.

use std::sync::Arc;

use crate::core::connection::Connection;

/// Adapts a row of the last recording to this recording: moments of another boot's monotonic clock
/// have no meaning here.
pub(super) fn of_earlier_boot(mut row: Connection, boot: &Arc<str>) -> Connection {
    let is_same = row.labels.as_ref().and_then(|labels| labels.boot_id.as_ref()) == Some(boot);
    if is_same {
        row.labels = None;
    } else {
        row.since = None;
    }
    row
}
