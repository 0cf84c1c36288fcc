//! The losses of the live source.

use std::{collections::VecDeque, mem, sync::Once};

use tokio::time::Instant;

use super::{COUNT_AT_REST, COUNT_EVERY, Live};
use crate::{
    core::{
        event::Event,
        loss::{Gap, Loss},
    },
    kernel::host::clock::{anchor, now},
};

/// The warning is logged once.
static NOT_KEPT: Once = Once::new();

impl Live {
    /// Compares the clocks, and reports the losses since the last count.
    pub(super) fn count(&mut self, events: &mut VecDeque<Event>) {
        let was_busy = mem::take(&mut self.had_events);
        self.next_count = Instant::now() + if was_busy { COUNT_EVERY } else { COUNT_AT_REST };
        events.push_back(Event::Anchor(anchor()));
        self.diag.sweep();
        let from = self.losses.last_count();
        self.report_losses(events);
        if self.assembler.owners().take_lacks_cgroups() {
            self.reconciler.want_cgroups();
        }
        let not_kept = self.assembler.owners().take_not_kept();
        if not_kept > 0 {
            let message = format!("{not_kept} processes are not followed: too many run");
            log::debug!("{message}");
            NOT_KEPT.call_once(|| log::warn!("{message}"));
            // A look at `/proc`, as after a lost record, would find no room either.
            let (time, count, loss) = (now(), not_kept, Loss::Processes);
            events.push_back(Event::Lost(Gap { from, time, count, loss }));
        }
    }

    /// Reports the losses since the last report, and has them repaired.
    pub(super) fn report_losses(&mut self, events: &mut VecDeque<Event>) {
        for gap in self.losses.count() {
            match gap.loss {
                // A connection whose beginning was lost still has its row: no dump is needed.
                Loss::Storage => {}
                // The ring of processes carries cgroups too.
                Loss::Processes => {
                    self.reconciler.want_processes();
                    self.reconciler.want_cgroups();
                }
                _ => self.reconciler.dump_soon(),
            }
            events.push_back(Event::Lost(gap));
        }
    }
}
