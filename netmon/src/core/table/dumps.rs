//! Corrections by dumps: rows that no event explains are added, moved and ended.

use std::{sync::Arc, time::Duration};

use rustc_hash::FxHashMap;

use super::{Change, Connection, ConnectionTable, Direction, endings::unseen, hash};
use crate::core::{
    connection::NEVER,
    event::{DumpScope, Seed, Transition},
    id::{ConnectionId, SocketId, TableKey},
    prefetch::for_each_prefetched,
    process::{Evidence, Owner, Process, ProcessKey},
    program::{KnownProcess, run_the_same},
    tcp::TcpState,
    time::Mono,
};

/// The kernel reports a transition before it makes the transition (`inet_sk_set_state`,
/// net/ipv4/af_inet.c), and may be interrupted between the two. A dump that comes so soon after a
/// transition proves nothing.
const SETTLED: Duration = Duration::from_millis(100);
/// TCP_TIMEWAIT_LEN (include/net/tcp.h), less what rounding to ticks may take.
const TIME_WAIT: Duration = Duration::from_secs(59);
/// When a TIME_WAIT in a namespace that cannot be looked into is over: its timer's slack included.
const UNSEEN_TIME_WAIT: Duration = Duration::from_secs(70);

/// The epochs of TIME_WAITs that a dump finds at one moment lie in so many microseconds before that
/// moment: a journal has microseconds.
const FORMER_EPOCHS: u64 = 4_093;

/// The scopes of a dump, each with the time before its first socket was read.
#[derive(Clone, Debug, Default)]
pub(super) struct DumpedScopes {
    namespaces: FxHashMap<u32, Mono>,
    others: Vec<(DumpScope, Mono)>,
}

impl DumpedScopes {
    pub(super) fn insert(&mut self, scope: DumpScope, began: Mono) {
        match scope {
            DumpScope::Namespace(netns) => {
                self.namespaces.insert(netns, began);
            }
            DumpScope::AllBut(_) => self.others.push((scope, began)),
        }
    }

    /// Returns the time before the dump of namespace `netns`, if the dump had the namespace.
    fn began(&self, netns: u32) -> Option<Mono> {
        let others = || self.others.iter().find(|(scope, _)| scope.contains(netns));
        self.namespaces.get(&netns).copied().or_else(|| Some(others()?.1))
    }
}

impl ConnectionTable {
    /// Compares a row with the socket that a dump found, or adds the row.
    pub(super) fn seed<E>(
        &mut self,
        seed: &Seed,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let pass = self.reconciled;
        let key = self.key_beside(seed.cookie, &seed.tuple, seed.state);
        let Some(row) = self.rows.get_mut(&key) else {
            let is_late = |closed: Mono| seed.time <= closed + SETTLED;
            let keys =
                [TableKey::of_socket(seed.cookie), TableKey::of_former(seed.cookie, &seed.tuple)];
            if keys.into_iter().filter_map(|key| self.closed.during(key)).any(is_late) {
                return Ok(());
            }
            let mut row = self.found(seed, pass);
            let was = self.recall(&mut row);
            // It was open when the recording before ended, and has ended since.
            let ends = was.filter(|_| seed.state == TcpState::TimeWait).filter(is_open);
            row.state = ends.unwrap_or(seed.state);
            self.put(key, Box::new(row.clone()));
            let (time, initial) = (seed.time, pass == 0);
            let result = view(Change::Found { time, connection: &row, initial });
            if ends.is_none() {
                return result;
            }
            let t = unseen(&row, time, seed.state);
            return result.and(self.advance(key, &t, None, true, view));
        };
        (row.last_dump_pass, row.absent_once) = (pass, false);
        let is_news = note_holders(row, seed);
        let as_of = row.as_of();
        let settled = as_of + SETTLED < seed.time;
        // Else the event that says in which state it is now is still to come.
        if settled || row.state == seed.state {
            row.last_dumped_at = row.last_dumped_at.max(seed.time);
        }
        let mut result = Ok(());
        if is_news {
            // The dump may have begun before the last change of the connection.
            result = view(Change::Owned { time: seed.time.max(as_of), connection: row });
        }
        if !settled || row.state == seed.state {
            return result;
        }
        let (tuple, binding) = (seed.tuple, seed.binding.clone());
        let t = Transition { tuple, binding, ..unseen(row, seed.time, seed.state) };
        let in_state = row.since.map(|since| seed.time.since(since));
        result.and(self.advance(key, &t, in_state, true, view))
    }

