//! The live kernel as a [`Source`]: reads the ring, watches the loss counters.

use std::{
    collections::VecDeque,
    fs, io,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuArray, RingBuf},
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun},
    sys::SyscallError,
};
use aya_log::EbpfLogger;
use netmon_common::counter;
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{
    assemble::{Ask, Assembler},
    decode::decode,
    diag::Diag,
    load::{HOOKS, Hook, LOCAL_PORT, LoadError, Options, load, program, refused},
    minisocket::{Found, Question},
    seed,
};
use crate::{
    core::event::{Anchor, Event, Loss},
    session::Source,
};

/// While events come, the ring is read this often. Each reading then finds it non-empty, and the
/// kernel, which wakes a reader that has caught up, is spared a wakeup for each record.
const READ_EVERY: Duration = Duration::from_millis(5);
/// Records taken in one go, so that a flood cannot keep the loop from anything else.
const RECORDS_AT_ONCE: usize = 65_536;
/// How often the loss counters are looked at while nothing or much happens.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// The kernel program, attached, and its records on their way to events.
pub struct Live {
    ebpf: Ebpf,
    hooks: Vec<Hook>,
    ring: AsyncFd<RingBuf<MapData>>,
    messages: Option<EbpfLogger<&'static dyn log::Log>>,
    counters: PerCpuArray<MapData, u64>,
    assembler: Assembler,
    diag: Diag,
    /// How long the ring may be left alone under load: a small one fills sooner.
    pause: Duration,
    /// How many records the last reading took.
    taken: usize,
    reported: [u64; 4],
    malformed: u64,
    next_count: Instant,
    /// Whether what was there before is still to be told.
    unseeded: bool,
}

