//! Completes the kernel's records into events: local ports, TIME_WAIT, who reset.
//!
//! Pure but for the questions it asks through [`KernelQueries`]; `now` is always given. Events of different
//! connections may leave in another order than they came; those of one connection never do.

use std::{collections::VecDeque, sync::Arc};

use netmon_common::{self as wire, flag, kind};
use rustc_hash::FxHashMap;

use super::{
    fate::SocketFate,
    minisockets::{Minisockets, ParkedFor},
};
use crate::{
    core::{
        event::{Event, Opening, Owner, ResetSide, Seed, Totals, Transition},
        table::cookie_map::CookieMap,
        tcp::TcpState,
    },
    kernel::{
        ring::record::{Record, tuple},
        sockets::sock_diag::{BucketState, SockQuery},
    },
};

const MS: u64 = 1_000_000;
/// How long a connect may wait for its next event to bring the port, before it is looked up.
const PORT_WAIT: u64 = 10 * MS;
/// How long a connect is asked about again that has no port yet: its process may be kept from going on, by
/// others or by a hypervisor, between the two.
const PORT_PATIENCE: u64 = 1_000 * MS;
/// How long a CLOSE waits for the reset that may follow it, which takes tens of microseconds unless the
/// process is kept from going on.
const RESET_WAIT: u64 = 50 * MS;
/// How long after a reset the CLOSE comes that it leads to.
const RESET_BEFORE: u64 = MS;
/// Resets whose CLOSE has not come: more than this many will never come.
const MAX_RESETS: usize = 4_096;
/// Processes that opened a connection; beyond it all are forgotten, and met anew.
const MAX_OWNERS: usize = 4_096;

/// The questions that the kernel answers on request.
pub(super) trait KernelQueries {
    /// The local port of the connecting socket at address `sock`, if it still is that socket.
    fn local_port(&mut self, sock: u64, cookie: u64) -> Option<u16>;
    /// What the kernel holds at each tuple under that cookie, and when all had been asked about, ns.
    fn minisockets(&mut self, asked: &[SockQuery]) -> (Vec<BucketState>, u64);
}

/// Events that wait until something is known, first in, first due.
struct DelayQueue<T> {
    events: CookieMap<(u64, T)>,
    due: VecDeque<(u64, u64)>,
    wait: u64,
}

impl<T> DelayQueue<T> {
    fn new(wait: u64) -> Self {
        Self { events: CookieMap::default(), due: VecDeque::new(), wait }
    }

    /// Holds `event`; answers an older one of the same cookie, which nothing can complete any more.
    fn hold(&mut self, cookie: u64, time: u64, event: T) -> Option<T> {
        let due = time.saturating_add(self.wait);
        self.due.push_back((due, cookie));
        self.events.insert(cookie, (due, event)).map(|(_, older)| older)
    }

    fn take(&mut self, cookie: u64) -> Option<T> {
        if self.events.is_empty() {
            return None;
        }
        self.events.remove(&cookie).map(|(_, event)| event)
    }

    /// The next one that is due by `now`.
    fn overdue(&mut self, now: u64) -> Option<T> {
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let (due, cookie) = self.due.pop_front()?;
            // Another of the same cookie may be held since, with a time of its own.
            if self.events.get(&cookie).is_some_and(|(held, _)| *held == due) {
                return self.take(cookie);
            }
        }
        None
    }

    fn next_due(&self) -> Option<u64> {
        self.due.front().map(|(due, _)| *due)
    }
}

/// Records in, complete events out.
pub(super) struct Assembler {
    /// -> SYN_SENT, or -> LISTEN without a bind, before it has a port; with the address of its socket.
    portless: DelayQueue<(Transition, u64)>,
    /// -> CLOSE that a reset may follow.
    closing: DelayQueue<Transition>,
    minisockets: Minisockets,
    has_totals: bool,
    /// When sockets sent a RST that have not closed yet: not every RST is an end.
    resets: CookieMap<u64>,
    /// By pid: a process that opens many connections is one owner. The kernel says who it is each time, so
    /// that a pid that is used again misleads nobody.
    owners: FxHashMap<u32, Arc<Owner>>,
}

