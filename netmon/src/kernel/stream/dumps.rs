//! Dumps of every TCP socket of every namespace, again and again, for the table to compare itself with.
//!
//! Each is read by a thread of its own, a block at a time, so that the ring is never left alone; and on a
//! budget, so that a host with a million sockets is not slowed down by being looked at.

use std::{
    io,
    sync::{Arc, Once, mpsc as answer},
    thread,
    time::{Duration, Instant},
};

use aya::programs::iter::IterLink;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{
    core::{
        event::{Owner, Seed},
        process::SocketHolders,
        socket::{Protocol, Socket, TimerKind},
        tcp::TcpState,
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

/// Dumps follow each other at this distance at least.
const EVERY: Duration = Duration::from_secs(2);
/// And at this one where nothing happens: to walk the kernel's hash table takes milliseconds, also an empty one.
const AT_REST: Duration = Duration::from_secs(60);
/// One dump notices what has changed, the next is sure of it.
const UNTIL_SURE: u8 = 2;
/// They may take a fiftieth of one core: 2 %.
const BUDGET: u32 = 50;
/// Blocks on their way to the table: a few hundred sockets each.
const AHEAD: usize = 8;
/// Sockets that are found through `/proc` travel together in such numbers.
const TOGETHER: usize = 512;

/// What is said once, however many dumps there are.
static NAMESPACES: Once = Once::new();
static OWNERS: Once = Once::new();

/// What the thread that reads a dump says.
pub(super) enum DumpMessage {
    /// It needs an iterator, which takes the loaded program to make.
    Link(BpfIter, answer::Sender<io::Result<IterLink>>),
    /// Some sockets, read after `time`, `CLOCK_MONOTONIC`, ns.
    Seeds { time: u64, seeds: Vec<Seed> },
    /// Sockets that failed and are still held, by cookie, with the error, read after `time`.
    Failed { time: u64, failed: Vec<(u64, u8)> },
    /// Those were all of a namespace, since `began`.
    Dumped { netns: u32, began: u64 },
    /// All namespaces are done.
    Done { cost: Duration },
}

/// The dump under way, if one is, and when the next may be.
pub(super) struct DumpSchedule {
    messages: Option<Receiver<DumpMessage>>,
    /// Whether iterators can be had; else `/proc` and sock_diag tell.
    iterators: bool,
    last: Instant,
    /// What the budget has room for.
    allowed: Instant,
    hurry: bool,
    /// Dumps that are wanted soon, since something happened.
    unsettled: u8,
    /// Whether one has failed, and that was said.
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

    /// Whether dumps are read through iterators.
    pub(super) fn has_iterators(&self) -> bool {
        self.iterators
    }

    /// Something was lost: the next dump is wanted as soon as the budget has room for it.
    pub(super) fn dump_soon(&mut self) {
        self.hurry = true;
        self.expect_change();
    }

    /// Something happened, or is about to: the next dumps are not to wait for long.
    pub(super) fn expect_change(&mut self) {
        self.unsettled = UNTIL_SURE;
    }

    pub(super) fn is_running(&self) -> bool {
        self.messages.is_some()
    }

    /// When the next dump begins, unless one is under way.
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
        // Whatever keeps it from ending well, it ends, and with it the channel.
        thread::Builder::new().name("netmon:dump".to_owned()).spawn(move || {
            if let Err(error) = dump(&to, iterators) {
                let level = if failed { log::Level::Debug } else { log::Level::Warn };
                log::log!(level, "comparing with the kernel's tables: {error}");
            }
        })?;
        self.messages = Some(messages);
        Ok(())
    }

    /// What the dump has to say, once it says something; pends for ever when none is under way.
    pub(in crate::kernel) async fn next(&mut self) -> Option<DumpMessage> {
        match &mut self.messages {
            Some(messages) => {
                let message = messages.recv().await;
                self.note(message)
            }
            None => std::future::pending().await,
        }
    }

    /// The same without waiting.
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
            // It failed: the next may do better.
            None => {
                self.failed = true;
                Duration::ZERO
            }
            Some(_) => return message,
        };
        self.messages = None;
        // The table's part in it, comparing, is less than that of the reader.
        self.allowed = Instant::now() + cost * BUDGET * 3 / 2;
        log::debug!("compared with the kernel's tables, in {cost:?}");
        message
    }
}

