//! Processes behind sockets: the owner of a connection with its evidence, and the holders of each
//! socket.

use std::{cmp::Ordering, fmt, sync::Arc};

use rustc_hash::FxHashMap;

use super::{cgroup::Cgroup, id::HolderKey, program::KnownProcess};

/// How netmon knows the owner of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// It called connect.
    Connect,
    /// It called listen, on this socket or on the listener that took this connection.
    Listen,
    /// It called accept, and got this connection.
    Accept,
    /// It held the socket when a dump looked.
    FdScan,
}

impl Evidence {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Listen, Self::Accept, Self::FdScan];

    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Accept => "accept",
            Self::FdScan => "fd-scan",
        }
    }
}

/// The identity of a process among those that netmon names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcessKey {
    /// The number of a process in the pid namespace of netmon's `/proc`.
    Inside(u32),
    /// The number in the initial pid namespace, of a process outside of that of `/proc`; 0 where
    /// unknown.
    Outside(u32),
}

impl ProcessKey {
    /// Returns the identity of the process with these numbers ([`Owner::pid`],
    /// [`Owner::host_pid`]).
    #[must_use]
    pub const fn new(pid: u32, host_pid: u32) -> Self {
        if pid == 0 { Self::Outside(host_pid) } else { Self::Inside(pid) }
    }

    /// Returns whether both may be one process: a journal has no numbers of processes outside.
    pub(crate) fn may_be(self, other: Self) -> bool {
        match (self, other) {
            (Self::Outside(0), Self::Outside(_)) | (Self::Outside(_), Self::Outside(0)) => true,
            _ => self == other,
        }
    }
}

/// A process behind a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Process id in the pid namespace of netmon's `/proc`; 0 for a process outside of it.
    pub pid: u32,
    /// Process id in the initial pid namespace; 0 where it is the same number, or unknown.
    pub host_pid: u32,
    /// Its effective user when it acted, in the initial user namespace; the user of the socket
    /// where that is the evidence.
    pub uid: u32,
    /// Its real user when it acted; none where that is not known.
    pub real_uid: Option<u32>,
    /// Its cgroup when it acted; none where it is unknown.
    pub cgroup: Option<Arc<Cgroup>>,
    /// Name of the process, up to 15 bytes of anything: escape it before showing.
    pub comm: Box<[u8]>,
    /// The process with its program, as it was then; none where it is not known.
    pub process: Option<Arc<KnownProcess>>,
}

/// The number of a process as text: `-` for a process without a number ([`Owner::pid`]).
pub(crate) struct PidText(pub(crate) u32);

impl fmt::Display for PidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("-"),
            pid => fmt::Display::fmt(&pid, f),
        }
    }
}

impl Owner {
    /// Returns the identity of the process.
    #[must_use]
    pub const fn key(&self) -> ProcessKey {
        ProcessKey::new(self.pid, self.host_pid)
    }
}

/// A process, with the facts that a listing shows. Its numbers and its name are its identity there.
#[derive(Clone, Debug)]
pub struct Process {
    /// As in [`Owner::pid`].
    pub pid: u32,
    /// As in [`Owner::host_pid`].
    pub host_pid: u32,
    /// The name, up to 15 bytes of any value: escape them before showing.
    pub comm: Box<[u8]>,
    /// The process with its program; none where it is not known, or was not wanted.
    pub known: Option<Arc<KnownProcess>>,
    /// Its cgroup; none where it is not known, or was not wanted.
    pub cgroup: Option<Arc<Cgroup>>,
}

impl Process {
    /// Returns the identity of the process.
    #[must_use]
    pub const fn key(&self) -> ProcessKey {
        ProcessKey::new(self.pid, self.host_pid)
    }

    fn identity(&self) -> (u32, u32, &[u8]) {
        (self.pid, self.host_pid, &self.comm)
    }
}

