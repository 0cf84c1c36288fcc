//! Dumps every TCP socket of every namespace, repeatedly, so that the table can compare itself.
//!
//! A separate thread reads each dump, a block at a time, so that the rings are never left alone. A
//! budget keeps the dumps from slowing down a host with a million sockets.

use std::{
    fmt, io,
    sync::{Arc, Once, mpsc as answer},
    thread,
    time::{Duration, Instant},
};

use aya::programs::iter::IterLink;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{
    core::{
        event::Seed,
        id::SocketId,
        process::{Owner, SocketHolders},
        socket::{Protocol, Socket, TimerKind},
        tcp::TcpState,
        time::Mono,
    },
    kernel::{
        host::{
            clock::{now, used},
            netns::Namespace,
            privilege::{self, Duty},
        },
        program::iterators::BpfIter,
        sockets::{
            bpf_iter::IterFile,
            dump::{Dump, DumpRequest, is_initial_pid_namespace},
        },
    },
};

/// The least time from the start of a dump to the next.
const EVERY: Duration = Duration::from_secs(2);
/// The time between dumps if nothing happens. A walk of the kernel's hash table takes milliseconds,
/// even if the table is empty.
const AT_REST: Duration = Duration::from_secs(60);
/// The number of dumps after a change: the first notices a difference, the next confirms it.
const UNTIL_SURE: u8 = 2;
/// Dumps may take a fiftieth of one core, 2 %, the table's comparison included.
const BUDGET: u32 = 50;
/// Blocks on the way to the table, a few hundred sockets each.
const AHEAD: usize = 8;
/// The number of sockets in one message, if they come from `/proc`.
const TOGETHER: usize = 512;

/// The warning about namespaces is logged once, not for every dump.
static NAMESPACES_WARNING: Once = Once::new();
/// The warning about owners is logged once too.
static OWNERS_WARNING: Once = Once::new();

/// A message of the thread that reads a dump.
pub(super) enum DumpMessage {
    /// The thread needs an iterator, which only the loaded program can make.
    Link(BpfIter, answer::Sender<io::Result<IterLink>>),
    /// Some sockets, read after `time`.
    Seeds { time: Mono, seeds: Vec<Seed> },
    /// Failed sockets that a process still holds, by cookie, with the error; read after `time`.
    Failed { time: Mono, failed: Vec<(SocketId, u8)> },
    /// The dump has sent every socket of a namespace, read since `began`.
    Dumped { netns: u32, began: Mono },
    /// All namespaces are done; `cost` is the CPU time of the thread.
    Done { cost: Duration },
}

/// The running dump, if there is one, and the time of the next.
pub(super) struct DumpSchedule {
    messages: Option<Receiver<DumpMessage>>,
    /// `true` if dumps use iterators; otherwise `/proc` and sock_diag.
    iterators: bool,
    last: Instant,
    /// The earliest time that the budget permits.
    allowed: Instant,
    hurry: bool,
    /// The number of dumps that are wanted soon, because something happened.
    unsettled: u8,
    /// `true` after a dump has failed, and a warning was logged.
    failed: bool,
}

impl DumpSchedule {
    pub(in crate::kernel) fn new(iterators: bool) -> Self {
        let now = Instant::now();
        Self {
            messages: None,
            iterators,
            last: now,
            allowed: now,
            hurry: false,
            unsettled: UNTIL_SURE,
            failed: false,
        }
    }

    /// Returns whether dumps are read through iterators.
    pub(super) fn has_iterators(&self) -> bool {
        self.iterators
    }

    /// Asks for the next dump as soon as the budget permits, because events were lost.
    pub(super) fn dump_soon(&mut self) {
        self.hurry = true;
        self.expect_change();
    }

