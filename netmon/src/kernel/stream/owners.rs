//! The owners of connections, with their processes.
//!
//! A process that opens many connections is one owner, which its rows share.

use std::sync::Arc;

use netmon_common as wire;
use rustc_hash::{FxHashMap, FxHashSet};

use super::programs;
use crate::{
    core::{
        process::{Owner, ProcessKey},
        processes::{Processes, SeenProcess},
        program::KnownProcess,
        time::Wall,
    },
    kernel::ring::record::Record,
};

/// The limit of remembered owners. Beyond it netmon forgets all, and learns them again.
const MAX_OWNERS: usize = 4_096;

/// The latest owner for each process, and the table of processes.
pub(super) struct Owners {
    /// Each record names the whole owner, so a reused pid causes no error.
    latest: FxHashMap<ProcessKey, Arc<Owner>>,
    processes: Processes,
}

/// The facts of an owner except the process' number.
struct Facts<'a> {
    uid: u32,
    cgroup: u64,
    comm: &'a [u8],
    /// The mark of its program ([`wire::run`]); 0 where it is not known.
    run: u32,
}

impl Owners {
    /// Knows no process yet. `booted`: the beginning of the clock of processes.
    pub(super) fn new(booted: Wall) -> Self {
        Self { latest: FxHashMap::default(), processes: Processes::new(booted) }
    }

    /// Takes the record of a process. Other records say nothing here.
    pub(super) fn record(&mut self, record: &Record) {
        match record {
            Record::Exec(exec) => programs::exec(&mut self.processes, exec),
            Record::Fork(fork) => programs::fork(&mut self.processes, fork),
            Record::Exit(exit) => programs::exit(&mut self.processes, exit),
            _ => {}
        }
    }

    /// Takes all processes of `/proc`, read while `waiting` records had not come yet.
    pub(super) fn seed<'r>(
        &mut self,
        mut seen: Vec<SeenProcess>,
        waiting: impl Iterator<Item = &'r Record>,
    ) {
        let later: FxHashSet<_> = waiting
            .filter_map(|record| match record {
                Record::Exec(exec) => Some(programs::exec_id(exec)),
                _ => None,
            })
            .collect();
        // `/proc` already shows the program of that record.
        for seen in seen.iter_mut().filter(|seen| later.contains(&seen.id)) {
            seen.program = None;
        }
        self.processes.seed(&seen);
    }

    /// Returns how many processes had no room in the table since the last call.
    pub(super) fn take_not_kept(&mut self) -> u64 {
        self.processes.take_not_kept()
    }

    /// Returns the process that acted; none for a kernel thread.
    pub(super) fn acting(&mut self, process: &wire::Process) -> Option<Arc<Owner>> {
        let wire::Process { cgroup, pid, uid, host_pid, run, .. } = *process;
        let comm = process.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let facts = Facts { uid, cgroup, comm, run };
        ((pid, host_pid) != (0, 0)).then(|| self.shared(pid, host_pid, &facts))
    }

    /// Returns the owner that a dump found, with its process.
    pub(super) fn holding(&mut self, owner: &Owner) -> Arc<Owner> {
        let Owner { pid, host_pid, uid, cgroup, ref comm, .. } = *owner;
        self.shared(pid, host_pid, &Facts { uid, cgroup, comm, run: 0 })
    }

    fn shared(&mut self, pid: u32, host_pid: u32, facts: &Facts<'_>) -> Arc<Owner> {
        let Facts { uid, cgroup, comm, run } = *facts;
        let key = ProcessKey::new(pid, host_pid);
        let process: Option<&Arc<KnownProcess>> = self.processes.of(key, run);
        let latest = self.latest.get(&key).filter(|known| {
            (known.uid, known.cgroup) == (uid, cgroup)
                && *known.comm == *comm
                && known.process.as_ref() == process
        });
        if let Some(latest) = latest {
            return Arc::clone(latest);
        }
        let (comm, process) = (comm.into(), process.cloned());
        let owner = Arc::new(Owner { pid, host_pid, uid, cgroup, comm, process });
        if self.latest.len() >= MAX_OWNERS {
            self.latest.clear();
        }
        self.latest.insert(key, Arc::clone(&owner));
        owner
    }
}
