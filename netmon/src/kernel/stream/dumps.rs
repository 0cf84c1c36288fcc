//! Dumps every TCP socket of every namespace, a block at a time, for the table to compare itself.

use std::{
    fmt, io,
    sync::{Arc, Once, mpsc as answer},
    time::Duration,
};

use aya::programs::iter::IterLink;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::Sender;

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
            clock::now,
            netns::Namespace,
            privilege::{self, Duty},
            shortage::Shortage,
        },
        program::iterators::BpfIter,
        sockets::{
            bpf_iter::IterFile,
            dump::{Dump, DumpRequest, is_initial_pid_namespace},
        },
    },
};

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
    /// The dump ended early. The next may succeed.
    GaveUp { cost: Duration, error: io::Error },
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

/// Reads one dump.
///
/// # Errors
/// `BrokenPipe` if the receiver is gone, otherwise the kernel's answer.
pub(super) fn dump(to: &Sender<DumpMessage>, iterators: bool) -> io::Result<()> {
    if iterators { through_iterators(to) } else { through_proc(to) }
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
            // The other namespaces would be missing too.
            Err(error) if Shortage::of(&error).is_some() => return Err(error),
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
