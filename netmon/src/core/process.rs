//! Which processes hold which socket.

use std::num::NonZeroU64;

use rustc_hash::FxHashMap;

/// A process, as far as a listing names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its name, up to 15 bytes of anything: escape it before showing.
    pub comm: Box<[u8]>,
}

/// The processes behind each socket, by inode number.
///
/// A host with 200,000 sockets has far fewer processes: each is kept once, and each socket has a chain
/// of places in one vector.
#[derive(Debug, Default)]
pub struct SocketHolders {
    processes: Vec<Process>,
    holds: Vec<Hold>,
    first: FxHashMap<u64, u32>,
}

#[derive(Debug)]
struct Hold {
    process: u32,
    /// The next of the same socket; `NONE` on the last.
    next: u32,
}

const NONE: u32 = u32::MAX;

impl SocketHolders {
    /// Notes that process `pid` holds socket `inode`; processes come one after the other.
    pub fn add(&mut self, inode: u64, pid: u32, comm: &[u8]) {
        if self.processes.last().is_none_or(|last| last.pid != pid) {
            self.processes.push(Process { pid, comm: comm.into() });
        }
        let process = place(self.processes.len() - 1);
        let hold = place(self.holds.len());
        let first = self.first.entry(inode).or_insert(NONE);
        // The same process may hold it by several descriptors, which come one after the other.
        if self.holds.get(*first as usize).is_some_and(|hold| hold.process == process) {
            return;
        }
        self.holds.push(Hold { process, next: *first });
        *first = hold;
    }

    /// The processes that hold the socket `inode`, by pid.
    #[must_use]
    pub fn of(&self, inode: Option<NonZeroU64>) -> Vec<&Process> {
        let mut found = Vec::new();
        self.any(inode, &mut |process| {
            found.push(process);
            false
        });
        found.sort_unstable();
        // A thread with descriptors of its own is met apart from its process.
        found.dedup();
        found
    }

    /// Whether `test` holds of any process that holds the socket `inode`.
    pub fn any<'a>(
        &'a self,
        inode: Option<NonZeroU64>,
        test: &mut dyn FnMut(&'a Process) -> bool,
    ) -> bool {
        let mut at = inode.and_then(|inode| self.first.get(&inode.get())).copied().unwrap_or(NONE);
        while let Some(hold) = self.holds.get(at as usize) {
            if test(&self.processes[hold.process as usize]) {
                return true;
            }
            at = hold.next;
        }
        false
    }
}

/// A place in a vector of at most some millions: descriptors are counted in 32 bits.
fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(owners: &SocketHolders, inode: u64) -> Vec<(u32, &[u8])> {
        let of = owners.of(NonZeroU64::new(inode));
        of.into_iter().map(|process| (process.pid, &*process.comm)).collect()
    }

    #[test]
    fn each_process_once_for_each_socket() {
        let mut owners = SocketHolders::default();
        for (inode, pid, comm) in [
            (7, 20, b"b".as_slice()),
            (7, 20, b"b"),
            (8, 20, b"b"),
            (7, 10, b"a"),
            // A thread of the first, with descriptors of its own.
            (7, 20, b"b"),
        ] {
            owners.add(inode, pid, comm);
        }
        assert_eq!(of(&owners, 7), [(10, b"a".as_slice()), (20, b"b")]);
        assert_eq!(of(&owners, 8), [(20, b"b".as_slice())]);
        assert!(of(&owners, 9).is_empty() && owners.of(None).is_empty());
        assert!(owners.any(NonZeroU64::new(7), &mut |process| process.pid == 10));
        assert!(!owners.any(NonZeroU64::new(8), &mut |process| process.pid == 10));
    }
}
