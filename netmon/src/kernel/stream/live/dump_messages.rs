//! Dumps on their way into the stream of the live source.

use std::{collections::VecDeque, mem, time::Duration};

use netmon_common::UNKNOWN;

use super::Live;
use crate::{
    core::event::Event,
    kernel::{
        host::clock::{now, used},
        stream::dumps::DumpMessage,
    },
};

/// The time for which a part of a dump may wait here. A later part is of little use: too much has
/// changed since. The reading of a large part may take longer.
const TOO_LATE: Duration = Duration::from_secs(1);

impl Live {
    /// Begins a dump, or reports that this shortage makes dumps rare.
    pub(super) fn begin_dump(&mut self, events: &mut VecDeque<Event>) {
        if self.reconciler.begin() {
            events.push_back(Event::DumpBegan);
        } else {
            self.report_rare_dumps(events);
        }
    }

    fn report_rare_dumps(&self, events: &mut VecDeque<Event>) {
        if let Some(distance) = self.reconciler.rare() {
            events.push_back(Event::DumpsRare { time: now(), distance });
        }
    }

    /// Takes a message of a dump. The rings have been read since the message was sent.
    pub(super) fn take(&mut self, message: DumpMessage, events: &mut VecDeque<Event>) {
        match message {
            DumpMessage::Work(work) => {
                let before = used();
                work(&mut self.ebpf);
                self.reconciler.charge(used().saturating_sub(before));
            }
            DumpMessage::Cgroups(walk) => self.assembler.owners().seed_cgroups(&walk),
            DumpMessage::Processes(seen) => {
                self.rings.relieve(now());
                self.assembler.owners().seed(seen, self.rings.waiting());
            }
            DumpMessage::Seeds { sent, .. } if self.seeded && sent + TOO_LATE < now() => {
                self.dump_part_stale = true;
            }
            DumpMessage::Seeds { held, seeds, .. } => {
                for mut seed in seeds {
                    if self.heartbeat.owns(&seed) {
                        continue;
                    }
                    if self.offsets.skc_bound_dev_if == UNKNOWN {
                        // Records of the socket have no device either.
                        seed.tuple.interface = 0;
                    }
                    if self.assembler.ends_unseen(&seed) {
                        self.reconciler.expect_change();
                    }
                    if let Some(identities) = &mut self.identities {
                        identities.seed(&mut seed);
                    }
                    self.assembler.seed(seed, held, events);
                }
            }
            DumpMessage::Failed { time, failed } => {
                for (cookie, errno) in failed {
                    self.assembler.failed(time, cookie, errno, events);
                }
            }
            DumpMessage::Dumped { scope, began } => {
                if !mem::take(&mut self.dump_part_stale) {
                    self.assembler.dumped(scope, began, events);
                }
            }
            DumpMessage::GaveUp { .. } => self.report_rare_dumps(events),
            DumpMessage::Done { .. } => {
                if let Some(identities) = &mut self.identities {
                    identities.dumped();
                }
                // A loss is reported before the rows that the dump ends.
                self.report_losses(events);
                events.push_back(Event::DumpEnded { time: now() });
                self.report_rare_dumps(events);
            }
        }
    }
}