    /// Ends the row of a socket that has failed without an event.
    pub(super) fn fail<E>(
        &mut self,
        time: Mono,
        cookie: SocketId,
        errno: u8,
        view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(row) = self.rows.get(&TableKey::of_socket(cookie)) else { return Ok(()) };
        if !is_open(&row.state) || row.as_of() + SETTLED >= time {
            return Ok(());
        }
        let t = Transition { errno: Some(errno), ..unseen(row, time, TcpState::Close) };
        let in_state = row.since.map(|since| time.since(since));
        self.advance(TableKey::of_socket(cookie), &t, in_state, true, view)
    }

    /// Ends the rows that two dumps in a row did not have.
    pub(super) fn reconcile<E>(
        &mut self,
        time: Mono,
        mut view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let pass = self.reconciled;
        let mut gone = Vec::new();
        let load = |(_, row): &(_, &mut Box<Connection>)| {
            i64::from(row.last_dump_pass) ^ row.as_of().as_nanos() ^ row.state as i64
        };
        for_each_prefetched(self.rows.iter_mut(), load, |(key, row)| {
            let is_waiting = row.state == TcpState::TimeWait;
            let as_of = row.as_of();
            match self.dumped.began(row.tuple.netns) {
                Some(began) if row.last_dump_pass != pass && as_of + SETTLED < began => {
                    let is_over = row.since.is_some_and(|since| since + TIME_WAIT <= began);
                    if row.absent_once || is_waiting && is_over {
                        gone.push((*key, began));
                    }
                    row.absent_once = true;
                }
                None if is_waiting && as_of + UNSEEN_TIME_WAIT < time => {
                    gone.push((*key, time));
                }
                _ => {}
            }
        });
        self.dumped = DumpedScopes::default();
        self.closed.end();
        // The number wraps after a century of dumps, and is never `NEVER` nor that of the first.
        self.reconciled = (pass + 1) % NEVER;
        let mut result = Ok(());
        for (key, time) in gone {
            let shown = self.vanish(key, time, |change| match &result {
                Ok(()) => view(change),
                Err(_) => Ok(()),
            });
            result = result.and(shown);
        }
        result = result.and_then(|()| self.forget(time, &mut view));
        result.and_then(|()| view(Change::Reconciled { time }))
    }

    /// Makes the row of a socket that only a dump has reported.
    fn found(&self, seed: &Seed, pass: u32) -> Connection {
        // A TIME_WAIT may be one of several connections that a socket has had: each has an epoch of
        // its own.
        let earlier = match seed.state {
            TcpState::TimeWait => 1 + hash(&seed.tuple) % FORMER_EPOCHS,
            _ => 0,
        };
        let epoch = seed.time - Duration::from_micros(earlier);
        let id = ConnectionId { cookie: seed.cookie, epoch };
        let mut row = Connection {
            opened: self.anchor.wall_time(epoch),
            direction: (seed.state == TcpState::Listen).then_some(Direction::Listen),
            inferred_direction: self.listeners.direction(&seed.tuple, &[seed.state]),
            last_dumped_at: seed.time,
            last_dump_pass: pass,
            binding: seed.binding.clone(),
            ..Connection::new(id, seed.tuple, seed.state)
        };
        note_holders(&mut row, seed);
        row
    }
}

