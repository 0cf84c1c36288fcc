//! The processes of the host, from their beginnings to some seconds after their ends.
//!
//! Records of processes come in order of time, so that the table at the moment of a connect has the
//! process as it was then. The table is bounded: the processes that ended first leave first.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, iter, sync::Arc, time::Duration};

use netmon_common::{Namespaces, TICK};
use rustc_hash::FxHashMap;

use super::{
    process::ProcessKey,
    program::{Above, Ancestor, KnownProcess, Login, MAX_ANCESTORS, Program, ancestors_above},
    time::{Mono, Wall},
};

/// The time for which an ended process stays: a dump that found the process may come that late.
const KEPT: Duration = Duration::from_secs(10);
/// The most processes, some 500 bytes each, and 2 KiB with the longest path and arguments. Beyond
/// that, and if none has ended, new processes are not kept.
const MOST: usize = 1 << 16;

/// A process, by its number and its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The login that led to it.
    pub login: Option<Login>,
    /// Its namespaces.
    pub namespaces: Namespaces,
}

impl SeenProcess {
    /// Returns the process, without its ancestors. The boot was at `booted`.
    #[must_use]
    pub(crate) fn known(self, booted: Wall) -> KnownProcess {
        let Self { id, parent, program, login, namespaces, .. } = self;
        let ancestors = Box::default();
        let started = start(booted, id.started);
        KnownProcess { started, parent, run: 0, program, login, namespaces, ancestors }
    }
}

/// Returns the wall time of a start in ticks since the boot.
pub(crate) fn start(booted: Wall, ticks: u64) -> Wall {
    booted + Duration::from_nanos(ticks.saturating_mul(TICK))
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
    /// The low bits of the number of programs that it has run; none where `/proc` alone knows it.
    execs: Option<u8>,
    /// The time of its last record, or of the look.
    changed: Mono,
    process: Arc<KnownProcess>,
}

impl Entry {
    /// Returns whether the process has the mark of a record ([`netmon_common::run`]).
    fn is(&self, run: u32) -> bool {
        /// The bits of the start.
        const START: u32 = !0xff;
        let own = run_of(self.started, self.execs.unwrap_or_default());
        match self.execs {
            _ if run == 0 => true,
            Some(_) => own == run,
            None => own & START == run & START,
        }
    }
}

/// Returns the mark of a process with its start in ticks, and the low bits of the number of
/// programs that it has run.
fn run_of(started: u64, execs: u8) -> u32 {
    // A start in the first tick is known too.
    netmon_common::run((started * TICK).max(1), execs)
}

impl Processes {
    /// Makes an empty table of a host whose boot was at `booted`, which turns starts into wall
    /// time.
    #[must_use]
    pub(crate) fn new(booted: Wall) -> Self {
        Self { booted, known: FxHashMap::default(), ended: VecDeque::new(), not_kept: 0 }
    }

    /// Returns the process with a number. `run` is the mark of its record
    /// ([`netmon_common::run`]), 0 where unknown: a process of another start is another process,
    /// and one that has run more programs has a program that is not known here.
    #[must_use]
    pub(crate) fn of(&self, key: ProcessKey, run: u32) -> Option<&Arc<KnownProcess>> {
        self.known.get(&key).filter(|entry| entry.is(run)).map(|entry| &entry.process)
    }

    /// Returns when a process began its program, if a record of that has come.
    pub(crate) fn began(&self, key: ProcessKey) -> Option<Mono> {
        self.known.get(&key).filter(|entry| entry.execs.is_some()).map(|entry| entry.changed)
    }

    /// Returns how many processes had no room in the table since the last call.
    pub(crate) fn take_not_kept(&mut self) -> u64 {
        std::mem::take(&mut self.not_kept)
    }

    /// Takes a process that began as a copy of `parent`, whose mark was `parent_run`.
    pub(crate) fn fork(
        &mut self,
        time: Mono,
        (id, execs): (ProcessId, u8),
        (parent, parent_run): (ProcessKey, u32),
        (login, namespaces): (Option<Login>, Namespaces),
    ) {
        self.forget(time);
        let is_older = |entry: &&Entry| entry.changed <= time;
        self.note_login((parent, parent_run), login.as_ref());
        let number = number(parent);
        // A parent that `/proc` alone knows has no program of later: `Owners::seed` left it out.
        let is_of_then = |entry: &&Entry| is_older(entry) || entry.execs.is_none();
        let parent =
            self.known.get(&parent).filter(|entry| is_of_then(entry) && entry.is(parent_run));
        let (program, ancestors) = parent.map_or_else(Default::default, |entry| {
            let KnownProcess { program, ancestors, .. } = &*entry.process;
            (program.clone(), above(number, program.as_ref(), ancestors))
        });
        let parent = number;
        let known = self.known.get_mut(&id.key).filter(|entry| entry.started == id.started);
        if let Some(entry) = known.filter(|entry| entry.changed > time) {
            // `/proc` was read after this record was made, and has the parent of an orphan.
            if entry.process.parent != parent {
                let process = (*entry.process).clone();
                entry.process = Arc::new(KnownProcess { parent, ancestors, ..process });
            }
            return;
        }
        let started = start(self.booted, id.started);
        let run = run_of(id.started, execs);
        let process = KnownProcess { started, parent, run, program, login, namespaces, ancestors };
        self.put(time, id, Some(execs), Arc::new(process));
    }

