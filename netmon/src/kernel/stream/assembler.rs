//! Completes the kernel's records into events: adds local ports, decides about TIME_WAIT, and finds
//! the side that reset.
//!
//! Pure except for the questions that go through [`KernelQueries`]; the caller always passes `now`.
//! Events of different connections may leave in another order than their records came; events of
//! one connection never do.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use netmon_common::{self as wire, kind};

use super::{
    delay_queue::DelayQueue,
    fate::SocketFate,
    minisockets::{Minisockets, ParkedFor},
    owners::Owners,
};
use crate::{
    core::{
        event::{DumpScope, Event, Opening, ResetSide, Seed, Totals, Transition},
        id::SocketId,
        process::Owner,
        table::cookie_map::CookieMap,
        tcp::TcpState,
        time::{Mono, Wall},
    },
    kernel::{
        ring::record::{Record, totals, transition},
        sockets::sock_diag::{BucketState, SockQuery},
    },
};

/// The time that a connect waits for its next event to bring the port, before netmon asks.
const PORT_WAIT: Duration = Duration::from_millis(10);
/// The time during which netmon asks again for a missing port. Other processes or a hypervisor may
/// keep the process from running before it has the port.
const PORT_PATIENCE: Duration = Duration::from_secs(1);
/// The time that a CLOSE waits for the RST that may follow. The RST takes tens of microseconds,
/// unless the process is kept from running.
const RESET_WAIT: Duration = Duration::from_millis(50);
/// The longest time between a RST and the CLOSE that it causes.
const RESET_BEFORE: Duration = Duration::from_millis(1);
/// The time for which a process runs a program until a dump believes that it holds what it has.
const YOUNG: Duration = Duration::from_secs(1);
/// The limit of remembered RSTs. If more wait for a CLOSE, their CLOSE will never come.
const MAX_RESETS: usize = 4_096;

/// Questions that the kernel answers on request.
pub(super) trait KernelQueries {
    /// Returns the local port of the connecting socket at address `sock`, if that socket still
    /// exists.
    fn local_port(&mut self, sock: u64, cookie: SocketId) -> Option<u16>;
    /// Returns the kernel's state of each socket, and the time after the last answer.
    fn minisockets(&mut self, queries: &[SockQuery]) -> (Vec<BucketState>, Mono);
}

/// Turns records into complete events.
pub(super) struct Assembler {
    /// Transitions to SYN_SENT, or to LISTEN without a bind, that have no port yet; with the
    /// address of the socket.
    portless: DelayQueue<(Transition, u64)>,
    /// Transitions to CLOSE that a RST may follow.
    closing: DelayQueue<Transition>,
    minisockets: Minisockets,
    /// The time of the RST of each socket that has not closed yet: not every RST is an end.
    resets: CookieMap<Mono>,
    owners: Owners,
}

/// The queue of complete events.
pub(super) type EventQueue = VecDeque<Event>;

fn emit(out: &mut EventQueue, event: Transition) {
    out.push_back(Event::Transition(event));
}

impl Assembler {
    /// Makes an empty assembler. `kernel_reports`: the kernel reports every change of a TIME_WAIT
    /// bucket. `booted`: the beginning of the clock of processes.
    pub(in crate::kernel) fn new(kernel_reports: bool, booted: Wall) -> Self {
        Self {
            portless: DelayQueue::new(PORT_WAIT),
            closing: DelayQueue::new(RESET_WAIT),
            minisockets: Minisockets::new(kernel_reports),
            resets: CookieMap::default(),
            owners: Owners::new(booted),
        }
    }

