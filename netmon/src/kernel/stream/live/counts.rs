//! The losses of the live source.

use std::{collections::VecDeque, mem, sync::Once};

use tokio::time::Instant;

use super::{COUNT_AT_REST, COUNT_EVERY, Live};
use crate::{
    core::{event::Event, loss::Loss},
    kernel::host::clock::anchor,
};

/// Each warning is logged once.
static LOST: Once = Once::new();
static NOT_KEPT: Once = Once::new();

impl Live {
    /// Compares the clocks, and reports the losses since the last count.
    pub(super) fn count(&mut self, events: &mut VecDeque<Event>) {
        let was_busy = mem::take(&mut self.had_events);
        self.next_count = Instant::now() + if was_busy { COUNT_EVERY } else { COUNT_AT_REST };
        events.push_back(Event::Anchor(anchor()));
        self.diag.sweep();
        for gap in self.losses.count() {
            // A connection whose beginning was lost still has its row: no dump is needed.
            if gap.loss != Loss::Storage {
                self.reconciler.dump_soon();
            }
            events.push_back(Event::Lost(gap));
        }
        self.count_processes();
    }

    /// Has the next dump look for the processes whose records were lost.
    fn count_processes(&mut self) {
        let lost = self.losses.lost_processes();
        if lost > 0 {
            let message = format!(
                "{lost} records of processes were lost: until the next look at /proc, owners may \
                 have no executable, or a former one"
            );
            warn(&LOST, &message);
            self.reconciler.want_processes();
        }
        let not_kept = self.assembler.owners().take_not_kept();
        if not_kept > 0 {
            warn(&NOT_KEPT, &format!("{not_kept} processes are not followed: too many run"));
        }
    }
}

/// Logs a message; as a warning the first time.
fn warn(first: &Once, message: &str) {
    log::debug!("{message}");
    first.call_once(|| log::warn!("{message}"));
}
