//! Dumps every TCP socket of every namespace, a block at a time, for the table to compare itself.

use std::{
    io,
    sync::{Arc, Mutex, Once, PoisonError, mpsc as answer},
    time::Duration,
};

use aya::{Ebpf, programs::iter::IterLink};
use netmon_common::Offsets;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::Sender;

use crate::{
    core::{
        cgroup::Cgroup,
        cgroups::CgroupWalk,
        event::{DumpScope, Seed},
        id::SocketId,
        process::{Owner, Process, ProcessKey, SocketHolders},
        processes::SeenProcess,
        socket::{Protocol, Socket, TimerKind},
        tcp::TcpState,
        time::Mono,
    },
    kernel::{
        host::{
            cgroups::cgroups,
            clock::now,
            namespaces::Namespaces,
            netns::Namespace,
            netns_names::netns_text,
            privilege::{self, Duty},
            shortage::Shortage,
        },
        program::{
            iterators::{self, BpfIter},
            peek,
            walk::run,
        },
        sockets::{
            bpf_iter::IterFile,
            dump::{Dump, DumpRequest, ProgramRequest},
            proc::programs,
            walk::{Block, Walk},
        },
    },
};

/// The number of sockets in one message, if they come from `/proc`.
const TOGETHER: usize = 512;

/// The warning about namespaces is logged once, not for every dump.
static NAMESPACES_WARNING: Once = Once::new();
/// The owners of connections from before are counted once.
static FIRST_DUMP: Once = Once::new();

/// Work for the thread that has the loaded program.
pub(super) type KernelWork = Box<dyn FnOnce(&mut Ebpf) + Send>;

/// The source of dumps.
#[derive(Clone)]
pub(super) enum DumpSource {
    /// One walk over the sockets of all namespaces, and iterators for sockets without a cookie.
    Walk(Arc<Mutex<Walk>>),
    /// An iterator for each namespace.
    Iterators,
    /// `/proc` and sock_diag.
    Proc,
}

impl DumpSource {
    pub(super) fn walk(walk: Walk) -> Self {
        Self::Walk(Arc::new(Mutex::new(walk)))
    }
}

/// A message of the thread that reads a dump.
pub(super) enum DumpMessage {
    /// The thread needs something that only the loaded program can do.
    Work(KernelWork),
    /// The cgroups of the host, before the sockets in them.
    Cgroups(CgroupWalk),
    /// The processes of the host, before the sockets that they hold.
    Processes(Vec<SeenProcess>),
    /// Some sockets, sent at `sent`; their holders were read after `held`.
    Seeds { sent: Mono, held: Mono, seeds: Vec<Seed> },
    /// Failed sockets that a process still holds, by cookie, with the error; read after `time`.
    Failed { time: Mono, failed: Vec<(SocketId, u8)> },
    /// The dump has sent every socket of `scope`, read since `began`.
    Dumped { scope: DumpScope, began: Mono },
    /// All namespaces are done; `cost` is the CPU time of the thread.
    Done { cost: Duration },
    /// The dump ended early. The next may succeed.
    GaveUp { cost: Duration, error: io::Error },
}

/// Logs the loss of what is in other namespaces; as a warning the first time.
fn warn_of_namespaces(message: &str) {
    log::debug!("{message}");
    NAMESPACES_WARNING.call_once(|| log::warn!("{message}{}", privilege::advice_to_enter()));
}

/// Returns the error after the receiver is gone, because the session is over.
fn is_over<T>(_: T) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

/// The parts of a dump beside the sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// The processes of the host.
    pub(super) processes: Option<ProgramRequest>,
    /// The cgroups of the host.
    pub(super) cgroups: bool,
}

/// Reads the cgroups, whose number any user may raise: the walk is rare, and does not put the next
/// dump off.
pub(super) fn walk_cgroups(to: &Sender<DumpMessage>) -> io::Result<()> {
    to.blocking_send(DumpMessage::Cgroups(cgroups())).map_err(is_over)
}

/// Reads one dump.
///
/// # Errors
/// `BrokenPipe` if the receiver is gone, otherwise the kernel's answer.
pub(super) fn dump(
    to: &Sender<DumpMessage>,
    source: &DumpSource,
    offsets: &Offsets,
    wanted: Wanted,
) -> io::Result<()> {
    if let Some(request) = wanted.processes {
        let seen = programs::running(request.arguments)?;
        to.blocking_send(DumpMessage::Processes(seen)).map_err(is_over)?;
    }
    match source {
        DumpSource::Walk(walk) => {
            through_walk(to, &mut walk.lock().unwrap_or_else(PoisonError::into_inner))
        }
        DumpSource::Iterators => {
            let mut holders = holders(to)?;
            each_namespace(to, offsets, |namespace| iterate(to, namespace, &mut holders))
        }
        DumpSource::Proc => through_proc(to, offsets),
    }
}