impl From<&Owner> for Process {
    fn from(owner: &Owner) -> Self {
        let Owner { pid, host_pid, ref comm, ref process, ref cgroup, .. } = *owner;
        let (comm, known, cgroup) = (comm.clone(), process.clone(), cgroup.clone());
        Self { pid, host_pid, comm, known, cgroup }
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Process {}

impl Ord for Process {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl PartialOrd for Process {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The processes that hold each socket, by inode number.
///
/// A host with 200,000 sockets has far fewer processes. So each process is stored once, and each
/// socket has a chain of places in one vector.
#[derive(Debug, Default)]
pub struct SocketHolders {
    processes: Vec<Process>,
    holds: Vec<Hold>,
    first: FxHashMap<HolderKey, u32>,
}

#[derive(Debug)]
struct Hold {
    process: u32,
    /// The next entry of the same socket; `NONE` in the last entry.
    next: u32,
}

const NONE: u32 = u32::MAX;

impl SocketHolders {
    /// Notes that the process with these numbers ([`Owner::pid`], [`Owner::host_pid`]) holds the
    /// socket of `key`. All sockets of a process must come in a row.
    pub fn add(&mut self, key: HolderKey, pid: u32, host_pid: u32, comm: &[u8]) {
        if self.processes.last().is_none_or(|last| (last.pid, last.host_pid) != (pid, host_pid)) {
            let (comm, known, cgroup) = (comm.into(), None, None);
            self.processes.push(Process { pid, host_pid, comm, known, cgroup });
        }
        self.hold(key);
    }

    /// Notes that `process` holds the socket of `key`.
    pub fn add_process(&mut self, key: HolderKey, process: Process) {
        let is_last = self.processes.last().is_some_and(|last| {
            *last == process && last.known == process.known && last.cgroup == process.cgroup
        });
        if !is_last {
            self.processes.push(process);
        }
        self.hold(key);
    }

    /// Notes that the last process holds the socket of `key`.
    fn hold(&mut self, key: HolderKey) {
        let process = place(self.processes.len() - 1);
        let hold = place(self.holds.len());
        let first = self.first.entry(key).or_insert(NONE);
        // A process may hold a socket by several descriptors, which come in a row.
        if self.holds.get(*first as usize).is_some_and(|hold| hold.process == process) {
            return;
        }
        self.holds.push(Hold { process, next: *first });
        *first = hold;
    }

    /// Has `complete` add what it knows to each process with a number here.
    pub fn complete(&mut self, complete: impl FnMut(&mut Process)) {
        self.processes.iter_mut().filter(|process| process.pid != 0).for_each(complete);
    }

    /// Returns the processes that hold the socket of `key`, by pid.
    #[must_use]
    pub fn of(&self, key: Option<HolderKey>) -> Vec<&Process> {
        let mut processes = Vec::new();
        self.any(key, &mut |process| {
            processes.push(process);
            false
        });
        processes.sort_unstable();
        // A thread with descriptors of its own comes apart from its process.
        processes.dedup();
        processes
    }

    /// Returns whether `test` holds for any process that holds the socket of `key`.
    pub fn any<'a>(
        &'a self,
        key: Option<HolderKey>,
        test: &mut dyn FnMut(&'a Process) -> bool,
    ) -> bool {
        let mut at = key.and_then(|key| self.first.get(&key)).copied().unwrap_or(NONE);
        while let Some(hold) = self.holds.get(at as usize) {
            if test(&self.processes[hold.process as usize]) {
                return true;
            }
            at = hold.next;
        }
        false
    }
}

/// Returns a place in a vector of some millions at most: the kernel counts descriptors in 32 bits.
fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn key(inode: u64) -> Option<HolderKey> {
        NonZeroU64::new(inode).map(HolderKey::of_inode)
    }

    fn holders(owners: &SocketHolders, inode: u64) -> Vec<(u32, &[u8])> {
        let processes = owners.of(key(inode));
        processes.into_iter().map(|process| (process.pid, &*process.comm)).collect()
    }

    #[test]
    fn each_process_once_for_each_socket() {
        let mut owners = SocketHolders::default();
        for (inode, pid, comm) in [
            (7, 20, b"b".as_slice()),
            (7, 20, b"b"),
            (8, 20, b"b"),
            (7, 10, b"a"),
            // A thread of the first process, with descriptors of its own.
            (7, 20, b"b"),
        ] {
            owners.add(key(inode).expect("not 0"), pid, 0, comm);
        }
        assert_eq!(holders(&owners, 7), [(10, b"a".as_slice()), (20, b"b")]);
        assert_eq!(holders(&owners, 8), [(20, b"b".as_slice())]);
        assert!(holders(&owners, 9).is_empty() && owners.of(None).is_empty());
        assert!(owners.any(key(7), &mut |process| process.pid == 10));
        assert!(!owners.any(key(8), &mut |process| process.pid == 10));
    }
}
