//! Decides when the next dump begins, and hands it to the thread that reads dumps.
//!
//! The thread lasts as long as the session, so that the rings are never left alone, and a host
//! without a free thread or descriptor does not end the session. A budget keeps the dumps from
//! slowing down a host with a million sockets.

use std::{
    fs::File,
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc as requests,
    thread,
    time::{Duration, Instant},
};

use netmon_common::Offsets;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TryRecvError};

use super::dumps::{DumpMessage, DumpSource, Wanted, dump, walk_cgroups};
use crate::kernel::{
    host::{clock::used, shortage::Shortage},
    sockets::dump::ProgramRequest,
};

/// The least time from the start of a dump to the next, also after a failed dump.
const EVERY: Duration = Duration::from_secs(2);
/// The time between dumps if nothing happens. A walk of the kernel's hash table takes milliseconds,
/// even if the table is empty.
const AT_REST: Duration = Duration::from_secs(60);
/// The least time between two walks over the cgroups: users can make any number of cgroups.
const BETWEEN_WALKS: Duration = Duration::from_secs(60);
/// The number of dumps after a change: the first notices a difference, the next confirms it.
const UNTIL_SURE: u8 = 2;
/// The distance between dumps from which on it is shown to users.
pub(in crate::kernel) const RARE: Duration = Duration::from_secs(10);
/// Dumps may take a fiftieth of one core, 2 %, the table's comparison included.
const BUDGET: u32 = 50;
/// Blocks on the way to the table, a few hundred sockets each.
const AHEAD: usize = 8;
/// The most descriptors that a dump has open at once: two directories and a namespace, or a link,
/// an iterator and a namespace.
const DESCRIPTORS: usize = 4;

/// A dump to read.
struct Request {
    to: Sender<DumpMessage>,
    wanted: Wanted,
}

/// The running dump, if there is one, and the time of the next.
pub(super) struct DumpSchedule {
    /// The way to the thread, once it is there.
    requests: Option<requests::Sender<Request>>,
    messages: Option<Receiver<DumpMessage>>,
    source: DumpSource,
    offsets: Offsets,
    /// Processes are followed.
    processes: Option<ProgramRequest>,
    /// The next dump is to have the processes too.
    wants_processes: bool,
    /// The next dump is to have the cgroups too, unless the last walk was just before.
    wants_cgroups: bool,
    /// The last walk over the cgroups.
    walked_at: Option<Instant>,
    /// The parts of the running dump beside the sockets.
    running: Wanted,
    /// The CPU time that the loop has spent on the running dump.
    charged: Duration,
    /// The start of the last dump.
    last: Instant,
    /// The start of the last dump that was complete.
    last_complete: Option<Instant>,
    /// The earliest time that the budget permits.
    allowed: Instant,
    hurry: bool,
    /// The number of dumps that are wanted soon, because something happened.
    unsettled: u8,
    /// `true` once a failed dump was reported.
    was_reported: bool,
}

impl DumpSchedule {
    /// `processes`: processes are followed.
    pub(in crate::kernel) fn new(
        source: DumpSource,
        offsets: Offsets,
        processes: Option<ProgramRequest>,
    ) -> Self {
        let now = Instant::now();
        Self {
            requests: None,
            messages: None,
            source,
            offsets,
            processes,
            wants_processes: true,
            wants_cgroups: true,
            walked_at: None,
            running: Wanted::default(),
            charged: Duration::ZERO,
            last: now,
            last_complete: None,
            allowed: now,
            hurry: false,
            unsettled: UNTIL_SURE,
            was_reported: false,
        }
    }

    /// Returns whether dumps are read through iterators.
    pub(super) fn has_iterators(&self) -> bool {
        !matches!(self.source, DumpSource::Proc)
    }

    /// Asks for the next dump as soon as the budget permits, because events were lost.
    pub(super) fn dump_soon(&mut self) {
        self.hurry = true;
        self.expect_change();
    }

    /// Has the next dump look for processes too, as soon as the budget permits.
    pub(super) fn want_processes(&mut self) {
        self.wants_processes = true;
        self.dump_soon();
    }

    /// Has the next dump look for cgroups too.
    pub(super) fn want_cgroups(&mut self) {
        self.wants_cgroups = true;
        self.expect_change();
    }

    /// Keeps the next dumps from waiting for long, because something happened or is about to
    /// happen.
    pub(super) fn expect_change(&mut self) {
        self.unsettled = UNTIL_SURE;
    }