    /// Keeps the next dumps from waiting for long, because something happened or is about to
    /// happen.
    pub(super) fn expect_change(&mut self) {
        self.unsettled = UNTIL_SURE;
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

    /// Begins a dump.
    pub(in crate::kernel) fn begin(&mut self) -> io::Result<()> {
        let (to, messages) = channel(AHEAD);
        let (iterators, failed) = (self.iterators, self.failed);
        self.hurry = false;
        self.unsettled = self.unsettled.saturating_sub(1);
        self.last = Instant::now();
        // However the dump ends, the thread ends and closes the channel.
        thread::Builder::new().name("netmon:dump".to_owned()).spawn(move || {
            if let Err(error) = dump(&to, iterators) {
                let level = if failed { log::Level::Debug } else { log::Level::Warn };
                log::log!(level, "cannot compare with the kernel's tables: {error}");
            }
        })?;
        self.messages = Some(messages);
        Ok(())
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
        use tokio::sync::mpsc::error::TryRecvError;
        match self.messages.as_mut()?.try_recv() {
            Ok(message) => self.note(Some(message)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => self.note(None),
        }
    }

    fn note(&mut self, message: Option<DumpMessage>) -> Option<DumpMessage> {
        let cost = match &message {
            Some(DumpMessage::Done { cost }) => *cost,
            // The dump failed; the next one may succeed.
            None => {
                self.failed = true;
                Duration::ZERO
            }
            Some(_) => return message,
        };
        self.messages = None;
        // The table's comparison takes less time than the reader, and counts as half. So the reader
        // gets 1/75 of a core, about 1.3 %.
        self.allowed = Instant::now() + cost * BUDGET * 3 / 2;
        log::debug!("compared with the kernel's tables, in {cost:?}");
        message
    }
}

/// Logs a count of refusals; warns once, if a capability is missing.
fn report_refusals(once: &Once, refused: usize, duty: Duty, message: fmt::Arguments<'_>) {
    if refused == 0 {
        return;
    }
    log::debug!("{message}");
    if !privilege::missing(duty).is_empty() {
        once.call_once(|| log::warn!("{message}{}", privilege::advice(duty)));
    }
}

/// Returns the error after the receiver is gone, because the session is over.
fn is_over<T>(_: T) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn dump(to: &Sender<DumpMessage>, iterators: bool) -> io::Result<()> {
    let result = if iterators { through_iterators(to) } else { through_proc(to) };
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
        Ok(()) => to.blocking_send(DumpMessage::Done { cost: used() }).or(Ok(())),
    }
}

fn through_iterators(to: &Sender<DumpMessage>) -> io::Result<()> {
    let own = Namespace::current()?;
    // Iterators report process ids of the initial pid namespace. In another pid namespace these ids
    // mean nothing.
    let time = now();
    let (owners, failed) = IterFile::open(link(to, BpfIter::Files)?, &own)?.owners()?;
    let owners = if is_initial_pid_namespace() { owners } else { SocketHolders::default() };
    to.blocking_send(DumpMessage::Failed { time, failed }).map_err(is_over)?;
    let mut holders = HolderCache::new(owners);
    each_namespace(to, |namespace| {
        let mut table = IterFile::open(link(to, BpfIter::Tcp)?, namespace)?;
        loop {
            let time = now();
            let Some(block) = table.block()? else { return Ok(()) };
            let mut seeds = Vec::new();
            table.decode(&block, &mut |socket| {
                seeds.extend(seed(&socket, &mut holders, time));
                Ok(())
            })?;
            to.blocking_send(DumpMessage::Seeds { time, seeds }).map_err(is_over)?;
        }
    })
}

fn link(to: &Sender<DumpMessage>, walk: BpfIter) -> io::Result<IterLink> {
    let (answer, link) = answer::channel();
    to.blocking_send(DumpMessage::Link(walk, answer)).map_err(is_over)?;
    link.recv().map_err(is_over)?
}

fn through_proc(to: &Sender<DumpMessage>) -> io::Result<()> {
    let want = DumpRequest {
        protocols: vec![Protocol::Tcp],
        info: false,
        identity: true,
        owners: true,
        filter: netmon_common::KernelFilter::ANY,
    };
    let mut tables = Dump::through_proc(want);
    let (owners, refused) = tables.owners()?;
    report_refusals(
        &OWNERS_WARNING,
        refused,
        Duty::Look,
        format_args!(
            "cannot see the sockets of {refused} processes: connections that existed before have \
             no owner"
        ),
    );
    let mut holders = HolderCache::new(owners);
    each_namespace(to, |namespace| {
        let time = now();
        let mut seeds = Vec::new();
        tables.sockets(namespace, |socket| {
            seeds.extend(seed(&socket, &mut holders, time));
            Ok(())
        })?;
        while !seeds.is_empty() {
            let rest = seeds.split_off(seeds.len().min(TOGETHER));
            to.blocking_send(DumpMessage::Seeds { time, seeds }).map_err(is_over)?;
            seeds = rest;
        }
        Ok(())
    })
}

fn each_namespace(
    to: &Sender<DumpMessage>,
    mut dump: impl FnMut(&Namespace) -> io::Result<()>,
) -> io::Result<()> {
    let (namespaces, refused) = Namespace::all()?;
    report_refusals(
        &NAMESPACES_WARNING,
        refused,
        Duty::Enter,
        format_args!(
            "cannot enter the network namespaces of {refused} processes or names: unless netmon \
             is in the same one, transitions there are shown, but existing connections are not, \
             and losses are not repaired"
        ),
    );
    for namespace in &namespaces {
        let began = now();
        match dump(namespace) {
            Ok(()) => to
                .blocking_send(DumpMessage::Dumped { netns: namespace.inum, began })
                .map_err(is_over)?,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error),
            // A namespace that has ended, or cannot be entered, must not hide the others.
            Err(error) => log::debug!("network namespace {}: {error}", namespace.inum),
        }
    }
    Ok(())
}

/// The holders of each socket. A process that holds many sockets is one owner.
struct HolderCache {
    owners: SocketHolders,
    cache: FxHashMap<(u32, u32, u64), Arc<Owner>>,
}

impl HolderCache {
    fn new(owners: SocketHolders) -> Self {
        Self { owners, cache: FxHashMap::default() }
    }

    fn owner_of(&mut self, socket: &Socket) -> Option<Arc<Owner>> {
        let process = *self.owners.of(socket.holder_key()).first()?;
        let uid = socket.uid.unwrap_or_default();
        let cgroup = socket.cgroup.map_or(0, Into::into);
        let owner = self.cache.entry((process.pid, uid, cgroup)).or_insert_with(|| {
            Arc::new(Owner { pid: process.pid, uid, cgroup, comm: process.comm.clone() })
        });
        Some(Arc::clone(owner))
    }
}

fn seed(socket: &Socket, holders: &mut HolderCache, time: Mono) -> Option<Seed> {
    let waits = socket.timer.is_some_and(|timer| timer.kind == TimerKind::TimeWait);
    Some(Seed {
        time,
        cookie: socket.cookie?,
        tuple: socket.tuple,
        state: socket.state,
        minisocket: waits && matches!(socket.state, TcpState::TimeWait | TcpState::FinWait2),
        owner: holders.owner_of(socket),
    })
}
