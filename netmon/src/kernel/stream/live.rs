//! The live kernel as a [`Source`]: reads the ring, watches the loss counters.

use std::{collections::VecDeque, io, time::Duration};

use aya::{Ebpf, programs::Program};
use aya_log::EbpfLogger;
use netmon_common::{Offsets, UNKNOWN};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    assembler::{Assembler, KernelQueries},
    dumps::{DumpMessage, DumpSchedule},
    heartbeat::Heartbeat,
    identities::Identities,
    losses::Losses,
};
use crate::{
    core::{
        event::{Anchor, Event, Gap, Loss},
        id::is_own,
    },
    kernel::{
        host::{
            clock::{anchor, now},
            privilege::Duty,
        },
        program::{
            attach::{Attachment, Loaded, Tier, load},
            error::{LoadError, refused},
            hooks::{HookReport, Hooks},
            object::Options,
            peek::{PEEK, local_port},
        },
        ring::{merge::Reading, rings::Rings},
        sockets::{
            bpf_iter,
            sock_diag::{BucketState, Diag, SockQuery},
        },
    },
    session::Source,
};

/// While events come, the ring is read this often. Each reading then finds it non-empty, and the
/// kernel, which wakes a reader that has caught up, is spared a wakeup for each record.
const READ_EVERY: Duration = Duration::from_millis(5);
/// Records taken in one go, so that a flood cannot keep the loop from anything else.
const RECORDS_AT_ONCE: usize = 65_536;
/// What a dump says in one go.
const SAID_AT_ONCE: usize = 16;
/// What a dump said so long ago, ns, is of little use: much has changed since.
const TOO_LATE: u64 = 1_000_000_000;
/// How often the loss counters are looked at, and how often while nothing comes.
const COUNT_EVERY: Duration = Duration::from_millis(500);
const COUNT_AT_REST: Duration = Duration::from_secs(2);

/// The kernel program, attached, and its records on their way to events.
pub struct Live {
    ebpf: Ebpf,
    hooks: Hooks,
    rings: Rings,
    offsets: Offsets,
    /// Names of sockets, where the kernel program has none.
    identities: Option<Identities>,
    messages: Option<EbpfLogger<&'static dyn log::Log>>,
    losses: Losses,
    assembler: Assembler,
    diag: Diag,
    heartbeat: Heartbeat,
    /// How long the ring may be left alone under load: a small one fills sooner.
    read_interval: Duration,
    /// When the rings are read next, once that is known.
    read_at: Option<Instant>,
    /// How the last reading ended.
    reading: Reading,
    next_count: Instant,
    /// Whether anything has come since the last count.
    had_events: bool,
    reconciler: DumpSchedule,
    /// What a dump said, until the ring has been read as far as that.
    dump_messages: VecDeque<DumpMessage>,
    /// A part of the namespace that is being dumped came too late to be used.
    dump_part_stale: bool,
    /// Whether what was there before has been told.
    seeded: bool,
    /// The moment before hooks were attached.
    attached: Anchor,
    attachment: Attachment,
}

impl Live {
    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// [`LoadError`], which says what to do. Must be called within a tokio runtime.
    pub fn start(options: Options) -> Result<Self, LoadError> {
        // What happens while hooks are attached is after this.
        let attached = anchor();
        let Loaded { mut ebpf, rings, hooks, tier, offsets, iterators, fell_back } = load(options)?;
        let losses = Losses::new(&mut ebpf)?;
        let messages = (options.log > log::LevelFilter::Off)
            .then(|| EbpfLogger::init(&mut ebpf))
            .transpose()
            .map_err(|error| refused("the log", &error))?;
        let assembler = Assembler::new(hooks.follow_minisockets(), offsets.bytes_sent != UNKNOWN);
        Ok(Self {
            ebpf,
            hooks,
            rings,
            offsets,
            identities: (tier == Tier::Basic).then(Identities::new),
            messages,
            losses,
            assembler,
            diag: Diag::default(),
            heartbeat: Heartbeat::new(now()),
            // At some 32 MB/s, twice what two cores were seen to make, an eighth of it may fill.
            read_interval: READ_EVERY.min(Duration::from_nanos(u64::from(options.buffer) * 4)),
            read_at: None,
            reading: Reading::default(),
            next_count: Instant::now(),
            had_events: true,
            reconciler: DumpSchedule::new(iterators.is_ok()),
            dump_messages: VecDeque::new(),
            dump_part_stale: false,
            seeded: false,
            attached,
            attachment: Attachment { tier, iterators, fell_back, options },
        })
    }

    /// Whether sockets go by their cookies, not by numbers of netmon's own.
    #[must_use]
    pub const fn knows_cookies(&self) -> bool {
        self.identities.is_none()
    }

