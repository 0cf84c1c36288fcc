//! The processes of the host, from their beginnings to some seconds after their ends.
//!
//! Records of processes come in order of time, so that the table at the moment of a connect has the
//! process as it was then. The table is bounded: the processes that ended first leave first.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rustc_hash::FxHashMap;

use super::{
    process::ProcessKey,
    program::{Ancestor, KnownProcess, MAX_ANCESTORS, Program},
    time::{Mono, Wall},
};

/// The time for which an ended process stays: a dump that found the process may come that late.
const KEPT: Duration = Duration::from_secs(10);
/// The most processes, some 500 bytes each. Beyond that, and if none has ended, new processes are
/// not kept.
const MOST: usize = 1 << 16;

/// A process, by its number and its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    /// The number, which the kernel gives again.
    pub key: ProcessKey,
    /// The start, in ticks since the boot ([`netmon_common::TICK`]).
    pub started: u64,
}

/// A process as `/proc` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenProcess {
    /// The process.
    pub id: ProcessId,
    /// A moment just before the look.
    pub time: Mono,
    /// The number of its parent then.
    pub parent: u32,
    /// Its program; none where it cannot be read.
    pub program: Option<Arc<Program>>,
}

impl SeenProcess {
    /// Returns the process, without its ancestors. The boot was at `booted`.
    #[must_use]
    pub(crate) fn known(self, booted: Wall) -> KnownProcess {
        let Self { id, parent, program, .. } = self;
        let ancestors = Box::default();
        KnownProcess { started: start(booted, id.started), parent, program, ancestors }
    }
}

/// Returns the wall time of a start in ticks since the boot.
fn start(booted: Wall, ticks: u64) -> Wall {
    booted + Duration::from_nanos(ticks.saturating_mul(netmon_common::TICK))
}

/// The table of processes.
#[derive(Debug)]
pub(crate) struct Processes {
    booted: Wall,
    known: FxHashMap<ProcessKey, Entry>,
    /// Ended processes, with their ends in order.
    ended: VecDeque<(Mono, ProcessId)>,
    not_kept: u64,
}

#[derive(Debug)]
struct Entry {
    started: u64,
    /// The time of its last record.
    changed: Mono,
    process: Arc<KnownProcess>,
}

impl Processes {
    /// Makes an empty table of a host whose boot was at `booted`, which turns starts into wall
    /// time.
    #[must_use]
    pub(crate) fn new(booted: Wall) -> Self {
        Self { booted, known: FxHashMap::default(), ended: VecDeque::new(), not_kept: 0 }
    }

    /// Returns the process with a number. `started` has the low bits of its start, 0 where the
    /// start is not known.
    #[must_use]
    pub(crate) fn of(&self, key: ProcessKey, started: u32) -> Option<&Arc<KnownProcess>> {
        let entry = self.known.get(&key)?;
        (started == 0 || entry.started & u64::from(u32::MAX) == u64::from(started))
            .then_some(&entry.process)
    }

    /// Returns how many processes had no room in the table since the last call.
    pub(crate) fn take_not_kept(&mut self) -> u64 {
        std::mem::take(&mut self.not_kept)
    }

    /// Takes a process that began as a copy of `parent`.
    pub(crate) fn fork(&mut self, time: Mono, id: ProcessId, parent: ProcessKey) {
        self.forget(time);
        let number = number(parent);
        let (program, ancestors) = self.known.get(&parent).map_or_else(Default::default, |entry| {
            let KnownProcess { program, ancestors, .. } = &*entry.process;
            let own = program.as_ref().map(|program| (number, program));
            (program.clone(), above(own, ancestors))
        });
        let started = start(self.booted, id.started);
        let process = Arc::new(KnownProcess { started, parent: number, program, ancestors });
        self.put(time, id, process);
    }

    /// Takes a process that runs another program now; `None` for a program that is not known.
    pub(crate) fn exec(&mut self, time: Mono, id: ProcessId, program: Option<Program>) {
        let program = program.map(Arc::new);
        let known = self.known.get(&id.key).filter(|entry| entry.started == id.started);
        let (parent, ancestors) = known.map_or_else(Default::default, |entry| {
            (entry.process.parent, entry.process.ancestors.clone())
        });
        let started = start(self.booted, id.started);
        self.put(time, id, Arc::new(KnownProcess { started, parent, program, ancestors }));
    }