/// Where complete events go.
pub(super) type EventQueue = VecDeque<Event>;

fn emit(out: &mut EventQueue, event: Transition) {
    out.push_back(Event::Transition(event));
}

impl Assembler {
    /// `is_told`: whether the kernel tells of all that befalls minisockets; `has_totals`: whether it is known
    /// where it keeps what a connection had done.
    pub(in crate::kernel) fn new(is_told: bool, has_totals: bool) -> Self {
        Self {
            has_totals,
            portless: DelayQueue::new(PORT_WAIT),
            closing: DelayQueue::new(RESET_WAIT),
            minisockets: Minisockets::new(is_told),
            resets: CookieMap::default(),
            owners: FxHashMap::default(),
        }
    }

    /// Takes one record.
    pub(in crate::kernel) fn record(&mut self, record: &Record, out: &mut EventQueue) {
        match record {
            Record::Transition(t) => self.transition(t, None, out),
            Record::End(end) => {
                let totals = self.has_totals.then(|| totals(end));
                self.transition(&end.transition, totals, out);
            }
            Record::Open(open) => self.open(open, out),
            Record::Child(child) => self.child(child, out),
            Record::Accept(accept) => {
                if let Some(owner) = self.owner(&accept.process) {
                    let (time, cookie) = (accept.time, accept.cookie);
                    out.push_back(Event::Accepted { time, cookie, owner });
                }
            }
            Record::Note(note) if note.kind == kind::PORT => self.port(note, out),
            Record::Note(note) if note.kind == kind::MINISOCKET => self.minisocket(note, out),
            Record::Note(reset) => self.reset(reset, out),
        }
    }

    /// Settles what is due by `now`.
    pub(in crate::kernel) fn advance(
        &mut self,
        now: u64,
        ask: &mut impl KernelQueries,
        out: &mut EventQueue,
    ) {
        self.release(now, ask, out);
        self.minisockets.advance(now, |asked| ask.minisockets(asked), |event| emit(out, event));
    }

    /// Lets go of what was held until `now`.
    fn release(&mut self, now: u64, ask: &mut impl KernelQueries, out: &mut EventQueue) {
        while let Some((mut event, sock)) = self.portless.overdue(now) {
            if let Some(port) = ask.local_port(sock, event.cookie) {
                event.tuple.local.set_port(port);
            } else if now < event.time.saturating_add(PORT_PATIENCE) {
                self.portless.hold(event.cookie, now, (event, sock));
                continue;
            }
            emit(out, event);
        }
        while let Some(event) = self.closing.overdue(now) {
            emit(out, event);
        }
    }

    /// Settles everything as far as the kernel can tell now; called once, last.
    pub(in crate::kernel) fn finish(
        &mut self,
        now: u64,
        ask: &mut impl KernelQueries,
        out: &mut EventQueue,
    ) {
        self.release(u64::MAX, ask, out);
        self.minisockets.finish(now, |asked| ask.minisockets(asked), |event| emit(out, event));
    }