impl Live {
    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// [`LoadError`], which says what to do. Must be called within a tokio runtime.
    pub fn start(options: Options) -> Result<Self, LoadError> {
        let (mut ebpf, hooks) = load(options)?;
        let ring = take(&mut ebpf, "EVENTS")?;
        let ring = RingBuf::try_from(ring).map_err(|error| match error {
            // It exists, but this process has no room to see it.
            MapError::SyscallError(SyscallError { io_error: source, .. }) => {
                LoadError::Buffer { size: options.buffer, source }
            }
            other => refused("the ring buffer", &other),
        })?;
        // SAFETY: the ring owns its map's descriptor, and is neither replaced nor taken out.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| refused("the ring buffer", &error))?;
        let counters = PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?)
            .map_err(|error| refused("the counters", &error))?;
        let messages = (options.log > log::LevelFilter::Off)
            .then(|| EbpfLogger::init(&mut ebpf))
            .transpose()
            .map_err(|error| refused("the log", &error))?;
        Ok(Self {
            ebpf,
            hooks,
            ring,
            messages,
            counters,
            assembler: Assembler::new(),
            diag: Diag::default(),
            // At some 32 MB/s, twice what two cores were seen to make, an eighth of it may fill.
            pause: READ_EVERY.min(Duration::from_nanos(u64::from(options.buffer) * 4)),
            taken: 0,
            reported: [0; 4],
            malformed: 0,
            next_count: Instant::now(),
            unseeded: true,
        })
    }

    /// Takes what the ring holds, or much of it; how much.
    fn read(&mut self, events: &mut VecDeque<Event>) -> usize {
        let ring = self.ring.get_mut();
        for taken in 0..RECORDS_AT_ONCE {
            let Some(bytes) = ring.next() else { return taken };
            match decode(&bytes) {
                Ok(record) => self.assembler.record(&record, events),
                Err(error) => {
                    log::debug!("{error}");
                    self.malformed += 1;
                }
            }
        }
        RECORDS_AT_ONCE
    }

    /// Settles what was due by `now`, when the ring, since read to its end, had no answer to it.
    fn settle(&mut self, now: u64, events: &mut VecDeque<Event>) {
        let mut questions = Questions { ebpf: &mut self.ebpf, diag: &mut self.diag };
        self.assembler.advance(now, &mut questions, events);
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
    }

    /// Compares the clocks and says what was lost since the last look.
    fn count(&mut self, events: &mut VecDeque<Event>) -> io::Result<()> {
        self.next_count = Instant::now() + COUNT_EVERY;
        events.push_back(Event::Anchor(anchor()));
        self.diag.sweep();
        let full = self.counter(counter::LOST_TRANSITIONS)? + self.counter(counter::LOST_RESETS)?;
        let totals = [
            (Loss::RingFull, full),
            (Loss::Recursion, self.recursion_misses()?),
            (Loss::Malformed, self.malformed),
            (Loss::Storage, self.counter(counter::NO_STORAGE)?),
        ];
        for ((loss, total), reported) in totals.into_iter().zip(&mut self.reported) {
            let count = total.saturating_sub(*reported);
            if count > 0 {
                *reported = total;
                events.push_back(Event::Lost { time: now(), count, loss });
            }
        }
        Ok(())
    }

    fn counter(&self, index: u32) -> io::Result<u64> {
        let values = self.counters.get(&index, 0).map_err(io::Error::other)?;
        Ok(values.iter().sum())
    }

    /// How often the kernel skipped a program that was running on that CPU (`bpf_prog_show_fdinfo`,
    /// kernel/bpf/syscall.c): fdinfo says it without a system call of our own.
    fn recursion_misses(&self) -> io::Result<u64> {
        let mut misses = 0;
        for hook in HOOKS {
            let Some(program) = self.ebpf.program(hook) else { continue };
            let fd = program.fd().map_err(io::Error::other)?.as_fd().as_raw_fd();
            let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
            misses += text
                .lines()
                .find_map(|line| line.strip_prefix("recursion_misses:"))
                .and_then(|value| value.trim().parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(misses)
    }

    /// Waits until there may be something to read or to settle.
    async fn wait(&mut self) -> io::Result<()> {
        match self.taken {
            0 => {}
            RECORDS_AT_ONCE => {
                yield_now().await;
                return Ok(());
            }
            _ => {
                sleep(self.pause).await;
                return Ok(());
            }
        }
        let due = self.assembler.next_due().map(|due| {
            Instant::now()
                + Duration::from_nanos(due.saturating_sub(now())).max(Duration::from_millis(1))
        });
        let until = due.map_or(self.next_count, |due| due.min(self.next_count));
        let limit = until.saturating_duration_since(Instant::now());
        if let Ok(guard) = timeout(limit, self.ring.readable_mut()).await {
            guard?.clear_ready();
        }
        Ok(())
    }
}

impl Source for Live {
    async fn next(&mut self, events: &mut VecDeque<Event>) -> io::Result<()> {
        if std::mem::take(&mut self.unseeded) {
            self.count(events)?;
            // The ring fills meanwhile: what happened since the hooks were attached comes after.
            if let Err(error) = seed::seeds(&mut self.ebpf, events) {
                log::warn!("what was there before is not known: {error}");
            }
            log::info!("attached: {}; {} sockets were there", HOOKS.join(", "), events.len());
            return Ok(());
        }
        self.wait().await?;
        // First, so that the first event has a clock to be shown by.
        if Instant::now() >= self.next_count {
            self.count(events)?;
        }
        let before = now();
        self.taken = self.read(events);
        // The answer to what seems overdue may lie in what was not read yet.
        if self.taken < RECORDS_AT_ONCE {
            self.settle(before, events);
        }
        Ok(())
    }

    async fn finish(&mut self, events: &mut VecDeque<Event>) -> io::Result<()> {
        // Nothing more goes in, so what is in comes to an end.
        self.hooks.clear();
        while self.read(events) > 0 {}
        // What was held has its wait still to come.
        for _ in 0..4 {
            sleep(READ_EVERY).await;
            let before = now();
            while self.read(events) > 0 {}
            self.settle(before, events);
        }
        let mut questions = Questions { ebpf: &mut self.ebpf, diag: &mut self.diag };
        self.assembler.finish(now(), &mut questions, events);
        self.count(events)
    }
}

/// Asks the kernel for what the ring did not bring.
struct Questions<'a> {
    ebpf: &'a mut Ebpf,
    diag: &'a mut Diag,
}

impl Ask for Questions<'_> {
    fn local_port(&mut self, sock: u64, cookie: u64) -> Option<u16> {
        let program: &mut RawTracePoint = program(self.ebpf, LOCAL_PORT).ok()?;
        let mut options = RawTracePointRunOptions::new();
        options.args[0] = sock;
        options.args[1] = cookie;
        match program.test_run(options) {
            Ok(result) => u16::try_from(result.return_value).ok().filter(|port| *port != 0),
            Err(error) => {
                log::warn!("asking for a local port: {error}");
                None
            }
        }
    }

    fn minisockets(&mut self, asked: &[Question]) -> Vec<Found> {
        self.diag.minisockets(asked)
    }
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, LoadError> {
    ebpf.take_map(name).ok_or_else(|| LoadError::Refused {
        what: name.to_owned(),
        reason: "the object has no such map".to_owned(),
    })
}

/// `CLOCK_MONOTONIC`, ns: the clock of `bpf_ktime_get_ns`.
fn now() -> u64 {
    nanoseconds(ClockId::Monotonic).cast_unsigned()
}

/// The wall time between two looks at the monotonic clock, of the closest of a few tries: a
/// preemption between them would shift every time that is shown.
fn anchor() -> Anchor {
    const TRIES: usize = 5;
    let look = || {
        let (before, wall, after) = (now(), nanoseconds(ClockId::Realtime), now());
        (after - before, Anchor { monotonic: before + (after - before) / 2, wall })
    };
    let closest = (0..TRIES).map(|_| look()).min_by_key(|(apart, _)| *apart);
    closest.map(|(_, anchor)| anchor).unwrap_or_default()
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