/// Reads the processes that hold sockets, and sends the failed sockets.
fn holders(to: &Sender<DumpMessage>) -> io::Result<HolderCache> {
    let own = Namespace::current()?;
    let time = now();
    let (owners, failed) = IterFile::open(link(to, BpfIter::Files)?, &own)?.owners()?;
    to.blocking_send(DumpMessage::Failed { time, failed }).map_err(is_over)?;
    Ok(HolderCache::new(owners, time))
}

/// Sends the sockets of one namespace.
fn iterate(
    to: &Sender<DumpMessage>,
    namespace: &Namespace,
    holders: &mut HolderCache,
) -> io::Result<()> {
    let mut table = IterFile::open(link(to, BpfIter::Tcp)?, namespace)?;
    loop {
        let time = now();
        let Some(block) = table.block()? else { return Ok(()) };
        let mut seeds = Vec::new();
        table.decode(&block, &mut |socket| {
            seeds.extend(seed(&socket, holders, time));
            Ok(())
        })?;
        to.blocking_send(DumpMessage::Seeds { sent: now(), held: holders.time, seeds })
            .map_err(is_over)?;
    }
}

/// Sends the sockets of all namespaces.
///
/// The holders come first: reading them gives each held socket a cookie. Other sockets get theirs
/// from the programs that report their transitions. The rest, such as half-open connections, are
/// read through an iterator, which makes cookies, in the namespaces that have such sockets.
fn through_walk(to: &Sender<DumpMessage>, walk: &mut Walk) -> io::Result<()> {
    let mut holders = holders(to)?;
    let step = |step| {
        ask(to, move |ebpf| {
            let time = now();
            run(ebpf, step).map(|()| time)
        })?
    };
    let namespaces = walk.namespaces(step)?;
    let began = now();
    let mut nameless = FxHashMap::<u32, usize>::default();
    walk.sockets(&namespaces, step, |Block { time, sockets }| {
        let mut seeds = Vec::new();
        for socket in &sockets {
            if socket.cookie.is_none() {
                *nameless.entry(socket.tuple.netns).or_default() += 1;
            }
            seeds.extend(seed(socket, &mut holders, time));
        }
        to.blocking_send(DumpMessage::Seeds { sent: now(), held: holders.time, seeds })
            .map_err(is_over)
    })?;
    if !nameless.is_empty() {
        let listed = namespaces.iter().map(|namespace| (namespace.inum, namespace.cookie));
        let listed: Vec<_> = listed.filter(|(inum, _)| nameless.contains_key(inum)).collect();
        for namespace in &Namespaces::listed(&listed)?.reachable {
            if nameless.remove(&namespace.inum).is_some() {
                in_namespace(namespace, iterate(to, namespace, &mut holders))?;
            }
        }
        // A namespace that has ended meanwhile has nothing to follow.
        let listed: Vec<_> = walk.namespaces(step)?.iter().map(|listed| listed.inum).collect();
        nameless.retain(|netns, _| listed.contains(netns));
        report_nameless(&nameless);
    }
    let scope = DumpScope::AllBut(Vec::new());
    to.blocking_send(DumpMessage::Dumped { scope, began }).map_err(is_over)
}

/// Warns once about sockets without a cookie in namespaces that cannot be entered.
fn report_nameless(nameless: &FxHashMap<u32, usize>) {
    if nameless.is_empty() {
        return;
    }
    let inums: Vec<u32> = nameless.keys().copied().collect();
    let message = format!(
        "{} sockets of {}, which netmon cannot enter, are left out until they change their state",
        nameless.values().sum::<usize>(),
        netns_text(&inums)
    );
    warn_of_namespaces(&message);
}

/// Has the loop do work with the loaded program. Returns the result.
fn ask<T: Send + 'static>(
    to: &Sender<DumpMessage>,
    work: impl FnOnce(&mut Ebpf) -> T + Send + 'static,
) -> io::Result<T> {
    let (answer, result) = answer::channel();
    let work: KernelWork = Box::new(move |ebpf| {
        // The receiver is gone if the dump has failed.
        let _ = answer.send(work(ebpf));
    });
    to.blocking_send(DumpMessage::Work(work)).map_err(is_over)?;
    result.recv().map_err(is_over)
}

fn link(to: &Sender<DumpMessage>, walk: BpfIter) -> io::Result<IterLink> {
    ask(to, move |ebpf| iterators::link(ebpf, walk))?
}