    /// Takes the end of a process.
    pub(crate) fn exit(&mut self, time: Mono, id: ProcessId) {
        if self.known.get(&id.key).is_some_and(|entry| entry.started == id.started) {
            self.ended.push_back((time, id));
        }
    }

    /// Takes all processes of `/proc`. Of a process that has had a record since, `/proc` says no
    /// more than the table.
    pub(crate) fn seed(&mut self, seen: &[SeenProcess]) {
        let by_number: FxHashMap<u32, &SeenProcess> =
            seen.iter().map(|seen| (number(seen.id.key), seen)).collect();
        for seen in seen {
            let SeenProcess { id, time, parent, ref program } = *seen;
            let is_known = self.known.get(&id.key).is_some_and(|entry| {
                let is_same = entry.started == id.started && entry.process.program == *program;
                is_same || entry.changed > time
            });
            if is_known {
                continue;
            }
            let mut ancestors = Vec::new();
            let mut next = parent;
            while ancestors.len() < MAX_ANCESTORS
                && let Some(above) = by_number.get(&next)
                && let Some(program) = &above.program
            {
                ancestors.push(Ancestor { pid: next, program: Arc::clone(program) });
                next = above.parent;
            }
            let (started, program) = (start(self.booted, id.started), program.clone());
            let ancestors = ancestors.into();
            let process = Arc::new(KnownProcess { started, parent, program, ancestors });
            self.put(time, id, process);
        }
    }

    fn put(&mut self, time: Mono, id: ProcessId, process: Arc<KnownProcess>) {
        let is_full = self.known.len() >= MOST;
        if is_full && !self.known.contains_key(&id.key) && !self.forget_first() {
            self.not_kept += 1;
            return;
        }
        self.known.insert(id.key, Entry { started: id.started, changed: time, process });
    }

    /// Forgets the processes that ended long before `now`.
    fn forget(&mut self, now: Mono) {
        while let Some((_, id)) = self.ended.pop_front_if(|(time, _)| *time + KEPT <= now) {
            self.remove(id);
        }
    }

    /// Forgets the process that ended first. Returns `false` if none has ended.
    fn forget_first(&mut self) -> bool {
        while let Some((_, id)) = self.ended.pop_front() {
            if self.remove(id) {
                return true;
            }
        }
        false
    }

    /// Forgets a process. Returns `false` if its number is that of another by now.
    fn remove(&mut self, id: ProcessId) -> bool {
        let is_there = self.known.get(&id.key).is_some_and(|entry| entry.started == id.started);
        is_there && self.known.remove(&id.key).is_some()
    }
}

/// Returns a number as in [`Owner::pid`](super::process::Owner::pid).
const fn number(key: ProcessKey) -> u32 {
    match key {
        ProcessKey::Inside(pid) => pid,
        ProcessKey::Outside(_) => 0,
    }
}

