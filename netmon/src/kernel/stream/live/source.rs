//! The live kernel as a source of events.

use std::{collections::VecDeque, io};

use tokio::time::{Instant, sleep, timeout};

use super::{COUNT_EVERY, Live, MESSAGES_AT_ONCE, READ_EVERY};
use crate::{core::event::Event, kernel::host::clock::now, session::Source};

impl Source for Live {
    type Item = Event;

    async fn next(&mut self, events: &mut VecDeque<Event>) -> io::Result<bool> {
        if !self.seeded {
            self.begin(events).await;
            return Ok(true);
        }
        self.wait().await?;
        // Counted first, so that the first event has an anchor.
        if Instant::now() >= self.next_count {
            self.count(events);
        }
        if self.reconciler.due().is_some_and(|due| due <= Instant::now().into_std()) {
            // A loss is reported before its repair. The first dump comes after a count.
            self.report_losses(events);
            self.begin_dump(events);
        }
        self.fetch_messages();
        let before = now();
        self.reading = self.read(before, events);
        if self.had_events {
            self.next_count = self.next_count.min(Instant::now() + COUNT_EVERY);
            self.reconciler.expect_change();
        }
        // The answer to an overdue event may be in records that were not read yet, as may the
        // reason for a difference between a dump and the table.
        if self.reading.complete {
            self.settle(before, events);
            if let Some(from) = self.heartbeat.advance(before) {
                self.revive(from, events);
            }
            self.take_messages(events);
        }
        self.name_devices(events);
        Ok(true)
    }

    fn begins_with_seeds(&self) -> bool {
        true
    }

    async fn finish(&mut self, events: &mut VecDeque<Event>) -> io::Result<()> {
        let end = now();
        while self.read(end, events).taken > 0 {}
        // The held events still have to wait.
        for _ in 0..4 {
            sleep(READ_EVERY).await;
            let before = now();
            while self.read(before, events).taken > 0 {}
            self.settle(before, events);
        }
        let end = now();
        self.with_questions(|assembler, kernel| assembler.finish(end, kernel, events));
        if let Some(capture) = self.capture.take() {
            capture.finish(end)?;
        }
        // The kernel waits for every task before it releases a hook on a function
        // (`synchronize_rcu_tasks`, kernel/trace/ftrace.c), which takes seconds on a busy host. The
        // end of the process releases the hooks too, after everything is written.
        std::mem::forget(std::mem::take(&mut self.hooks.links));
        self.count(events);
        self.name_devices(events);
        Ok(())
    }
}

impl Live {
    /// Fetches the messages of a dump that have come, [`MESSAGES_AT_ONCE`] at most.
    fn fetch_messages(&mut self) {
        while self.dump_messages.len() < MESSAGES_AT_ONCE
            && let Some(message) = self.reconciler.try_next()
        {
            self.dump_messages.push_back(message);
        }
    }

    fn take_messages(&mut self, events: &mut VecDeque<Event>) {
        while let Some(message) = self.dump_messages.pop_front() {
            self.take(message, events);
        }
    }

    /// Reads some of the sockets that existed before. The hooks are attached already: their records
    /// wait until the last of these sockets is known, and come after.
    async fn begin(&mut self, events: &mut VecDeque<Event>) {
        if !self.reconciler.is_running() {
            events.push_back(Event::Anchor(self.attached));
            self.count(events);
            self.begin_dump(events);
        }
        let first = timeout(self.read_interval, self.reconciler.next()).await.ok().flatten();
        self.rings.relieve(now());
        let known = events.len();
        self.dump_messages.extend(first);
        self.fetch_messages();
        self.take_messages(events);
        let is_seed = |event: &&Event| matches!(event, Event::Seed(_));
        self.seeds += events.range(known..).filter(is_seed).count();
        self.name_devices(events);
        if !self.reconciler.is_running() {
            self.seeded = true;
            let programs: Vec<_> = self.hooks.programs().collect();
            log::info!("attached: {}; {} sockets were there", programs.join(", "), self.seeds);
        }
    }
}
