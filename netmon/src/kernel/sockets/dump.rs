//! Lists the existing sockets from one of two sources: BPF iterators, or `/proc`.

use std::{fs, io, path::Path, sync::Arc};

use aya::Ebpf;
use netmon_common::{DumpOptions, KernelFilter};
use rustc_hash::FxHashMap;

use super::{bpf_iter, proc, sock_diag::connect, sock_diag_dump::Details, unix_diag, walk::Walk};
use crate::{
    core::{
        cgroup::Cgroup,
        process::SocketHolders,
        program::ancestors_above,
        socket::{Protocol, Socket, UnixSocket},
    },
    kernel::{
        host::{
            cgroups,
            clock::{booted, now, ticks_now},
            containers::EngineFiles,
            devices::DeviceNames,
            namespaces::Namespaces,
            netns::Namespace,
            pid_namespace::PidNamespaces,
            privilege::Duty,
        },
        program::{
            attach::{LoadedIterators, load_iterators},
            error::LoadError,
            iterators::BpfIter,
            walk::run,
        },
    },
};

/// The contents of a dump.
#[derive(Clone, Debug)]
pub(crate) struct DumpRequest {
    /// The protocols of the IP sockets.
    pub protocols: Vec<Protocol>,
    /// [`Socket::info`].
    pub info: bool,
    /// [`Socket::cookie`] and [`Socket::cgroup`], where these cost extra.
    pub identity: bool,
    /// The processes that hold the sockets.
    pub owners: bool,
    /// The programs of these processes.
    pub programs: Option<ProgramRequest>,
    /// The filter by which the kernel program may leave sockets out; `/proc` has all sockets.
    pub filter: KernelFilter,
    /// The sockets of all namespaces: the kernel lists its namespaces.
    pub everywhere: bool,
}

/// The programs of processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramRequest {
    /// The arguments too.
    pub arguments: bool,
}

/// The kernel's tables, which can be read repeatedly.
pub(crate) struct Dump {
    request: DumpRequest,
    /// The loaded iterators; without them, `/proc` is read.
    iterators: Option<Ebpf>,
    /// The reader of the kernel's list of namespaces, where the kernel lets it be read.
    walk: Option<Walk>,
    /// `true` to change to iterators if `/proc` does not show all owners.
    may_switch: bool,
    devices: DeviceNames,
}

/// The outcome of reading unix sockets.
#[derive(Debug, Default)]
pub(crate) struct UnixReading {
    /// The number of malformed lines.
    pub malformed: usize,
    /// The error of sock_diag, in whose place `/proc/net/unix` was read. A process can make lines
    /// of that file look like sockets that do not exist.
    pub refused: Option<io::Error>,
}

/// The cost from which on loading iterators, some 60 ms and most of it for the kernel's types,
/// takes less time than reading `/proc`. The unit is the cost of an open file or a TIME_WAIT bucket
/// there, some 4 µs.
const FEW: u64 = 10_000;
/// The cost of the tables of another namespace: the kernel passes over every bucket of its own, and
/// a thread enters the namespace.
const TABLES: u64 = 1_500;

/// Returns whether the host has so few open files that reading `/proc` may take less time than
/// loading iterators.
#[must_use]
pub(crate) fn has_few_files() -> bool {
    files() < FEW
}

/// Returns whether reading the sockets of these namespaces and their owners from `/proc` takes less
/// time than loading iterators.
#[must_use]
pub(crate) fn has_few_sockets(namespaces: &[Namespace]) -> bool {
    let tables = TABLES * namespaces.len().saturating_sub(1) as u64;
    // A namespace that ends meanwhile costs nothing.
    let waiting = || namespaces.iter().map(|known| known.run(waiting).unwrap_or(0)).sum::<u64>();
    files() + tables < FEW && files() + tables + waiting() < FEW
}

/// Returns the number of open files of the whole host. Every socket has one, except in TIME_WAIT.
fn files() -> u64 {
    let files = fs::read_to_string("/proc/sys/fs/file-nr").unwrap_or_default();
    files.split_whitespace().next().and_then(|files| files.parse().ok()).unwrap_or(FEW)
}