    /// Returns the time from the last complete dump to the next on a busy host; none if no dump
    /// was complete.
    pub(super) fn distance(&self) -> Option<Duration> {
        let complete = self.last_complete?;
        Some(self.allowed.saturating_duration_since(complete).max(EVERY))
    }

    /// Returns that time if it is so long that it is shown to users.
    pub(super) fn rare(&self) -> Option<Duration> {
        self.distance().filter(|distance| *distance > RARE)
    }

    pub(super) fn is_running(&self) -> bool {
        self.messages.is_some()
    }

    /// Returns the time at which the next dump begins, unless one is running.
    pub(in crate::kernel) fn due(&self) -> Option<Instant> {
        let distance = match self.unsettled {
            _ if self.hurry => Duration::ZERO,
            0 => AT_REST,
            _ => EVERY,
        };
        let wanted = self.last + distance;
        (!self.is_running()).then(|| wanted.max(self.allowed))
    }

    /// Begins a dump. Returns whether it began: if not, the next comes after a while.
    pub(in crate::kernel) fn begin(&mut self) -> bool {
        self.hurry = false;
        self.unsettled = self.unsettled.saturating_sub(1);
        self.last = Instant::now();
        match self.hand_over() {
            Ok(messages) => self.messages = Some(messages),
            Err(error) => self.put_off(Duration::ZERO, &error),
        }
        self.is_running()
    }

    /// Hands a dump to the thread, which is started first if it is not there.
    fn hand_over(&mut self) -> io::Result<Receiver<DumpMessage>> {
        let (to, messages) = channel(AHEAD);
        let wants_processes = mem::take(&mut self.wants_processes);
        let may_walk = self.walked_at.is_none_or(|at| at.elapsed() >= BETWEEN_WALKS);
        let wanted = Wanted {
            processes: self.processes.filter(|_| wants_processes),
            cgroups: self.wants_cgroups && may_walk,
        };
        if wanted.cgroups {
            (self.wants_cgroups, self.walked_at) = (false, Some(Instant::now()));
        }
        self.running = wanted;
        let request = Request { to, wanted };
        // Only a panic that even the thread did not survive closes the way.
        let request = match &self.requests {
            Some(requests) => match requests.send(request) {
                Ok(()) => return Ok(messages),
                Err(requests::SendError(request)) => request,
            },
            None => request,
        };
        let (requests, to_do) = requests::channel();
        let (source, offsets) = (self.source.clone(), self.offsets);
        // The thread has the privileges of the loop, which has given up the others before.
        let thread = thread::Builder::new().name("netmon:dump".to_owned());
        thread.spawn(move || dump_all(&to_do, &source, &offsets)).map_err(Shortage::of_thread)?;
        requests.send(request).map_err(io::Error::other)?;
        self.requests = Some(requests);
        Ok(messages)
    }

    /// Adds CPU time that the loop has spent on the running dump to the cost of the dump.
    pub(super) fn charge(&mut self, cost: Duration) {
        self.charged += cost;
    }

    /// Waits for the next message of the dump; waits for ever if no dump is running.
    pub(in crate::kernel) async fn next(&mut self) -> Option<DumpMessage> {
        match &mut self.messages {
            Some(messages) => {
                let message = messages.recv().await;
                self.note(message)
            }
            None => std::future::pending().await,
        }
    }