/// Returns the ancestors of a process whose parent is `own` and has those `above`.
fn above(own: Option<(u32, &Arc<Program>)>, above: &[Ancestor]) -> Box<[Ancestor]> {
    let own = own.map(|(pid, program)| Ancestor { pid, program: Arc::clone(program) });
    own.into_iter().chain(above.iter().cloned()).take(MAX_ANCESTORS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::at;

    fn id(pid: u32, started: u64) -> ProcessId {
        ProcessId { key: ProcessKey::Inside(pid), started }
    }

    fn program(path: &str) -> Option<Program> {
        Some(Program { path: path.as_bytes().into(), is_deleted: false, arguments: None })
    }

    fn path(processes: &Processes, pid: u32, started: u32) -> Option<String> {
        let process = processes.of(ProcessKey::Inside(pid), started)?;
        let path = process.program.as_ref().map(|program| program.path.to_vec());
        path.map(|path| String::from_utf8(path).expect("UTF-8"))
    }

    fn ancestors(processes: &Processes, pid: u32) -> Vec<u32> {
        let process = processes.of(ProcessKey::Inside(pid), 0).expect("known");
        process.ancestors.iter().map(|ancestor| ancestor.pid).collect()
    }

    fn seen(pid: u32, parent: u32, path: &str) -> SeenProcess {
        let program = program(path).map(Arc::new);
        SeenProcess { id: id(pid, 5), time: at(10), parent, program }
    }

    #[test]
    fn a_copy_has_the_program_of_its_parent_until_it_runs_another() {
        let mut processes = Processes::new(Wall::EPOCH);
        processes.exec(at(1), id(10, 100), program("/bin/sh"));
        processes.fork(at(2), id(11, 101), ProcessKey::Inside(10));
        assert_eq!(path(&processes, 11, 101).as_deref(), Some("/bin/sh"));
        processes.exec(at(3), id(11, 101), program("/bin/nc"));
        assert_eq!(path(&processes, 11, 0).as_deref(), Some("/bin/nc"));
        assert_eq!(path(&processes, 11, 102), None, "another process with that number");
        let process = processes.of(ProcessKey::Inside(11), 0).expect("known");
        assert_eq!((process.parent, process.started), (10, Wall::from_nanos(1_010_000_000)));
        assert_eq!(ancestors(&processes, 11), [10]);
    }

    #[test]
    fn ancestors_are_few_and_outlive_their_processes() {
        let mut processes = Processes::new(Wall::EPOCH);
        processes.exec(at(1), id(1, 1), program("/sbin/init"));
        for pid in 2..10_u32 {
            processes.fork(at(1), id(pid, 2), ProcessKey::Inside(pid - 1));
            processes.exit(at(1), id(pid - 1, 2));
        }
        assert_eq!(ancestors(&processes, 9), [8, 7, 6, 5]);
    }

    #[test]
    fn an_ended_process_stays_for_a_while() {
        let second = 1_000_000_000;
        let mut processes = Processes::new(Wall::EPOCH);
        processes.exec(at(0), id(10, 1), program("/bin/a"));
        processes.exit(at(second), id(10, 1));
        processes.fork(at(5 * second), id(11, 1), ProcessKey::Inside(1));
        assert!(path(&processes, 10, 1).is_some());
        // Another process with the number does not end with the first.
        processes.exec(at(6 * second), id(10, 9), program("/bin/b"));
        processes.exit(at(6 * second), id(10, 1));
        processes.fork(at(20 * second), id(12, 1), ProcessKey::Inside(1));
        assert_eq!(path(&processes, 10, 9).as_deref(), Some("/bin/b"));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut processes = Processes::new(Wall::EPOCH);
        let most = u32::try_from(MOST).expect("32 bits");
        for pid in 1..=most {
            processes.exec(at(0), id(pid, 1), program("/bin/a"));
        }
        processes.exec(at(1), id(most + 1, 1), program("/bin/b"));
        assert_eq!((processes.take_not_kept(), path(&processes, most + 1, 1)), (1, None));
        processes.exit(at(2), id(7, 1));
        processes.exec(at(3), id(most + 1, 1), program("/bin/b"));
        assert_eq!((processes.take_not_kept(), path(&processes, 7, 1)), (0, None));
        assert_eq!(path(&processes, most + 1, 1).as_deref(), Some("/bin/b"));
        assert_eq!(processes.known.len(), MOST);
    }

    #[test]
    fn records_say_more_than_an_older_look() {
        let mut processes = Processes::new(Wall::EPOCH);
        processes.exec(at(20), id(3, 5), program("/bin/new"));
        processes.exec(at(2), id(4, 5), program("/bin/lost"));
        processes.seed(&[
            seen(1, 0, "/sbin/init"),
            seen(2, 1, "/bin/sh"),
            seen(3, 2, "/bin/old"),
            seen(4, 2, "/bin/found"),
        ]);
        assert_eq!(path(&processes, 3, 5).as_deref(), Some("/bin/new"));
        assert_eq!(path(&processes, 4, 5).as_deref(), Some("/bin/found"));
        assert_eq!(ancestors(&processes, 4), [2, 1]);
        assert_eq!(ancestors(&processes, 1), [0; 0]);
        // A process that is its own parent, as a race in `/proc` may show.
        processes.seed(&[seen(9, 9, "/bin/loop")]);
        assert_eq!(ancestors(&processes, 9), [9; 4]);
    }
}
