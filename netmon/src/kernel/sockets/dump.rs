//! What sockets there are, from one of two sources: BPF iterators, or `/proc`.

use std::{fs, io, os::unix::fs::MetadataExt};

use aya::Ebpf;
use netmon_common::{KernelFilter, Wanted};

use super::{bpf_iter, proc, sock_diag_dump::Details};
use crate::{
    core::{
        process::SocketHolders,
        socket::{Protocol, Socket, UnixSocket},
    },
    kernel::{
        host::netns::Namespace,
        program::{attach::load_iterators, error::LoadError, iterators::BpfIter},
    },
};

/// What a dump is to contain.
#[derive(Clone, Debug)]
pub struct DumpRequest {
    /// Which IP sockets.
    pub protocols: Vec<Protocol>,
    /// [`Socket::info`].
    pub info: bool,
    /// [`Socket::cookie`] and [`Socket::cgroup`] where they cost extra.
    pub identity: bool,
    /// Who holds them.
    pub owners: bool,
    /// What the kernel program may leave out; `/proc` has them all.
    pub filter: KernelFilter,
}

/// The kernel's tables, to be read as often as wanted.
pub struct Dump {
    want: DumpRequest,
    /// Without them, `/proc` is read.
    iterators: Option<Ebpf>,
    /// Whether to turn to iterators where `/proc` does not show all.
    may_switch: bool,
}

/// Below this, reading `/proc` (some 4 µs for each open file) is done before iterators are loaded (some
/// 60 ms, most of it for the kernel's types).
const FEW: u64 = 10_000;

/// Whether the host has so few sockets that loading iterators would take longer than it saves.
#[must_use]
pub fn has_few_sockets() -> bool {
    // Open files, of the whole host: of all but the sockets in TIME_WAIT, which have none.
    let files = fs::read_to_string("/proc/sys/fs/file-nr").ok();
    let files = files.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let waiting = sockets.split("tw ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    files.zip(waiting).is_some_and(|(files, waiting): (u64, u64)| files + waiting < FEW)
}

impl Dump {
    /// Reads through BPF iterators; raw and unix sockets, for which nothing is gained, from `/proc`.
    ///
    /// # Errors
    /// [`LoadError`], which says what to do.
    pub fn through_iterators(want: DumpRequest) -> Result<Self, LoadError> {
        let iterators = Some(load(&want)?);
        Ok(Self { want, iterators, may_switch: false })
    }

    /// Reads `/proc`, and turns to iterators, if they can be had, where it does not show all owners.
    #[must_use]
    pub fn proc_then_iterators(want: DumpRequest) -> Self {
        Self { want, iterators: None, may_switch: true }
    }

    /// Reads `/proc`, which takes no privilege.
    #[must_use]
    pub fn through_proc(want: DumpRequest) -> Self {
        Self { want, iterators: None, may_switch: false }
    }

    /// Whether owners are to be looked for.
    #[must_use]
    pub fn wants_owners(&self) -> bool {
        self.want.owners
    }

    /// Who holds which socket, and how many processes did not let it be seen.
    ///
    /// # Errors
    /// What reading answered.
    pub fn owners(&mut self) -> io::Result<(SocketHolders, usize)> {
        match &mut self.iterators {
            // Iterators tell process ids of the host's, which mean nothing where others are in use.
            Some(iterators) if is_initial_pid_namespace() => {
                let files = bpf_iter::open(iterators, BpfIter::Files, &Namespace::current()?)?;
                return Ok((files.owners()?.0, 0));
            }
            _ => {}
        }
        let found = proc::owners();
        let whole = found.as_ref().is_ok_and(|(_, refused)| *refused == 0);
        if !whole && self.may_switch && is_initial_pid_namespace() {
            self.may_switch = false;
            match load(&self.want) {
                Ok(iterators) => {
                    self.iterators = Some(iterators);
                    return self.owners();
                }
                Err(error) => log::debug!("{error}"),
            }
        }
        found
    }

    /// Hands every IP socket of the namespace to `each`; how many could not be understood.
    ///
    /// # Errors
    /// What reading, or `each`, answered.
    pub fn sockets(
        &mut self,
        namespace: &Namespace,
        mut each: impl FnMut(Socket) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut malformed = 0;
        for protocol in self.want.protocols.clone() {
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
                    let DumpRequest { info, identity, .. } = self.want;
                    let mut details = Details::ask(namespace, protocol, info || identity, info);
                    for ipv6 in [false, true] {
                        let table = namespace.run(|| proc::open_inet(protocol, ipv6))?;
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

    /// Hands every unix socket of the namespace to `each`; how many could not be understood.
    ///
    /// # Errors
    /// What reading, or `each`, answered.
    pub fn unix(
        &self,
        namespace: &Namespace,
        each: impl FnMut(UnixSocket) -> io::Result<()>,
    ) -> io::Result<usize> {
        proc::read_unix(namespace.run(proc::open_unix)?, namespace.inum, each)
    }
}

/// Whether this process counts processes as the whole host does.
pub(in crate::kernel) fn is_initial_pid_namespace() -> bool {
    /// `PROC_PID_INIT_INO` (include/linux/proc_ns.h).
    const INITIAL: u64 = 0xeffffffc;
    fs::metadata("/proc/self/ns/pid").is_ok_and(|own| own.ino() == INITIAL)
}

fn load(want: &DumpRequest) -> Result<Ebpf, LoadError> {
    let walks: Vec<_> = [
        (BpfIter::Tcp, want.protocols.contains(&Protocol::Tcp)),
        (BpfIter::Udp, want.protocols.contains(&Protocol::Udp)),
        (BpfIter::Files, want.owners),
    ]
    .into_iter()
    .filter_map(|(walk, wanted)| wanted.then_some(walk))
    .collect();
    let wanted = Wanted {
        info: u32::from(want.info),
        cgroup: u32::from(want.identity),
        ..Wanted::default()
    };
    load_iterators(wanted, want.filter, &walks)
}