    /// When [`Self::advance`] has something to do next, ns.
    pub(super) fn next_due(&self) -> Option<u64> {
        [self.portless.next_due(), self.closing.next_due(), self.minisockets.next_due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn open(&mut self, open: &wire::Open, out: &mut EventQueue) {
        let owner = self.owner(&open.process);
        let cookie = open.transition.cookie;
        // The socket is in use again: what was held of its last connection is as complete as it gets.
        self.resets.remove(&cookie);
        if let Some(event) = self.closing.take(cookie) {
            emit(out, event);
        }
        let Some(event) = transition(&open.transition, Opening::ByProcess(owner)) else { return };
        if event.tuple.local.port() == 0 {
            if let Some((older, _)) = self.portless.hold(cookie, event.time, (event, open.sock)) {
                emit(out, older);
            }
        } else {
            self.begin(event, out);
        }
    }

    /// Whether nothing but a dump will tell of its end.
    pub(super) fn ends_unseen(&self, seed: &Seed) -> bool {
        seed.state == TcpState::SynRecv || seed.minisocket && !self.minisockets.kernel_reports()
    }

    /// Takes what a dump had of a socket, the ring having been read since.
    pub(in crate::kernel) fn seed(&mut self, seed: Seed, out: &mut EventQueue) {
        // Its beginning is about to be told.
        if self.portless.events.contains_key(&seed.cookie) {
            return;
        }
        if let Some(event) = self.minisockets.on_seed(&seed) {
            emit(out, event);
        }
        out.push_back(Event::Seed(seed));
    }

    /// Takes that a dump had a socket that failed, and whose end nothing has told of.
    pub(in crate::kernel) fn failed(
        &self,
        time: u64,
        cookie: u64,
        errno: u8,
        out: &mut EventQueue,
    ) {
        // Its end is about to be told.
        if !self.closing.events.contains_key(&cookie) {
            out.push_back(Event::SocketFailed { time, cookie, errno });
        }
    }

    /// A dump has had every socket of a namespace.
    pub(super) fn dumped(&mut self, netns: u32, began: u64, out: &mut EventQueue) {
        self.minisockets.on_dump(netns, began, |event| emit(out, event));
        out.push_back(Event::NamespaceDumped { netns, began });
    }

    /// Who acted; none where a kernel thread did.
    fn owner(&mut self, process: &wire::Process) -> Option<Arc<Owner>> {
        let wire::Process { cgroup, pid, uid, .. } = *process;
        if pid == 0 {
            return None;
        }
        let comm = process.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let known = self
            .owners
            .get(&pid)
            .filter(|known| (known.uid, known.cgroup) == (uid, cgroup) && *known.comm == *comm);
        if let Some(known) = known {
            return Some(Arc::clone(known));
        }
        let owner = Arc::new(Owner { pid, uid, cgroup, comm: comm.into() });
        if self.owners.len() >= MAX_OWNERS {
            self.owners.clear();
        }
        self.owners.insert(pid, Arc::clone(&owner));
        Some(owner)
    }

    fn child(&mut self, child: &wire::Child, out: &mut EventQueue) {
        let listener = (child.listener != 0).then_some(child.listener);
        if let Some(event) = transition(&child.transition, Opening::FromListener(listener)) {
            let began = Transition {
                time: child.syn_recv_time,
                old: TcpState::Listen,
                new: TcpState::SynRecv,
                errno: None,
                ..event
            };
            self.begin(began, out);
        }
        self.transition(&child.transition, None, out);
    }

    /// A connection begins: whatever was at its place has made room.
    fn begin(&mut self, event: Transition, out: &mut EventQueue) {
        if let Some(other) = self.minisockets.make_room(event.tuple, event.time) {
            emit(out, other);
        }
        emit(out, event);
    }

    fn transition(
        &mut self,
        record: &wire::Transition,
        totals: Option<Totals>,
        out: &mut EventQueue,
    ) {
        let Some(mut event) = transition(record, Opening::None) else { return };
        event.totals = totals;
        if let Some((mut first, _)) = self.portless.take(event.cookie) {
            first.tuple.local = event.tuple.local;
            self.begin(first, out);
        }
        if event.new != TcpState::Close {
            return emit(out, event);
        }
        if event.reset == Some(ResetSide::Received)
            && let Some(other) = self.minisockets.peer_reset(event.tuple)
        {
            emit(out, other);
        }
        if !self.resets.is_empty()
            && let Some(sent) = self.resets.remove(&event.cookie)
            && event.time.saturating_sub(sent) <= RESET_BEFORE
        {
            event.reset = Some(ResetSide::Sent);
        }
        let fate = SocketFate::of(&event, record);
        let parked = match fate {
            SocketFate::Closed => Some(event),
            SocketFate::FinAcknowledged => {
                if let Some(other) = self.minisockets.peer_finished(event.tuple, event.time) {
                    emit(out, other);
                }
                Some(event)
            }
            SocketFate::TimeWait => Some(Transition { new: TcpState::TimeWait, ..event }),
            SocketFate::ReportedBucket => self.minisockets.follow(event, record.interface),
            SocketFate::TimeWaitOrNothing => {
                self.minisockets.park(event, record.interface, ParkedFor::Answer)
            }
            SocketFate::ParkedOrphan => {
                self.minisockets.park(event, record.interface, ParkedFor::PeersFin)
            }
            SocketFate::AwaitsOwnReset => self.closing.hold(event.cookie, event.time, event),
        };
        // The event itself, or one that it has pushed out.
        if let Some(event) = parked {
            emit(out, event);
        }
    }

    /// A connect has its port.
    fn port(&mut self, note: &wire::Note, out: &mut EventQueue) {
        if let Some((mut first, _)) = self.portless.take(note.cookie) {
            first.tuple.local.set_port(note.port);
            self.begin(first, out);
        }
    }

    /// A minisocket has come to TIME_WAIT, or ended.
    fn minisocket(&mut self, note: &wire::Note, out: &mut EventQueue) {
        let is_over = note.state == wire::state::CLOSE;
        if let Some(event) = self.minisockets.on_report(note.cookie, is_over, note.time) {
            emit(out, event);
        } else if is_over {
            out.push_back(Event::TimeWaitEnded { time: note.time, cookie: note.cookie });
        }
    }

    /// A RST went out: after its CLOSE mostly, before it where the kernel aborts (`tcp_abort`).
    fn reset(&mut self, reset: &wire::Note, out: &mut EventQueue) {
        let minisocket = reset.state == wire::state::TIME_WAIT;
        if let Some(event) = self.minisockets.reset(reset.cookie, minisocket, reset.time) {
            return emit(out, event);
        }
        if let Some(mut event) = self.closing.take(reset.cookie) {
            event.reset = Some(ResetSide::Sent);
            return emit(out, event);
        }
        if !minisocket {
            if self.resets.len() >= MAX_RESETS {
                self.resets.clear();
            }
            self.resets.insert(reset.cookie, reset.time);
        }
    }
}

/// The record as an event; `None` for a state or a family that `decode` would not have let pass.
fn transition(record: &wire::Transition, opening: Opening) -> Option<Transition> {
    let old = TcpState::from_number(record.old_state)?;
    let new = TcpState::from_number(record.new_state)?;
    Some(Transition {
        time: record.time,
        cookie: record.cookie,
        tuple: tuple(record),
        old,
        new,
        // Elsewhere `sk_err` may be left over from an earlier connection of the socket, and a
        // listener does not fail.
        errno: (new == TcpState::Close && old != TcpState::Listen && record.errno != 0)
            .then_some(record.errno),
        reset: (record.flags & flag::RESET_RECEIVED != 0).then_some(ResetSide::Received),
        totals: None,
        orphan: record.flags & flag::DEAD != 0,
        inferred: false,
        opening,
    })
}

fn totals(end: &wire::End) -> Totals {
    Totals {
        bytes_sent: end.bytes_sent,
        // The kernel counts the peer's FIN, which is in order like data (`tcp_rcv_nxt_update`).
        bytes_received: end
            .bytes_received
            .saturating_sub(u64::from(end.transition.flags & flag::DONE != 0)),
        retransmits: end.retransmits,
        rtt_us: Some(end.srtt_us >> 3).filter(|rtt| *rtt != 0),
    }
}

#[cfg(test)]
mod tests;