    /// Takes a process that runs another program now; `None` for a program that is not known.
    pub(crate) fn exec(
        &mut self,
        time: Mono,
        (id, execs): (ProcessId, u8),
        program: Option<Program>,
        (login, namespaces): (Option<Login>, Namespaces),
    ) {
        let program = program.map(Arc::new);
        let known = self.known.get(&id.key).filter(|entry| entry.started == id.started);
        let (parent, ancestors) = known.map_or_else(Default::default, |entry| {
            (entry.process.parent, entry.process.ancestors.clone())
        });
        let started = start(self.booted, id.started);
        let run = run_of(id.started, execs);
        let process = KnownProcess { started, parent, run, program, login, namespaces, ancestors };
        self.put(time, id, Some(execs), Arc::new(process));
    }

    /// Takes the end of a process.
    pub(crate) fn exit(&mut self, time: Mono, id: ProcessId) {
        if self.known.get(&id.key).is_some_and(|entry| entry.started == id.started) {
            self.ended.push_back((time, id));
        }
    }

    /// Takes all processes of `/proc`. Of a process that has had a record since, `/proc` says no
    /// more than the table. A process that `/proc` lacks has ended, though its record was lost.
    pub(crate) fn seed(&mut self, seen: &[SeenProcess]) {
        let by_number: FxHashMap<u32, &SeenProcess> =
            seen.iter().map(|seen| (number(seen.id.key), seen)).collect();
        for seen in seen {
            let SeenProcess { id, time, parent, ref program, ref login, namespaces } = *seen;
            let known = self.known.get(&id.key);
            let same = known.filter(|entry| entry.started == id.started);
            let namespaces = completed(namespaces, same.map(|entry| entry.process.namespaces));
            let is_known = same.is_some_and(|entry| {
                let known = &*entry.process;
                // A zombie shows no program.
                (program.is_none() || known.program == *program)
                    && (login.is_none() || known.login == *login)
                    && known.namespaces == namespaces
                    && (known.parent != 0 || parent == 0)
            });
            if known.is_some_and(|entry| entry.changed > time) {
                continue;
            }
            if is_known {
                // An exec whose record was lost may have led to the same program.
                if program.is_some()
                    && let Some(entry) = self.known.get_mut(&id.key)
                {
                    entry.execs = None;
                }
                continue;
            }
            let program = program.clone().or_else(|| same?.process.program.clone());
            let login = login.clone().or_else(|| same?.process.login.clone());
            // An orphan has another parent by now.
            if let Some(known) = same.filter(|entry| entry.process.parent != 0) {
                let known = (*known.process).clone();
                let process = KnownProcess { run: 0, program, login, namespaces, ..known };
                self.put(time, id, None, Arc::new(process));
                continue;
            }
            let ancestors = ancestors_above(parent, id.started, |pid| {
                let SeenProcess { id, program, parent, .. } = by_number.get(&pid)?;
                Some(Above { program: program.clone()?, parent: *parent, started: id.started })
            });
            let (started, run) = (start(self.booted, id.started), 0);
            let process =
                KnownProcess { started, parent, run, program, login, namespaces, ancestors };
            self.put(time, id, None, Arc::new(process));
        }
        // A `/proc` that hides processes hides the first one too.
        if let Some(began) = seen.iter().map(|seen| seen.time).min()
            && by_number.contains_key(&1)
        {
            self.forget(began);
            let gone = self.known.iter().filter_map(|(key, entry)| match key {
                ProcessKey::Inside(pid) if !by_number.contains_key(pid) => {
                    let id = ProcessId { key: *key, started: entry.started };
                    (entry.changed < began).then_some((began, id))
                }
                _ => None,
            });
            self.ended.extend(gone);
        }
    }

    /// Takes the login of a child for its parent, who has logged in since its own last record.
    fn note_login(&mut self, (parent, run): (ProcessKey, u32), login: Option<&Login>) {
        let entry = self.known.get_mut(&parent).filter(|entry| entry.is(run));
        if let Some(entry) = entry.filter(|entry| entry.process.login.is_none())
            && let Some(login) = login
        {
            let login = Some(login.clone());
            entry.process = Arc::new(KnownProcess { login, ..(*entry.process).clone() });
        }
    }

    fn put(&mut self, time: Mono, id: ProcessId, execs: Option<u8>, process: Arc<KnownProcess>) {
        let is_full = self.known.len() >= MOST;
        if is_full && !self.known.contains_key(&id.key) && !self.forget_first() {
            self.not_kept += 1;
            return;
        }
        let entry = Entry { started: id.started, execs, changed: time, process };
        self.known.insert(id.key, entry);
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

/// Returns namespaces with what was known before in place of what a look does not show.
fn completed(shown: Namespaces, known: Option<Namespaces>) -> Namespaces {
    let known = known.unwrap_or_default();
    let or = |shown, known| if shown == 0 { known } else { shown };
    let Namespaces { mnt, pid, user } = shown;
    Namespaces { mnt: or(mnt, known.mnt), pid: or(pid, known.pid), user: or(user, known.user) }
}

/// Returns a number as in [`Owner::pid`](super::process::Owner::pid).
const fn number(key: ProcessKey) -> u32 {
    match key {
        ProcessKey::Inside(pid) => pid,
        ProcessKey::Outside(_) => 0,
    }
}

/// Returns the ancestors of a process whose parent has the number `pid` and has those `above`; none
/// if the parent's program is not known, since its parent would stand in its place.
fn above(pid: u32, program: Option<&Arc<Program>>, above: &[Ancestor]) -> Box<[Ancestor]> {
    let Some(program) = program else { return Box::default() };
    let parent = Ancestor::new(pid, Arc::clone(program));
    iter::once(parent).chain(above.iter().cloned()).take(MAX_ANCESTORS).collect()
}