/// Returns the number of TIME_WAIT buckets of this thread's namespace.
fn waiting() -> io::Result<u64> {
    let sockets = fs::read_to_string(Path::new(proc::TABLES).join("sockstat"))?;
    let waiting = sockets.split("tw ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    Ok(waiting.unwrap_or(FEW))
}

impl Dump {
    /// Reads through BPF iterators. Raw sockets come from `/proc` and unix sockets from sock_diag,
    /// since iterators would gain nothing for them.
    ///
    /// # Errors
    /// [`LoadError`], with advice.
    pub(crate) fn through_iterators(request: DumpRequest) -> Result<Self, LoadError> {
        let (iterators, walk) = load(&request)?;
        Ok(Self { walk, ..Self::of(request, Some(iterators)) })
    }

    /// Reads through BPF iterators, or `/proc` where the kernel refuses them. `refused` takes any
    /// error but the usual one: the lack of a privilege.
    pub(crate) fn iterators_or_proc(request: DumpRequest, refused: impl FnOnce(LoadError)) -> Self {
        match Self::through_iterators(request.clone()) {
            Ok(dump) => return dump,
            Err(LoadError::Privilege(_)) => {}
            Err(error) => refused(error),
        }
        Self::through_proc(request)
    }

    /// Reads `/proc`, and changes to iterators, if the kernel permits them, where `/proc` does not
    /// show all owners.
    #[must_use]
    pub(crate) fn proc_then_iterators(request: DumpRequest) -> Self {
        Self { may_switch: true, ..Self::of(request, None) }
    }

    /// Reads `/proc`, which takes no privilege.
    #[must_use]
    pub(crate) fn through_proc(request: DumpRequest) -> Self {
        Self::of(request, None)
    }

    fn of(request: DumpRequest, iterators: Option<Ebpf>) -> Self {
        let devices = DeviceNames::default();
        Self { request, iterators, walk: None, may_switch: false, devices }
    }

    /// Returns every network namespace that is known.
    ///
    /// # Errors
    /// As for [`Namespaces::find`].
    pub(crate) fn namespaces(&mut self) -> io::Result<Namespaces> {
        let (Some(walk), Some(ebpf)) = (&mut self.walk, &mut self.iterators) else {
            return Namespaces::find();
        };
        let listed = walk.namespaces(|step| run(ebpf, step).map(|()| now()))?;
        let pairs = listed.iter().map(|namespace| (namespace.inum, namespace.cookie));
        let mut found = Namespaces::listed(&pairs.collect::<Vec<_>>())?;
        if !found.unreachable.is_empty() {
            // One that has ended meanwhile has nothing to list.
            let listed = walk.namespaces(|step| run(ebpf, step).map(|()| now()))?;
            found.unreachable.retain(|inum| listed.iter().any(|known| known.inum == *inum));
        }
        Ok(found)
    }

    /// Returns the duties of reading the sockets of this namespace, and of reading owners `again`.
    #[must_use]
    pub(crate) fn duties(&self, again: bool) -> &'static [Duty] {
        let looks = again && self.request.owners;
        match &self.iterators {
            None if looks && self.may_switch => &Duty::ALL,
            // The owners, or their programs, come from `/proc`.
            Some(_)
                if looks
                    && (self.request.programs.is_some()
                        || !PidNamespaces::current().iterators_see_all()) =>
            {
                &[Duty::Use, Duty::Look]
            }
            Some(_) => &[Duty::Use],
            None if looks => &[Duty::Look],
            None => &[],
        }
    }

    /// Returns whether the dump is to contain owners.
    #[must_use]
    pub(crate) fn wants_owners(&self) -> bool {
        self.request.owners
    }

    /// Returns the processes that hold each socket, and the number of processes that do not show
    /// their sockets.
    ///
    /// # Errors
    /// The error of reading.
    pub(crate) fn owners(&mut self) -> io::Result<(SocketHolders, usize)> {
        let (mut holders, hidden) = self.holders()?;
        let found = ticks_now();
        if let Some(ProgramRequest { arguments }) = self.request.programs {
            let booted = booted();
            let mut above = FxHashMap::default();
            let mut files = EngineFiles::of_host();
            let mut known_cgroups: FxHashMap<Box<[u8]>, Arc<Cgroup>> = FxHashMap::default();
            holders.complete(|process| {
                let path = || cgroups::of_process(process.pid);
                let Some((seen, path)) = proc::programs::look_and(process.pid, arguments, path)
                else {
                    return;
                };
                let started = seen.id.started;
                // The number is that of a later process.
                if started > found {
                    return;
                }
                let mut known = seen.known(booted);
                // Many processes have the same ones.
                known.ancestors = ancestors_above(known.parent, started, |pid| {
                    above.entry(pid).or_insert_with(|| proc::programs::above(pid)).clone()
                });
                process.known = Some(Arc::new(known));
                process.cgroup = path.map(|path| {
                    let cgroup = known_cgroups.entry(path).or_insert_with_key(|path| {
                        let cgroup = Cgroup::new(0, Some(path.clone()));
                        cgroup.name(files.names(&cgroup).unwrap_or_default());
                        Arc::new(cgroup)
                    });
                    Arc::clone(cgroup)
                });
            });
        }
        Ok((holders, hidden))
    }

    fn holders(&mut self) -> io::Result<(SocketHolders, usize)> {
        match &mut self.iterators {
            Some(iterators) if PidNamespaces::current().iterators_see_all() => {
                let files = bpf_iter::open(iterators, BpfIter::Files, &Namespace::current()?)?;
                return Ok((files.owners()?.0, 0));
            }
            _ => {}
        }
        let holders = proc::owners();
        let is_complete = holders.as_ref().is_ok_and(|(_, refused)| *refused == 0);
        if !is_complete && self.may_switch && PidNamespaces::current().iterators_see_all() {
            self.may_switch = false;
            match load(&self.request) {
                Ok((iterators, walk)) => {
                    (self.iterators, self.walk) = (Some(iterators), walk);
                    return self.holders();
                }
                Err(error) => log::debug!("{error}"),
            }
        }
        holders
    }

    /// Hands every IP socket of the namespace to `each`. Returns the number of malformed entries.
    ///
    /// # Errors
    /// The error of reading, or of `each`.
    pub(crate) fn sockets(
        &mut self,
        namespace: &Namespace,
        mut each: impl FnMut(Socket) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut malformed = 0;
        let devices = &mut self.devices;
        let mut each = |mut socket: Socket| {
            devices.complete(&socket.tuple, &mut socket.binding);
            each(socket)
        };
        for protocol in self.request.protocols.clone() {
            match (&mut self.iterators, protocol) {
                (Some(iterators), Protocol::Tcp) => {
                    let table = bpf_iter::open(iterators, BpfIter::Tcp, namespace)?;
                    malformed += table.sockets(&mut each)?;
                }
                (Some(iterators), Protocol::Udp) => {
                    let table = bpf_iter::open(iterators, BpfIter::Udp, namespace)?;
                    malformed += table.sockets(&mut each)?;
                }
                _ => {
                    let DumpRequest { info, identity, .. } = self.request;
                    // Once for all, since to enter a namespace takes a thread and milliseconds.
                    let (diag, tables) = namespace.run(|| {
                        let open = |ipv6| proc::open_inet(protocol, ipv6);
                        Ok((connect(), [(false, open(false)?), (true, open(true)?)]))
                    })?;
                    let mut details = Details::ask(diag, protocol, info || identity, info);
                    for (ipv6, table) in tables {
                        let netns = namespace.inum;
                        malformed +=
                            proc::read_inet(table, protocol, ipv6, netns, |mut socket| {
                                details.complete(&mut socket);
                                each(socket)
                            })?;
                    }
                }
            }
        }
        Ok(malformed)
    }

    /// Hands every unix socket of the namespace to `each`, from sock_diag, or from `/proc` where
    /// the kernel refuses sock_diag.
    ///
    /// # Errors
    /// The error of reading, or of `each`.
    pub(crate) fn unix(
        namespace: &Namespace,
        mut each: impl FnMut(UnixSocket) -> io::Result<()>,
    ) -> io::Result<UnixReading> {
        let refused = unix_diag::read(namespace, &mut each)?;
        let mut malformed = 0;
        if refused.is_some() {
            malformed = proc::read_unix(namespace.run(proc::open_unix)?, namespace.inum, each)?;
        }
        Ok(UnixReading { malformed, refused })
    }
}

fn load(request: &DumpRequest) -> Result<(Ebpf, Option<Walk>), LoadError> {
    let walks: Vec<_> = [
        (BpfIter::Tcp, request.protocols.contains(&Protocol::Tcp)),
        (BpfIter::Udp, request.protocols.contains(&Protocol::Udp)),
        (BpfIter::Files, request.owners),
    ]
    .into_iter()
    .filter_map(|(walk, wanted)| wanted.then_some(walk))
    .collect();
    let options = DumpOptions {
        info: u32::from(request.info),
        cgroup: u32::from(request.identity),
        ..DumpOptions::default()
    };
    let LoadedIterators { mut ebpf, offsets, walk } =
        load_iterators(options, request.filter, &walks, request.everywhere)?;
    let walk = match walk {
        Ok(()) => Some(Walk::new(&mut ebpf, &offsets)?),
        Err(_) => None,
    };
    Ok((ebpf, walk))
}
