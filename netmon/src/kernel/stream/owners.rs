//! The owners of connections, with their processes and cgroups.
//!
//! A process that opens many connections is one owner, which its rows share.

use std::{borrow::Cow, sync::Arc};

use netmon_common::{self as wire, Namespaces};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{container_names::ContainerNames, programs};
use crate::{
    core::{
        cgroup::Cgroup,
        cgroups::{CgroupWalk, Cgroups},
        process::{Owner, ProcessKey},
        processes::{Processes, SeenProcess},
        time::{Mono, Wall},
    },
    kernel::{host::cgroups::cut, ring::record::Record},
};

/// The mark of a program that is not known.
const NO_RUN: u32 = u32::MAX;
/// The limit of remembered owners. Beyond it netmon forgets all, and learns them again.
const MAX_OWNERS: usize = 4_096;

/// The latest owner for each process, and the tables of processes and cgroups.
pub(super) struct Owners {
    /// Each record names the whole owner, so a reused pid causes no error.
    latest: FxHashMap<ProcessKey, Arc<Owner>>,
    processes: Processes,
    cgroups: Cgroups,
    /// Looks for the names of containers, unless the records are of another time.
    names: Option<ContainerNames>,
}

/// The facts of an owner except the process' number.
struct Facts<'a> {
    uid: u32,
    real_uid: Option<u32>,
    cgroup: u64,
    comm: &'a [u8],
    /// The mark of its program ([`wire::run`]); 0 where it is not known.
    run: u32,
}

impl Owners {
    /// Knows no process yet. `booted`: the beginning of the clock of processes.
    pub(super) fn new(booted: Wall) -> Self {
        let (latest, cgroups) = (FxHashMap::default(), Cgroups::default());
        Self { latest, processes: Processes::new(booted), cgroups, names: None }
    }

    /// Has the names of containers looked up on this host.
    pub(super) fn look_up_names(&mut self) {
        self.names = ContainerNames::start();
    }

    /// Takes the record of a process or a cgroup. Other records say nothing here.
    pub(super) fn record(&mut self, record: &Record) {
        match record {
            Record::Exec(exec) => programs::exec(&mut self.processes, exec),
            Record::Fork(fork) => programs::fork(&mut self.processes, fork),
            Record::Exit(exit) => programs::exit(&mut self.processes, exit),
            Record::CgroupMade(made) => {
                if let Some(cgroup) = self.cgroups.made(made.id, &path(made))
                    && let Some(names) = &self.names
                {
                    names.look_up(&cgroup);
                }
            }
            Record::CgroupRemoved(removed) => self.cgroups.removed(removed.id),
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
        // `/proc` already shows the program and the namespaces of that record.
        for seen in seen.iter_mut().filter(|seen| later.contains(&seen.id)) {
            (seen.program, seen.namespaces) = (None, Namespaces::default());
        }
        self.processes.seed(&seen);
    }

    /// Takes the cgroups that the host has.
    pub(super) fn seed_cgroups(&mut self, walk: &CgroupWalk) {
        let new = self.cgroups.seed(walk);
        if let Some(names) = &self.names {
            new.iter().for_each(|cgroup| names.look_up(cgroup));
        }
    }

    /// Returns whether an owner's cgroup was without a path since the last call.
    pub(super) fn take_lacks_cgroups(&mut self) -> bool {
        self.cgroups.take_lacks()
    }

    /// Returns how many processes had no room in the table since the last call.
    pub(super) fn take_not_kept(&mut self) -> u64 {
        self.processes.take_not_kept()
    }

    /// Returns the process that acted; none for a kernel thread.
    pub(super) fn acting(&mut self, process: &wire::Process) -> Option<Arc<Owner>> {
        let wire::Process { cgroup, pid, uid, host_pid, run, real_uid, .. } = *process;
        let real_uid = Some(real_uid);
        let comm = process.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let facts = Facts { uid, real_uid, cgroup, comm, run };
        ((pid, host_pid) != (0, 0)).then(|| self.shared(pid, host_pid, &facts))
    }

    /// Returns the owner that a dump found after `time`, with its process. A process that has begun
    /// another program since may have closed the socket by that.
    pub(super) fn holding(&mut self, owner: &Owner, time: Mono) -> Arc<Owner> {
        let Owner { pid, host_pid, uid, real_uid, ref cgroup, ref comm, .. } = *owner;
        let cgroup = cgroup.as_ref().map_or(0, |cgroup| cgroup.id);
        let run = if self.began_after(owner.key(), time) { NO_RUN } else { 0 };
        self.shared(pid, host_pid, &Facts { uid, real_uid, cgroup, comm, run })
    }

    /// Returns whether a process has begun, or has begun another program, after a moment.
    pub(super) fn began_after(&self, key: ProcessKey, time: Mono) -> bool {
        self.processes.began(key).is_some_and(|began| began > time)
    }

    fn shared(&mut self, pid: u32, host_pid: u32, facts: &Facts<'_>) -> Arc<Owner> {
        let Facts { uid, real_uid, cgroup, comm, run } = *facts;
        let key = ProcessKey::new(pid, host_pid);
        let process = self.processes.of(key, run).filter(|_| run != NO_RUN);
        let latest = self.latest.get(&key).filter(|known| {
            let known_cgroup = known.cgroup.as_ref().map_or(0, |cgroup| cgroup.id);
            (known.uid, known_cgroup) == (uid, cgroup)
                && real_uid.is_none_or(|real| known.real_uid == Some(real))
                && *known.comm == *comm
                && known.process.as_ref() == process
        });
        if let Some(latest) = latest {
            return Arc::clone(latest);
        }
        let (comm, process) = (comm.into(), process.cloned());
        let cgroup: Option<Arc<Cgroup>> = self.cgroups.get(cgroup);
        let owner = Arc::new(Owner { pid, host_pid, uid, real_uid, cgroup, comm, process });
        if self.latest.len() >= MAX_OWNERS {
            self.latest.clear();
        }
        self.latest.insert(key, Arc::clone(&owner));
        owner
    }
}

/// Returns the path of a record; empty if the kernel program could not read the path. A path that
/// fills the room has been cut by the kernel.
fn path(made: &wire::CgroupMade) -> Cow<'_, [u8]> {
    let used = made.path.get(..usize::from(made.path_length)).unwrap_or_default();
    match used {
        [path @ .., 0] if used.len() < wire::CGROUP_PATH => path.into(),
        [path @ .., 0] => cut(path).into_vec().into(),
        _ => Cow::default(),
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    #[test]
    fn a_path_that_the_kernel_has_cut_ends_with_a_mark() {
        let of = |text: &str| {
            let mut made = wire::CgroupMade::zeroed();
            made.path[..text.len()].copy_from_slice(text.as_bytes());
            made.path_length = u16::try_from(text.len() + 1).expect("short");
            String::from_utf8(path(&made).into_owned()).expect("UTF-8")
        };
        assert_eq!(of("/a.slice/b.service"), "/a.slice/b.service");
        let long = format!("/a.slice/{}", "b".repeat(wire::CGROUP_PATH - 10));
        assert_eq!(of(&long), "/a.slice/…");
        assert!(path(&wire::CgroupMade::zeroed()).is_empty());
    }
}