    /// Returns the next message of the dump without waiting.
    pub(super) fn try_next(&mut self) -> Option<DumpMessage> {
        match self.messages.as_mut()?.try_recv() {
            Ok(message) => self.note(Some(message)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => self.note(None),
        }
    }

    fn note(&mut self, message: Option<DumpMessage>) -> Option<DumpMessage> {
        match message {
            Some(DumpMessage::Done { cost }) => {
                let cost = cost + mem::take(&mut self.charged);
                self.messages = None;
                self.last_complete = Some(self.last);
                self.allowed = Instant::now() + distance(cost);
                log::debug!("compared with the kernel's tables, in {cost:?}");
                Some(DumpMessage::Done { cost })
            }
            Some(DumpMessage::GaveUp { cost, error }) => {
                self.put_off(cost, &error);
                Some(DumpMessage::GaveUp { cost, error })
            }
            None => {
                let error = io::Error::other("the thread of dumps ended");
                self.note(Some(DumpMessage::GaveUp { cost: Duration::ZERO, error }))
            }
            message => message,
        }
    }

    /// Tries again later what has failed.
    fn put_off(&mut self, cost: Duration, error: &io::Error) {
        let cost = cost + mem::take(&mut self.charged);
        self.messages = None;
        self.wants_processes |= self.running.processes.is_some();
        self.wants_cgroups |= self.running.cgroups;
        self.expect_change();
        self.allowed = Instant::now() + EVERY.max(distance(cost));
        let first = !mem::replace(&mut self.was_reported, true);
        let level = if first { log::Level::Warn } else { log::Level::Debug };
        let why = Shortage::of(error).map_or_else(|| error.to_string(), |why| why.to_string());
        log::log!(
            level,
            "cannot compare with the kernel's tables: {why}; netmon goes on, and tries again every \
             {} s",
            EVERY.as_secs()
        );
    }
}

/// Returns the time that the budget demands after a dump of that cost.
fn distance(cost: Duration) -> Duration {
    // The table's comparison takes less time than the reader, and counts as half. So the reader
    // gets 1/75 of a core, about 1.3 %.
    cost * BUDGET * 3 / 2
}

/// Reads a dump for each request, until the session is over.
fn dump_all(to_do: &requests::Receiver<Request>, source: &DumpSource, offsets: &Offsets) {
    let mut reserve = DescriptorReserve::default();
    for Request { to, wanted } in to_do {
        reserve.release();
        let mut before = used();
        // A dump that panics is as good as one that fails.
        let result = catch_unwind(AssertUnwindSafe(|| {
            if wanted.cgroups {
                walk_cgroups(&to)?;
                before = used();
            }
            dump(&to, source, offsets, wanted)
        }))
        .unwrap_or_else(|_| Err(io::Error::other("the thread of dumps panicked")));
        let cost = used().saturating_sub(before);
        reserve.fill();
        // The receiver is gone when the session is over.
        let _ = to.blocking_send(match result {
            Ok(()) => DumpMessage::Done { cost },
            Err(error) => DumpMessage::GaveUp { cost, error },
        });
    }
}

/// Descriptors that are kept for the next dump. No iterator can be read twice, so that each dump
/// has to open its own, however many files netmon has open by then.
#[derive(Default)]
struct DescriptorReserve(Vec<File>);

impl DescriptorReserve {
    fn fill(&mut self) {
        while self.0.len() < DESCRIPTORS {
            // Without a free descriptor, the next dump needs luck.
            let Ok(file) = File::open("/dev/null") else { return };
            self.0.push(file);
        }
    }

    fn release(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_dump_is_put_off_and_not_the_end() {
        let mut schedule = DumpSchedule::new(DumpSource::Iterators, Offsets::default(), None);
        let (to, messages) = channel(AHEAD);
        schedule.messages = Some(messages);
        schedule.unsettled = 0;
        let error = io::Error::from_raw_os_error(libc::EMFILE);
        let cost = Duration::from_millis(100);
        to.try_send(DumpMessage::GaveUp { cost, error }).expect("room");
        assert!(matches!(schedule.try_next(), Some(DumpMessage::GaveUp { .. })));
        assert!(!schedule.is_running());
        let due = schedule.due().expect("none is running");
        let wait = due.saturating_duration_since(Instant::now());
        // The budget counts failed dumps too: 75 times 100 ms.
        assert!(wait > Duration::from_secs(7) && wait < Duration::from_secs(8), "{wait:?}");
        schedule.dump_soon();
        assert_eq!(schedule.due(), Some(due), "a loss does not make it busy");
    }

    #[test]
    fn a_dump_that_costs_much_makes_dumps_rare() {
        let mut schedule = DumpSchedule::new(DumpSource::Iterators, Offsets::default(), None);
        assert_eq!((schedule.distance(), schedule.rare()), (None, None), "none was complete");
        let mut take = |message| {
            let (to, messages) = channel(AHEAD);
            schedule.messages = Some(messages);
            to.try_send(message).expect("room");
            assert!(schedule.try_next().is_some());
            schedule.rare().map(|distance| distance.as_secs())
        };
        let done = |ms| DumpMessage::Done { cost: Duration::from_millis(ms) };
        assert_eq!(take(done(1)), None);
        // 75 times the cost.
        assert_eq!(take(done(200)), Some(15));
        assert_eq!(take(done(1)), None);
        let error = || io::Error::from_raw_os_error(libc::EMFILE);
        let failed = |ms| DumpMessage::GaveUp { cost: Duration::from_millis(ms), error: error() };
        assert_eq!(take(failed(1)), None);
        assert_eq!(take(failed(400)), Some(30), "it counts from the last complete dump");
    }

    #[test]
    fn descriptors_are_kept_between_dumps() {
        let mut reserve = DescriptorReserve::default();
        reserve.fill();
        assert_eq!(reserve.0.len(), DESCRIPTORS);
        reserve.release();
        assert!(reserve.0.is_empty());
    }
}