    /// What came of each hook.
    #[must_use]
    pub fn reports(&self) -> &[HookReport] {
        &self.hooks.reports
    }

    pub(in crate::kernel) fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// The programs that are attached.
    pub(in crate::kernel) fn programs(&self) -> impl Iterator<Item = (&'static str, &Program)> {
        self.hooks.programs().filter_map(|name| Some((name, self.ebpf.program(name)?)))
    }

    /// What it does from here on that takes a capability.
    #[must_use]
    pub fn duties(&self) -> &'static [Duty] {
        let duties = &[Duty::Use, Duty::Enter, Duty::Look];
        if self.reconciler.has_iterators() { &duties[..2] } else { duties }
    }

    /// Takes what the rings held at `now`, or much of it; how much.
    fn read(&mut self, now: u64, events: &mut VecDeque<Event>) -> Reading {
        self.rings.read(now, RECORDS_AT_ONCE, |next| match next {
            Ok(mut record) => {
                if let Some(identities) = &mut self.identities {
                    identities.name(&mut record);
                }
                if !self.heartbeat.takes(&record) {
                    self.had_events = true;
                    self.assembler.record(&record, events);
                }
            }
            Err(error) => {
                log::debug!("{error}");
                self.losses.malformed += 1;
            }
        })
    }

    /// Settles what was due by `now`, when the ring, since read to its end, had no answer to it.
    fn settle(&mut self, now: u64, events: &mut VecDeque<Event>) {
        let mut questions =
            Questions { ebpf: &mut self.ebpf, offsets: &self.offsets, diag: &mut self.diag };
        self.assembler.advance(now, &mut questions, events);
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
    }

    /// Compares the clocks and says what was lost since the last look.
    fn count(&mut self, events: &mut VecDeque<Event>) -> io::Result<()> {
        let is_stirred = std::mem::take(&mut self.had_events);
        self.next_count = Instant::now() + if is_stirred { COUNT_EVERY } else { COUNT_AT_REST };
        events.push_back(Event::Anchor(anchor()));
        self.diag.sweep();
        for gap in self.losses.count(&self.hooks, &self.ebpf)? {
            // What was not kept of a beginning is missing from a row that is there.
            if gap.loss != Loss::Storage {
                self.reconciler.dump_soon();
            }
            events.push_back(Event::Lost(gap));
        }
        Ok(())
    }

    /// The hooks have not heard anything since `from`, though there was something to hear.
    fn revive(&mut self, from: u64, events: &mut VecDeque<Event>) {
        log::error!("the hooks in the kernel were silent, as if somebody had taken them out");
        events.push_back(Event::Lost(Gap { from, time: now(), count: 1, loss: Loss::Unhooked }));
        self.reconciler.dump_soon();
        match self.hooks.attach_again(&mut self.ebpf) {
            Ok(()) => log::warn!("they are attached anew; what was missed is looked for"),
            Err(error) => log::error!("attaching them anew failed, restart netmon: {error}"),
        }
    }

    /// Takes what a dump says, the ring having been read since it said so.
    fn take(&mut self, message: DumpMessage, events: &mut VecDeque<Event>) {
        match message {
            DumpMessage::Link(walk, answer) => {
                // Nobody waits for it when the dump has failed.
                let _ = answer.send(bpf_iter::link(&mut self.ebpf, walk));
            }
            DumpMessage::Seeds { time, .. } if self.seeded && time + TOO_LATE < now() => {
                self.dump_part_stale = true;
            }
            DumpMessage::Seeds { seeds, .. } => {
                for mut seed in seeds {
                    if self.heartbeat.is_at(&seed.tuple) {
                        continue;
                    }
                    if self.assembler.ends_unseen(&seed) {
                        self.reconciler.expect_change();
                    }
                    if let Some(identities) = &mut self.identities {
                        identities.seed(&mut seed);
                    }
                    self.assembler.seed(seed, events);
                }
            }
            DumpMessage::Failed { time, failed } => {
                for (cookie, errno) in failed {
                    self.assembler.failed(time, cookie, errno, events);
                }
            }
            DumpMessage::Dumped { netns, began } => {
                if !std::mem::take(&mut self.dump_part_stale) {
                    self.assembler.dumped(netns, began, events);
                }
            }
            DumpMessage::Done { .. } => {
                if let Some(identities) = &mut self.identities {
                    identities.dumped();
                }
                events.push_back(Event::DumpEnded { time: now() });
            }
        }
    }

    /// Waits until there may be something to read or to settle.
    async fn wait(&mut self) -> io::Result<()> {
        match self.reading {
            Reading { taken: 0, complete: true } if !self.rings.have_more() => {}
            Reading { taken: RECORDS_AT_ONCE, .. } => {
                yield_now().await;
                return Ok(());
            }
            _ => {
                // Not anew for whoever was interrupted: a view may want to be shown again and
                // again.
                let until =
                    *self.read_at.get_or_insert_with(|| Instant::now() + self.read_interval);
                sleep_until(until).await;
                self.read_at = None;
                return Ok(());
            }
        }
        let due = self.assembler.next_due().map(|due| {
            Instant::now()
                + Duration::from_nanos(due.saturating_sub(now())).max(Duration::from_millis(1))
        });
        let dump = self.reconciler.due().map(Instant::from_std);
        let beat =
            Some(Instant::now() + Duration::from_nanos(self.heartbeat.due().saturating_sub(now())));
        let until = [due, dump, beat].into_iter().flatten().fold(self.next_count, Instant::min);
        tokio::select! {
            ready = timeout_at(until, self.rings.readable()) => ready.unwrap_or(Ok(()))?,
            message = self.reconciler.next() => self.dump_messages.extend(message),
        }
        Ok(())
    }

    /// Reads the sockets that were there before: the hooks are attached, the ring fills meanwhile,
    /// and its events come after.
    async fn begin(&mut self, events: &mut VecDeque<Event>) -> io::Result<()> {
        if !self.reconciler.is_running() {
            events.push_back(Event::Anchor(self.attached));
            self.count(events)?;
            self.reconciler.begin()?;
            events.push_back(Event::DumpBegan);
        }
        while self.reconciler.is_running() {
            if let Some(message) = self.reconciler.next().await {
                self.take(message, events);
            }
        }
        let found = events.iter().filter(|event| matches!(event, Event::Seed(_))).count();
        self.seeded = true;
        log::info!(
            "attached: {}; {} sockets were there",
            self.hooks.programs().collect::<Vec<_>>().join(", "),
            found
        );
        Ok(())
    }
}