fn through_proc(to: &Sender<DumpMessage>, offsets: &Offsets) -> io::Result<()> {
    let want = DumpRequest {
        protocols: vec![Protocol::Tcp],
        info: false,
        identity: true,
        owners: true,
        programs: None,
        filter: netmon_common::KernelFilter::ANY,
        everywhere: true,
    };
    let mut tables = Dump::through_proc(want);
    let time = now();
    let (owners, hidden) = tables.owners()?;
    let mut holders = HolderCache::new(owners, time);
    let mut unowned = 0;
    each_namespace(to, offsets, |namespace| {
        let time = now();
        let mut seeds = Vec::new();
        tables.sockets(namespace, |socket| {
            let seed = seed(&socket, &mut holders, time);
            let is_held = socket.inode.is_some();
            unowned +=
                usize::from(is_held && seed.as_ref().is_some_and(|seed| seed.holders.is_empty()));
            seeds.extend(seed);
            Ok(())
        })?;
        while !seeds.is_empty() {
            let rest = seeds.split_off(seeds.len().min(TOGETHER));
            to.blocking_send(DumpMessage::Seeds { sent: now(), held: holders.time, seeds })
                .map_err(is_over)?;
            seeds = rest;
        }
        Ok(())
    })?;
    // Later dumps have connections whose owners are known from their beginnings.
    FIRST_DUMP.call_once(|| {
        if hidden > 0 && unowned > 0 {
            log::warn!(
                "{unowned} of the connections that existed before have no owner, since their \
                 processes do not show what they hold{}",
                privilege::advice(Duty::Look)
            );
        }
    });
    Ok(())
}

fn each_namespace(
    to: &Sender<DumpMessage>,
    offsets: &Offsets,
    mut dump: impl FnMut(&Namespace) -> io::Result<()>,
) -> io::Result<()> {
    let mut found = Namespaces::find()?;
    for namespace in &found.reachable {
        let began = now();
        if in_namespace(namespace, dump(namespace))? {
            let scope = DumpScope::Namespace(namespace.inum);
            to.blocking_send(DumpMessage::Dumped { scope, began }).map_err(is_over)?;
        }
    }
    // Where the kernel's list is known, the namespaces that are not on it have ended.
    let (began, offsets) = (now(), *offsets);
    if let Some(mut existing) = ask(to, move |ebpf| peek::namespaces(ebpf, &offsets))?? {
        // Processes hide their namespaces from this one. Otherwise, one that was not found is new.
        if !privilege::missing(Duty::Enter).is_empty() {
            let is_found = |inum: &u32| found.reachable.iter().any(|known| known.inum == *inum);
            found.unreachable = existing.iter().copied().filter(|inum| !is_found(inum)).collect();
        }
        existing.extend(found.reachable.iter().map(|namespace| namespace.inum));
        existing.sort_unstable();
        let scope = DumpScope::AllBut(existing);
        to.blocking_send(DumpMessage::Dumped { scope, began }).map_err(is_over)?;
    }
    if !found.unreachable.is_empty() {
        let message = format!(
            "connections of {} are known by their changes only, and losses there are not repaired",
            netns_text(&found.unreachable)
        );
        warn_of_namespaces(&message);
    }
    Ok(())
}

/// Returns whether a namespace was dumped, or an error that ends the whole dump.
fn in_namespace(namespace: &Namespace, dumped: io::Result<()>) -> io::Result<bool> {
    match dumped {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(error),
        // The other namespaces would be missing too.
        Err(error) if Shortage::of(&error).is_some() => Err(error),
        // A namespace that has ended, or cannot be entered, must not hide the others.
        Err(error) => {
            log::debug!("network namespace {}: {error}", namespace.inum);
            Ok(false)
        }
    }
}

/// The holders of each socket. A process that holds many sockets is one owner.
struct HolderCache {
    owners: SocketHolders,
    /// A moment just before the look.
    time: Mono,
    cache: FxHashMap<(ProcessKey, u32, u64), Arc<Owner>>,
}

impl HolderCache {
    fn new(owners: SocketHolders, time: Mono) -> Self {
        Self { owners, time, cache: FxHashMap::default() }
    }

    /// Returns the processes that hold the socket, as [`Seed::holders`] has them.
    fn of(&mut self, socket: &Socket) -> Box<[Arc<Owner>]> {
        let uid = socket.uid.unwrap_or_default();
        let id = socket.cgroup.map_or(0, Into::into);
        let owner = |process: &Process| {
            let owner = self.cache.entry((process.key(), uid, id)).or_insert_with(|| {
                // The stream knows the path.
                let cgroup = (id != 0).then(|| Arc::new(Cgroup::new(id, None)));
                let (pid, host_pid) = (process.pid, process.host_pid);
                let comm = process.comm.clone();
                let (real_uid, process) = (None, None);
                Arc::new(Owner { pid, host_pid, uid, real_uid, cgroup, comm, process })
            });
            Arc::clone(owner)
        };
        self.owners.of(socket.holder_key()).into_iter().map(owner).collect()
    }
}

fn seed(socket: &Socket, holders: &mut HolderCache, time: Mono) -> Option<Seed> {
    let holders = holders.of(socket);
    let waits = socket.timer.is_some_and(|timer| timer.kind == TimerKind::TimeWait);
    Some(Seed {
        time,
        cookie: socket.cookie?,
        tuple: socket.tuple.as_recorded(),
        binding: socket.binding.clone(),
        state: socket.state,
        minisocket: waits && matches!(socket.state, TcpState::TimeWait | TcpState::FinWait2),
        holders,
        young: Box::default(),
    })
}