/// Notes the processes that hold a connection now. Returns whether that is news.
fn note_holders(row: &mut Connection, seed: &Seed) -> bool {
    let is_news = note_owner(row, seed);
    let Some(owner) = row.owner.as_deref() else { return is_news };
    let (key, process) = (owner.key(), owner.process.as_deref());
    let runs_other = |holder: &Owner| {
        let is_owner = key.may_be(holder.key());
        !run_the_same(is_owner, process, holder.process.as_deref())
    };
    let mut holders = seed.holders.iter();
    let stays = holders.any(|holder| key.may_be(holder.key()) && !runs_other(holder));
    let known = row.holder.as_deref();
    let is_known = |holder: &Owner| known.is_some_and(|known| known.key() == holder.key());
    // A process that runs another program has the connection for itself, also beside the owner: the
    // shape of a reverse shell. A command that lives for a moment only inherits it.
    let is_apart = |holder: &&Arc<Owner>| {
        let is_unknown = holder.process.is_none();
        let is_settled = !stays || !seed.young.contains(&holder.key());
        is_known(holder) && is_unknown || runs_other(holder) && (is_known(holder) || is_settled)
    };
    let is_copy = |holder: &&Arc<Owner>| !stays && !runs_other(holder);
    let first = |is: &dyn Fn(&&Arc<Owner>) -> bool| {
        let known = seed.holders.iter().find(|holder| is(holder) && is_known(holder));
        known.or_else(|| seed.holders.iter().find(is))
    };
    let Some(holder) = first(&is_apart).or_else(|| first(&is_copy)) else {
        return row.holder.take().is_some() || is_news;
    };
    let known = known.map(|known| (known.key(), &*known.comm, known.known.as_deref()));
    if !is_other(known, holder) {
        return is_news;
    }
    // The cgroup of the dump is that of the socket.
    row.holder = Some(Arc::new(Process { cgroup: None, ..Process::from(&**holder) }));
    true
}

/// Has a holder for the owner of a connection of which nothing says who opened it. Returns whether
/// that is news.
fn note_owner(row: &mut Connection, seed: &Seed) -> bool {
    let is_opener = match row.evidence {
        Some(Evidence::Connect | Evidence::Accept) => true,
        // A process that holds the connection is better evidence than one that holds its listener.
        Some(Evidence::Listen) => row.direction == Some(Direction::Listen),
        Some(Evidence::FdScan) | None => false,
    };
    if is_opener {
        return false;
    }
    let known = row.owner.as_deref();
    let is_owner = |holder: &&Arc<Owner>| known.is_some_and(|own| own.key().may_be(holder.key()));
    let holder = seed.holders.iter().find(is_owner).or_else(|| seed.holders.first());
    let Some(holder) = holder else { return false };
    let known = known.map(|known| (known.key(), &*known.comm, known.process.as_deref()));
    let is_news = row.evidence != Some(Evidence::FdScan) || is_other(known, holder);
    if is_news {
        (row.owner, row.evidence) = (Some(Arc::clone(holder)), Some(Evidence::FdScan));
    }
    is_news
}

/// Returns whether a holder is another process than the known one, runs another program, or is one
/// of which more is known by now. A new name is no news where programs are known: a process may
/// change its name at any time.
fn is_other(known: Option<(ProcessKey, &[u8], Option<&KnownProcess>)>, holder: &Owner) -> bool {
    let Some((key, comm, process)) = known else { return true };
    let now = holder.process.as_deref();
    let program = |process: Option<&KnownProcess>| process.is_some_and(|of| of.program.is_some());
    let login = |process: Option<&KnownProcess>| process.is_some_and(|of| of.login.is_some());
    !key.may_be(holder.key())
        || !run_the_same(true, process, now)
        || process.is_none() && now.is_some()
        || !program(process) && program(now)
        || !login(process) && login(now)
        || process.is_none() && now.is_none() && *comm != *holder.comm
}

/// Returns whether a socket in this state has a connection that has not ended.
fn is_open(state: &TcpState) -> bool {
    !matches!(state, TcpState::TimeWait | TcpState::Listen)
}