impl Source for Live {
    type Item = Event;

    async fn next(&mut self, events: &mut VecDeque<Event>) -> io::Result<bool> {
        if !self.seeded {
            self.begin(events).await?;
            return Ok(true);
        }
        self.wait().await?;
        // First, so that the first event has a clock to be shown by.
        if Instant::now() >= self.next_count {
            self.count(events)?;
        }
        if self.reconciler.due().is_some_and(|due| due <= Instant::now().into_std()) {
            self.reconciler.begin()?;
            events.push_back(Event::DumpBegan);
        }
        while self.dump_messages.len() < SAID_AT_ONCE
            && let Some(message) = self.reconciler.try_next()
        {
            self.dump_messages.push_back(message);
        }
        let before = now();
        self.reading = self.read(before, events);
        if self.had_events {
            self.next_count = self.next_count.min(Instant::now() + COUNT_EVERY);
            self.reconciler.expect_change();
        }
        // The answer to what seems overdue may lie in what was not read yet, and so may what
        // explains the difference between a dump and the table.
        if self.reading.complete {
            self.settle(before, events);
            if let Some(from) = self.heartbeat.advance(before) {
                self.revive(from, events);
            }
            while let Some(message) = self.dump_messages.pop_front() {
                self.take(message, events);
            }
        }
        Ok(true)
    }

    fn begins_with_seeds(&self) -> bool {
        true
    }

    async fn finish(&mut self, events: &mut VecDeque<Event>) -> io::Result<()> {
        let end = now();
        while self.read(end, events).taken > 0 {}
        // What was held has its wait still to come.
        for _ in 0..4 {
            sleep(READ_EVERY).await;
            let before = now();
            while self.read(before, events).taken > 0 {}
            self.settle(before, events);
        }
        let mut questions =
            Questions { ebpf: &mut self.ebpf, offsets: &self.offsets, diag: &mut self.diag };
        self.assembler.finish(now(), &mut questions, events);
        // The kernel waits for every task before it lets go of a hook on a function
        // (`synchronize_rcu_tasks`, kernel/trace/ftrace.c), which on a busy host takes seconds. It
        // does so at the end of the process as well, when all is written.
        std::mem::forget(std::mem::take(&mut self.hooks.links));
        self.count(events)
    }
}

/// Asks the kernel for what the ring did not bring.
struct Questions<'a> {
    ebpf: &'a mut Ebpf,
    offsets: &'a Offsets,
    diag: &'a mut Diag,
}

impl KernelQueries for Questions<'_> {
    fn local_port(&mut self, sock: u64, cookie: u64) -> Option<u16> {
        let peek = self.ebpf.program_mut(PEEK)?.try_into().ok()?;
        let answer = local_port(peek, self.offsets, sock, (!is_own(cookie)).then_some(cookie));
        answer.unwrap_or_else(|error| {
            log::warn!("asking for a local port: {error}");
            None
        })
    }

    fn minisockets(&mut self, asked: &[SockQuery]) -> (Vec<BucketState>, u64) {
        (self.diag.minisockets(asked), now())
    }
}