    /// Takes one record.
    pub(in crate::kernel) fn record(&mut self, record: &Record, out: &mut EventQueue) {
        match record {
            Record::Transition(t) => self.transition(t, None, out),
            Record::End(end) => self.transition(&end.transition, totals(end), out),
            Record::Open(open) => self.open(open, out),
            Record::Child(child) => self.child(child, out),
            Record::Accept(accept) => {
                if let Some(cookie) = SocketId::new(accept.cookie)
                    && let Some(owner) = self.owners.acting(&accept.process)
                {
                    let time = Mono::from_kernel(accept.time);
                    out.push_back(Event::Accepted { time, cookie, owner });
                }
            }
            Record::Note(note) if note.kind == kind::PORT => self.port(note, out),
            Record::Note(note) if note.kind == kind::MINISOCKET => self.minisocket(note, out),
            Record::Note(reset) => self.reset(reset, out),
            Record::Exec(_)
            | Record::Fork(_)
            | Record::Exit(_)
            | Record::CgroupMade(_)
            | Record::CgroupRemoved(_) => self.owners.record(record),
        }
    }

    /// Settles everything that is due by `now`.
    pub(in crate::kernel) fn advance(
        &mut self,
        now: Mono,
        ask: &mut impl KernelQueries,
        out: &mut EventQueue,
    ) {
        self.release(now, ask, out);
        self.minisockets.advance(now, |queries| ask.minisockets(queries), |event| emit(out, event));
    }

    /// Emits the events that were held until `now`.
    fn release(&mut self, now: Mono, ask: &mut impl KernelQueries, out: &mut EventQueue) {
        while let Some((mut event, sock)) = self.portless.overdue(now) {
            if let Some(port) = ask.local_port(sock, event.cookie) {
                event.tuple.local.set_port(port);
            } else if now < event.time + PORT_PATIENCE {
                self.portless.hold(event.cookie, now, (event, sock));
                continue;
            }
            emit(out, event);
        }
        while let Some(event) = self.closing.overdue(now) {
            emit(out, event);
        }
    }

    /// Settles everything as far as the kernel can answer now. Must be called once, last.
    pub(in crate::kernel) fn finish(
        &mut self,
        now: Mono,
        ask: &mut impl KernelQueries,
        out: &mut EventQueue,
    ) {
        self.release(Mono::MAX, ask, out);
        self.minisockets.finish(now, |queries| ask.minisockets(queries), |event| emit(out, event));
    }

