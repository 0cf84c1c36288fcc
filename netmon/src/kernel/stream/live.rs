//! The live kernel as a `Source`: reads the rings, watches the loss counters.

mod counts;
mod dump_messages;
mod source;

use std::{collections::VecDeque, io, path::Path, time::Duration};

use aya::{Ebpf, programs::Program};
use aya_log::EbpfLogger;
use netmon_common::{Offsets, UNKNOWN};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    assembler::Assembler,
    capture::Capture,
    dump_schedule::DumpSchedule,
    dumps::{DumpMessage, DumpSource},
    heartbeat::Heartbeat,
    identities::Identities,
    losses::Losses,
    questions::Questions,
};
use crate::{
    core::{
        event::Event,
        loss::{Gap, Loss},
        time::{Anchor, Mono},
    },
    kernel::{
        host::{
            clock::{anchor, booted, now},
            devices::DeviceNames,
            privilege::Duty,
        },
        program::{
            attach::{Attachment, Loaded, Tier, load},
            error::{LoadError, refused},
            hooks::{HookReport, Hooks},
            object::Options,
        },
        ring::{merge::Reading, rings::Rings},
        sockets::{dump::ProgramRequest, sock_diag::Diag, walk::Walk},
    },
};

/// The time between readings while events come. Each reading then finds the rings non-empty. The
/// kernel wakes only a reader that has caught up, so this saves a wakeup for each record.
const READ_EVERY: Duration = Duration::from_millis(5);
/// The most records in one reading: a flood keeps no key of `top` waiting for longer than some 10
/// milliseconds.
const RECORDS_AT_ONCE: usize = 8_192;
/// The most messages of a dump that are taken at once.
const MESSAGES_AT_ONCE: usize = 16;
/// The time between looks at the loss counters.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// The time between looks at the loss counters while nothing comes.
const COUNT_AT_REST: Duration = Duration::from_secs(2);

/// The attached kernel program, and its records on their way to events.
pub(crate) struct Live {
    ebpf: Ebpf,
    hooks: Hooks,
    rings: Rings,
    offsets: Offsets,
    /// The ids of sockets, if the kernel program cannot read cookies.
    identities: Option<Identities>,
    messages: Option<EbpfLogger<&'static dyn log::Log>>,
    losses: Losses,
    assembler: Assembler,
    diag: Diag,
    devices: DeviceNames,
    /// A file for records and answers (`record --raw`).
    capture: Option<Capture>,
    heartbeat: Heartbeat,
    /// The time that the rings may be left alone under load: a small ring fills sooner.
    read_interval: Duration,
    /// The time of the next reading, once it is known.
    read_at: Option<Instant>,
    /// The result of the last reading.
    reading: Reading,
    next_count: Instant,
    /// `true` if a record has come since the last count.
    had_events: bool,
    reconciler: DumpSchedule,
    /// The messages of a dump, held until the rings have been read as far.
    dump_messages: VecDeque<DumpMessage>,
    /// `true` if a part of the scope that is being dumped came too late to be used.
    dump_part_stale: bool,
    /// `true` once the first dump, of the sockets that existed before, is complete.
    seeded: bool,
    /// The number of sockets that existed before.
    seeds: usize,
    /// The moment before the hooks were attached.
    attached: Anchor,
    attachment: Attachment,
}