/// Says once how many refused, where that is for want of a capability.
fn say(once: &Once, refused: usize, duty: Duty, what: &str) {
    if refused == 0 {
        return;
    }
    log::debug!("{refused} {what}");
    if !privilege::missing(duty).is_empty() {
        once.call_once(|| log::warn!("{refused} {what}{}", privilege::advice(duty)));
    }
}

/// Nobody listens any more: the session is over.
fn is_over<T>(_: T) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn dump(to: &Sender<DumpMessage>, iterators: bool) -> io::Result<()> {
    let result = if iterators { through_iterators(to) } else { through_proc(to) };
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            to.blocking_send(DumpMessage::Done { cost: Duration::from_nanos(used()) }).or(Ok(()))
        }
    }
}

fn through_iterators(to: &Sender<DumpMessage>) -> io::Result<()> {
    let own = Namespace::current()?;
    // Iterators tell process ids of the host's, which mean nothing where others are in use.
    let time = now();
    let (owners, failed) = IterFile::open(link(to, BpfIter::Files)?, &own)?.owners()?;
    let owners = if is_initial_pid_namespace() { owners } else { SocketHolders::default() };
    to.blocking_send(DumpMessage::Failed { time, failed }).map_err(is_over)?;
    let mut holders = Holders::new(owners);
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
    say(
        &OWNERS,
        refused,
        Duty::Look,
        "processes do not show what they hold: connections that were there before have no owner",
    );
    let mut holders = Holders::new(owners);
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
    say(
        &NAMESPACES,
        refused,
        Duty::Enter,
        "processes or names do not let netmon into their network namespace: where that is another one, \
         transitions are seen, but not what was there before, and losses are not repaired",
    );
    for namespace in &namespaces {
        let began = now();
        match dump(namespace) {
            Ok(()) => to
                .blocking_send(DumpMessage::Dumped { netns: namespace.inum, began })
                .map_err(is_over)?,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error),
            // One that ended meanwhile, or cannot be entered, does not keep the others from being seen.
            Err(error) => log::debug!("network namespace {}: {error}", namespace.inum),
        }
    }
    Ok(())
}

/// Who holds what; a process that holds many sockets is one owner.
struct Holders {
    owners: SocketHolders,
    known: FxHashMap<(u32, u32, u64), Arc<Owner>>,
}

impl Holders {
    fn new(owners: SocketHolders) -> Self {
        Self { owners, known: FxHashMap::default() }
    }

    fn of(&mut self, socket: &Socket) -> Option<Arc<Owner>> {
        let process = *self.owners.of(socket.inode).first()?;
        let uid = socket.uid.unwrap_or_default();
        let cgroup = socket.cgroup.map_or(0, Into::into);
        let owner = self.known.entry((process.pid, uid, cgroup)).or_insert_with(|| {
            Arc::new(Owner { pid: process.pid, uid, cgroup, comm: process.comm.clone() })
        });
        Some(Arc::clone(owner))
    }
}

fn seed(socket: &Socket, holders: &mut Holders, time: u64) -> Option<Seed> {
    let waits = socket.timer.is_some_and(|timer| timer.kind == TimerKind::TimeWait);
    Some(Seed {
        time,
        cookie: socket.cookie?.get(),
        tuple: socket.tuple,
        state: socket.state,
        minisocket: waits && matches!(socket.state, TcpState::TimeWait | TcpState::FinWait2),
        owner: holders.of(socket),
    })
}