    /// Returns the time at which [`Self::advance`] has something to do next.
    pub(super) fn next_due(&self) -> Option<Mono> {
        [self.portless.next_due(), self.closing.next_due(), self.minisockets.next_due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn open(&mut self, open: &wire::Open, out: &mut EventQueue) {
        let opening = Opening::ByProcess(self.owners.acting(&open.process));
        let Some(event) = transition(&open.transition, opening) else { return };
        let cookie = event.cookie;
        // The socket is in use again: its last connection cannot become more complete.
        self.resets.remove(&cookie);
        if let Some(event) = self.closing.take(cookie).or_else(|| self.minisockets.reopened(cookie))
        {
            emit(out, event);
        }
        if event.tuple.local.port() == 0 {
            if let Some((older, _)) = self.portless.hold(cookie, event.time, (event, open.sock)) {
                emit(out, older);
            }
        } else {
            self.begin(event, out);
        }
    }

    /// Returns whether only a dump can report the end of this socket.
    pub(super) fn ends_unseen(&self, seed: &Seed) -> bool {
        seed.state == TcpState::SynRecv || seed.minisocket && !self.minisockets.kernel_reports()
    }

    /// Returns the owners of connections.
    pub(super) fn owners(&mut self) -> &mut Owners {
        &mut self.owners
    }

    /// Takes a socket of a dump, whose holders were read after `held`. The rings must have been
    /// read since.
    pub(in crate::kernel) fn seed(&mut self, mut seed: Seed, held: Mono, out: &mut EventQueue) {
        // The held event will report the beginning of this socket.
        if self.portless.holds(seed.cookie) {
            return;
        }
        let is_young = |holder: &&Arc<Owner>| self.owners.began_after(holder.key(), held - YOUNG);
        seed.young = seed.holders.iter().filter(is_young).map(|holder| holder.key()).collect();
        seed.holders.iter_mut().for_each(|holder| *holder = self.owners.holding(holder, held));
        if let Some(event) = self.minisockets.on_seed(&seed) {
            emit(out, event);
        }
        out.push_back(Event::Seed(seed));
    }

    /// Takes a socket that a dump found failed, without a report of its end so far.
    pub(in crate::kernel) fn failed(
        &self,
        time: Mono,
        cookie: SocketId,
        errno: u8,
        out: &mut EventQueue,
    ) {
        // The held event will report the end of this socket.
        if !self.closing.holds(cookie) {
            out.push_back(Event::SocketFailed { time, cookie, errno });
        }
    }

    /// Takes the end of a namespace's dump.
    pub(super) fn dumped(&mut self, scope: DumpScope, began: Mono, out: &mut EventQueue) {
        self.minisockets.on_dump(&scope, began, |event| emit(out, event));
        out.push_back(Event::Dumped { scope, began });
    }

    fn child(&mut self, child: &wire::Child, out: &mut EventQueue) {
        let opening = Opening::FromListener(SocketId::new(child.listener));
        if let Some(event) = transition(&child.transition, opening) {
            let began = Transition {
                time: Mono::from_kernel(child.syn_recv_time),
                old: TcpState::Listen,
                new: TcpState::SynRecv,
                errno: None,
                ..event
            };
            self.begin(began, out);
        }
        self.transition(&child.transition, None, out);
    }

    /// Emits the beginning of a connection, after the end of the socket that was parked at its
    /// place.
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
            && event.time.since(sent) <= RESET_BEFORE
        {
            event.reset = Some(ResetSide::Sent);
        }
        let fate = SocketFate::of(&event, record);
        let ready = match fate {
            SocketFate::Closed => Some(event),
            SocketFate::FinAcknowledged => {
                if let Some(other) = self.minisockets.peer_finished(event.tuple, event.time) {
                    emit(out, other);
                }
                Some(event)
            }
            SocketFate::TimeWait => Some(Transition { new: TcpState::TimeWait, ..event }),
            SocketFate::ReportedBucket => self.minisockets.follow(event),
            SocketFate::TimeWaitOrNothing => self.minisockets.park(event, ParkedFor::Answer),
            SocketFate::ParkedOrphan => self.minisockets.park(event, ParkedFor::PeersFin),
            SocketFate::AwaitsOwnReset => self.closing.hold(event.cookie, event.time, event),
        };
        // The event itself, or one that had to make room.
        if let Some(event) = ready {
            emit(out, event);
        }
    }

    /// Takes the port of a connect.
    fn port(&mut self, note: &wire::Note, out: &mut EventQueue) {
        if let Some(cookie) = SocketId::new(note.cookie)
            && let Some((mut first, _)) = self.portless.take(cookie)
        {
            first.tuple.local.set_port(note.port);
            self.begin(first, out);
        }
    }

    /// Takes the report that a TIME_WAIT bucket has come to TIME_WAIT, or has ended.
    fn minisocket(&mut self, note: &wire::Note, out: &mut EventQueue) {
        let Some(cookie) = SocketId::new(note.cookie) else { return };
        let (is_over, time) = (note.state == wire::state::CLOSE, Mono::from_kernel(note.time));
        if let Some(event) = self.minisockets.on_report(cookie, is_over, time) {
            emit(out, event);
        } else if is_over {
            out.push_back(Event::TimeWaitEnded { time, cookie });
        }
    }

    /// Takes a sent RST. It mostly comes after its CLOSE, but before it if the kernel aborts
    /// (`tcp_abort`). The socket of the RST may be unknown.
    fn reset(&mut self, reset: &wire::Note, out: &mut EventQueue) {
        let Some(cookie) = SocketId::new(reset.cookie) else { return };
        let time = Mono::from_kernel(reset.time);
        let minisocket = reset.state == wire::state::TIME_WAIT;
        if let Some(event) = self.minisockets.reset(cookie, minisocket, time) {
            return emit(out, event);
        }
        if let Some(mut event) = self.closing.take(cookie) {
            event.reset = Some(ResetSide::Sent);
            return emit(out, event);
        }
        if !minisocket {
            if self.resets.len() >= MAX_RESETS {
                self.resets.clear();
            }
            self.resets.insert(cookie, time);
        }
    }
}

#[cfg(test)]
mod tests;