impl Live {
    /// Loads the program and attaches it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`LoadError`], with advice.
    pub(crate) fn start(options: Options) -> Result<Self, LoadError> {
        // Events that happen during attaching come after this moment.
        let attached = anchor();
        let Loaded { mut ebpf, rings, hooks, tier, offsets, iterators, walk, fell_back } =
            load(options)?;
        let source = match (&iterators, &walk) {
            (Ok(()), Ok(())) => DumpSource::walk(Walk::new(&mut ebpf, &offsets)?),
            (Ok(()), Err(_)) => DumpSource::Iterators,
            (Err(_), _) => DumpSource::Proc,
        };
        let processes = hooks.follow_processes();
        let processes = processes.then_some(ProgramRequest { arguments: options.arguments });
        let losses = Losses::new(&mut ebpf, &hooks)?;
        let messages = (options.log > log::LevelFilter::Off)
            .then(|| EbpfLogger::init(&mut ebpf))
            .transpose()
            .map_err(|error| refused("the log", &error))?;
        let mut assembler = Assembler::new(hooks.follow_minisockets(), booted());
        assembler.owners().look_up_names();
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
            devices: DeviceNames::default(),
            capture: None,
            heartbeat: Heartbeat::new(now(), tier != Tier::Basic),
            // At 32 MB/s, twice the rate seen from two cores, an eighth of the buffer fills in this
            // time.
            read_interval: READ_EVERY.min(Duration::from_nanos(u64::from(options.buffer) * 4)),
            read_at: None,
            reading: Reading::default(),
            next_count: Instant::now(),
            had_events: true,
            reconciler: DumpSchedule::new(source, offsets, processes),
            dump_messages: VecDeque::new(),
            dump_part_stale: false,
            seeded: false,
            seeds: 0,
            attached,
            attachment: Attachment { tier, iterators, walk, fell_back, options },
        })
    }

    /// Captures records and answers in a new file, from the next record on.
    ///
    /// # Errors
    /// Fails if the file exists, or cannot be made.
    pub(crate) fn capture(&mut self, path: &Path) -> io::Result<()> {
        self.capture = Some(Capture::create(path, self.hooks.follow_minisockets())?);
        Ok(())
    }

    /// Has the next dumps follow as soon as if something happened.
    pub(crate) fn expect_change(&mut self) {
        self.reconciler.expect_change();
    }

    /// Returns whether sockets have their cookies as ids, not numbers of netmon's own.
    #[must_use]
    pub(crate) const fn knows_cookies(&self) -> bool {
        self.identities.is_none()
    }

    /// Returns the result of each hook.
    #[must_use]
    pub(crate) fn reports(&self) -> &[HookReport] {
        &self.hooks.reports
    }

    /// Returns the time between dumps on a busy host; none if no dump was complete.
    pub(in crate::kernel) fn dump_distance(&self) -> Option<Duration> {
        self.reconciler.distance()
    }

    /// Returns the counters of `struct tcp_sock` that the kernel's types lack.
    pub(in crate::kernel) fn missing_counters(&self) -> Vec<&'static str> {
        let Offsets { bytes_sent, bytes_received, total_retrans, srtt_us, .. } = self.offsets;
        let counters = [
            ("bytes_sent", bytes_sent),
            ("bytes_received", bytes_received),
            ("total_retrans", total_retrans),
            ("srtt_us", srtt_us),
        ];
        let missing = counters.into_iter().filter(|(_, offset)| *offset == UNKNOWN);
        missing.map(|(name, _)| name).collect()
    }

    /// Returns whether the first dump is over: no more sockets of before come.
    pub(in crate::kernel) const fn is_seeded(&self) -> bool {
        self.seeded
    }

    pub(in crate::kernel) fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Returns the attached programs.
    pub(in crate::kernel) fn programs(&self) -> impl Iterator<Item = (&'static str, &Program)> {
        self.hooks.programs().filter_map(|name| Some((name, self.ebpf.program(name)?)))
    }

    /// Returns the later tasks that take a capability.
    #[must_use]
    pub(crate) fn duties(&self) -> &'static [Duty] {
        let duties = &[Duty::Use, Duty::Enter, Duty::Look];
        if self.reconciler.has_iterators() { &duties[..2] } else { duties }
    }

    /// Takes the records that the rings held at `now`, at most [`RECORDS_AT_ONCE`] of them.
    fn read(&mut self, now: Mono, events: &mut VecDeque<Event>) -> Reading {
        self.rings.read(now, RECORDS_AT_ONCE, |next| match next {
            Ok(record) if record.is_of_owners() => {
                if let Some(capture) = &mut self.capture {
                    capture.record(&record);
                }
                self.assembler.owners().record(&record);
            }
            Ok(mut record) => {
                if let Some(identities) = &mut self.identities {
                    identities.name(&mut record);
                }
                if !self.heartbeat.takes(&record) {
                    self.had_events = true;
                    if let Some(capture) = &mut self.capture {
                        capture.record(&record);
                    }
                    self.assembler.record(&record, events);
                }
            }
            Err(error) => {
                log::debug!("{error}");
                self.losses.malformed += 1;
            }
        })
    }

    /// Settles everything that was due by `now`. The rings have been read to their end since,
    /// without an answer.
    fn settle(&mut self, now: Mono, events: &mut VecDeque<Event>) {
        let known = events.len();
        let is_asked =
            self.with_questions(|assembler, kernel| assembler.advance(now, kernel, events));
        if let Some(capture) = self.capture.as_mut().filter(|_| is_asked || events.len() > known) {
            capture.advance(now);
        }
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
    }

    /// Lets the assembler ask the kernel, and returns whether there was a question.
    fn with_questions(&mut self, work: impl FnOnce(&mut Assembler, &mut Questions<'_>)) -> bool {
        let mut questions = Questions {
            ebpf: &mut self.ebpf,
            offsets: &self.offsets,
            diag: &mut self.diag,
            capture: self.capture.as_mut(),
            is_asked: false,
        };
        work(&mut self.assembler, &mut questions);
        questions.is_asked
    }

    /// Reports that the hooks have been silent since `from`, and attaches them again.
    fn revive(&mut self, from: Mono, events: &mut VecDeque<Event>) {
        log::error!("the hooks in the kernel were silent: another program may have removed them");
        events.push_back(Event::Lost(Gap { from, time: now(), count: 0, loss: Loss::Unhooked }));
        self.reconciler.dump_soon();
        self.reconciler.want_processes();
        self.reconciler.want_cgroups();
        match self.hooks.attach_again(&mut self.ebpf) {
            Ok(()) => log::warn!("the hooks are attached again; a dump looks for missed changes"),
            Err(error) => log::error!("cannot attach the hooks again: {error}; restart netmon"),
        }
    }

    /// Adds the names of devices to the events of sockets that are bound to one.
    fn name_devices(&mut self, events: &mut VecDeque<Event>) {
        for event in events {
            match event {
                Event::Transition(t) => self.devices.complete(&t.tuple, &mut t.binding),
                Event::Seed(seed) => self.devices.complete(&seed.tuple, &mut seed.binding),
                _ => {}
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
                // An interruption does not move this time: a view may want to be shown again and
                // again.
                let until =
                    *self.read_at.get_or_insert_with(|| Instant::now() + self.read_interval);
                sleep_until(until).await;
                self.read_at = None;
                return Ok(());
            }
        }
        let due = self
            .assembler
            .next_due()
            .map(|due| Instant::now() + due.since(now()).max(Duration::from_millis(1)));
        let dump = self.reconciler.due().map(Instant::from_std);
        let beat = Some(Instant::now() + self.heartbeat.due().since(now()));
        let until = [due, dump, beat].into_iter().flatten().fold(self.next_count, Instant::min);
        tokio::select! {
            ready = timeout_at(until, self.rings.readable()) => ready.unwrap_or(Ok(()))?,
            message = self.reconciler.next() => self.dump_messages.extend(message),
        }
        Ok(())
    }
}
