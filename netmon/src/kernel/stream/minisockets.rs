//! Follows a connection after the kernel has released its full socket: FIN_WAIT2 -> CLOSE.
//!
//! `tcp_time_wait` (net/ipv4/tcp_minisocks.c) leaves a TIME_WAIT bucket in FIN_WAIT2 or TIME_WAIT,
//! and the tracepoint reports CLOSE either way. With hooks on functions, the kernel reports the
//! next step. Elsewhere netmon infers the step from the socket's flags, from resets, and from the
//! other end if that end is on this host too; otherwise netmon asks, on a budget.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use rustc_hash::FxHashMap;

use crate::{
    core::{
        event::{DumpScope, Opening, ResetSide, Seed, Transition},
        id::{SocketId, Tuple},
        table::cookie_map::CookieMap,
        tcp::TcpState,
        time::Mono,
    },
    kernel::sockets::sock_diag::{BucketState, SockQuery},
};

/// The wait before the first question: longer than the tens of microseconds until a possible RST.
const FIRST_ASK: Duration = Duration::from_millis(2);
/// The age until which an orphan without a bucket may still get a RST that explains its end: a
/// hypervisor may stop the CPU between the two.
const RST_PATIENCE: Duration = Duration::from_millis(50);
/// The longest time between two questions; each wait doubles up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// The time after a transition before which a dump proves nothing about it.
const SETTLED: Duration = Duration::from_millis(100);
/// The age at which a parked socket is given up. A bucket in FIN_WAIT2 lives at most
/// TCP_TIMEWAIT_LEN, 60 s (`tcp_fin_time`).
const GIVE_UP: Duration = Duration::from_secs(70);
/// The budget of questions a second, some 3 µs each.
const ASKS_PER_SECOND: u32 = 2_000;
/// The most questions at once.
const ASKS_AT_ONCE: usize = 500;
/// The limit of parked sockets whose peer FIN was taken: netmon can ask about them within a second.
/// If all buckets are in use, each close adds one. Beyond the limit netmon reports CLOSE without
/// asking.
const MAX_DOUBTFUL: usize = 2_000;
/// The limit of all parked sockets: half the kernel's default limit of buckets; some 200 bytes
/// each.
const MAX_PARKED: usize = 65_536;

/// The evidence that decides the fate of a parked socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParkedFor {
    /// The kernel's answer. The peer's FIN was taken already: since the socket closed, the bucket
    /// is in TIME_WAIT, or there is no bucket.
    Answer,
    /// The peer's FIN, a RST, or the end of the bucket's time.
    PeersFin,
}

/// A socket that waits for its fate.
struct ParkedSocket {
    /// The event as the tracepoint reported it, to CLOSE.
    event: Transition,
    waits_for: ParkedFor,
    /// The wait before the next question.
    wait: Duration,
    /// The time of the last dump that had the socket; `Mono::MIN` for never.
    last_dumped_at: Mono,
    /// `true` if the dump after that did not have the socket.
    absent_once: bool,
}

impl ParkedSocket {
    /// Returns whether an answer of the kernel decides about the socket.
    fn is_doubtful(&self) -> bool {
        self.waits_for == ParkedFor::Answer
    }
}

/// Connections that may be TIME_WAIT buckets now.
#[derive(Default)]
pub(super) struct Minisockets {
    /// `true` if the kernel reports every change of a bucket.
    kernel_reports: bool,
    parked: CookieMap<ParkedSocket>,
    /// The number of sockets that wait for an answer only.
    doubtful: usize,
    by_tuple: FxHashMap<Tuple, SocketId>,
    due: BinaryHeap<Reverse<(Mono, SocketId)>>,
    tokens: usize,
    refilled: Mono,
}

impl Minisockets {
    pub(in crate::kernel) fn new(kernel_reports: bool) -> Self {
        Self { kernel_reports, ..Self::default() }
    }

    /// Returns whether the kernel reports every change of a bucket.
    pub(super) fn kernel_reports(&self) -> bool {
        self.kernel_reports
    }

    /// Parks `event`, a transition to CLOSE that left a bucket in FIN_WAIT2. Returns an older event
    /// that had to make room, if any.
    pub(in crate::kernel) fn follow(&mut self, event: Transition) -> Option<Transition> {
        if !self.kernel_reports {
            return self.park(event, ParkedFor::PeersFin);
        }
        // In case the kernel does not report after all.
        self.due.push(Reverse((event.time + GIVE_UP, event.cookie)));
        self.keep(event, ParkedFor::PeersFin)
    }

    /// Takes the kernel's report about a bucket: it is in TIME_WAIT, or over.
    pub(in crate::kernel) fn on_report(
        &mut self,
        cookie: SocketId,
        is_over: bool,
        time: Mono,
    ) -> Option<Transition> {
        let ParkedSocket { mut event, .. } = self.take(cookie)?;
        if !is_over {
            event.new = TcpState::TimeWait;
        }
        event.time = time;
        Some(event)
    }

    /// Parks `event`, a transition to CLOSE, until its fate is known. Returns an event for which
    /// there was no room, if any: an older one, or `event` itself.
    pub(super) fn park(&mut self, event: Transition, waits_for: ParkedFor) -> Option<Transition> {
        if waits_for == ParkedFor::Answer && self.doubtful >= MAX_DOUBTFUL {
            return Some(given_up(event));
        }
        // The answer can be had at once. An orphan first gets time for a RST.
        let wait = if waits_for == ParkedFor::Answer { Duration::ZERO } else { FIRST_ASK };
        self.due.push(Reverse((event.time + wait, event.cookie)));
        self.keep(event, waits_for)
    }

    fn keep(&mut self, event: Transition, waits_for: ParkedFor) -> Option<Transition> {
        let pushed_out = if self.parked.len() >= MAX_PARKED {
            let cookie = self.parked.keys().next().copied();
            cookie.and_then(|cookie| self.take(cookie)).map(|parked| given_up(parked.event))
        } else {
            None
        };
        // If the peer's FIN was taken, its acknowledgement does not prove a bucket: the full socket
        // sent the acknowledgement before it tried to leave a bucket.
        match waits_for {
            ParkedFor::Answer => self.doubtful += 1,
            ParkedFor::PeersFin => {
                self.by_tuple.insert(event.tuple, event.cookie);
            }
        }
        let cookie = event.cookie;
        let wait = FIRST_ASK;
        let (last_dumped_at, absent_once) = (Mono::MIN, false);
        let parked = ParkedSocket { event, waits_for, wait, last_dumped_at, absent_once };
        let former = self.parked.insert(cookie, parked);
        self.doubtful -= usize::from(former.is_some_and(|former| former.is_doubtful()));
        pushed_out
    }

    /// Takes a socket of a dump: decides the fate of a parked socket, or parks the dumped one.
    /// Returns the event to emit, if any.
    pub(in crate::kernel) fn on_seed(&mut self, seed: &Seed) -> Option<Transition> {
        match self.parked.get_mut(&seed.cookie) {
            Some(parked) if seed.minisocket && seed.state == TcpState::TimeWait => {
                let (time, inferred) = (parked.event.time.max(seed.time), !parked.is_doubtful());
                let ParkedSocket { mut event, .. } = self.take(seed.cookie)?;
                event.new = TcpState::TimeWait;
                if inferred {
                    (event.time, event.inferred) = (time, true);
                }
                Some(event)
            }
            Some(parked) => {
                (parked.last_dumped_at, parked.absent_once) = (seed.time, false);
                None
            }
            None if seed.minisocket && seed.state == TcpState::FinWait2 => {
                let event = Transition {
                    time: seed.time,
                    cookie: seed.cookie,
                    tuple: seed.tuple,
                    binding: seed.binding.clone(),
                    old: TcpState::FinWait2,
                    new: TcpState::Close,
                    errno: None,
                    reset: None,
                    totals: None,
                    orphan: true,
                    silent: false,
                    inferred: true,
                    opening: Opening::None,
                };
                // No question goes out: the next dumps decide.
                self.keep(event, ParkedFor::PeersFin)
            }
            None => None,
        }
    }

    /// Takes the end of the dump of `scope`: a parked socket that two dumps in a row did not
    /// have is gone.
    pub(super) fn on_dump(
        &mut self,
        scope: &DumpScope,
        began: Mono,
        mut emit: impl FnMut(Transition),
    ) {
        let mut gone = Vec::new();
        for (cookie, parked) in &mut self.parked {
            let last = parked.last_dumped_at.max(parked.event.time);
            if !scope.contains(parked.event.tuple.netns) || last + SETTLED > began {
                continue;
            }
            if parked.absent_once {
                gone.push(*cookie);
            }
            parked.absent_once = true;
        }
        for cookie in gone {
            let Some(ParkedSocket { mut event, waits_for, .. }) = self.take(cookie) else {
                continue;
            };
            if waits_for == ParkedFor::PeersFin {
                (event.time, event.inferred) = (began, true);
            }
            emit(event);
        }
    }

    /// Makes room at `tuple`, where a connection begins: a bucket that was parked there can only
    /// have gone to TIME_WAIT.
    pub(super) fn make_room(&mut self, tuple: Tuple, time: Mono) -> Option<Transition> {
        let ParkedSocket { mut event, .. } = self.take_at(&tuple)?;
        event.new = TcpState::TimeWait;
        (event.time, event.inferred) = (time, true);
        Some(event)
    }

    /// Gives up a doubtful socket that is in use again: the answer would be about its next
    /// connection.
    pub(super) fn reopened(&mut self, cookie: SocketId) -> Option<Transition> {
        self.parked.get(&cookie).filter(|parked| parked.is_doubtful())?;
        self.take(cookie).map(|parked| given_up(parked.event))
    }

    /// Ends a parked socket, because a RST went out for the socket or its bucket.
    pub(in crate::kernel) fn reset(
        &mut self,
        cookie: SocketId,
        minisocket: bool,
        time: Mono,
    ) -> Option<Transition> {
        let ParkedSocket { mut event, .. } = self.take(cookie)?;
        event.reset = Some(ResetSide::Sent);
        if minisocket {
            event.time = time;
        }
        Some(event)
    }

    /// Moves the other end to TIME_WAIT: the peer, on this host, got its FIN acknowledged, so the
    /// bucket took that FIN.
    pub(super) fn peer_finished(&mut self, peer: Tuple, time: Mono) -> Option<Transition> {
        let ParkedSocket { mut event, .. } = self.take_at(&peer.reversed())?;
        event.new = TcpState::TimeWait;
        event.time = time;
        Some(event)
    }

    /// Ends the other end: the peer, on this host, took a RST. So the parked socket is gone, for
    /// example because it had no bucket and nothing could acknowledge the peer's FIN.
    pub(super) fn peer_reset(&mut self, peer: Tuple) -> Option<Transition> {
        self.take_at(&peer.reversed()).map(|parked| parked.event)
    }

    /// Asks about the sockets whose time has come, and hands the decided events to `emit`.
    pub(in crate::kernel) fn advance(
        &mut self,
        now: Mono,
        ask: impl FnOnce(&[SockQuery]) -> (Vec<BucketState>, Mono),
        emit: impl FnMut(Transition),
    ) {
        self.ask(now, RST_PATIENCE, ask, emit);
    }

    /// Asks as [`Self::advance`] does. An orphan without a bucket that is younger than
    /// `rst_patience` is asked about again.
    fn ask(
        &mut self,
        now: Mono,
        rst_patience: Duration,
        ask: impl FnOnce(&[SockQuery]) -> (Vec<BucketState>, Mono),
        mut emit: impl FnMut(Transition),
    ) {
        let queries = self.overdue(now);
        if queries.is_empty() {
            return;
        }
        let (buckets, answer_time) = ask(&queries);
        for (&SockQuery { cookie, .. }, bucket) in queries.iter().zip(buckets) {
            let Some(parked) = self.parked.get_mut(&cookie) else { continue };
            let rst_until = parked.event.time + rst_patience;
            let state = match bucket {
                BucketState::TimeWait => TcpState::TimeWait,
                BucketState::Gone if !parked.is_doubtful() && now < rst_until => {
                    self.due.push(Reverse((rst_until, cookie)));
                    continue;
                }
                BucketState::Gone => TcpState::Close,
                BucketState::Waiting | BucketState::Unknown
                    if now < parked.event.time + GIVE_UP =>
                {
                    self.due.push(Reverse((now + parked.wait, cookie)));
                    parked.wait = (parked.wait * 2).min(LONGEST_WAIT);
                    continue;
                }
                BucketState::Waiting | BucketState::Unknown => TcpState::Close,
            };
            let Some(ParkedSocket { mut event, waits_for, .. }) = self.take(cookie) else {
                continue;
            };
            event.new = state;
            if waits_for == ParkedFor::PeersFin {
                // The change may have happened after `now`.
                event.time = answer_time.max(now);
                event.inferred = true;
            }
            emit(event);
        }
    }

    /// Returns the questions that are due, within the budget.
    fn overdue(&mut self, now: Mono) -> Vec<SockQuery> {
        // At most one second counts: at the first call, the difference is the whole uptime.
        let waited = now.since(self.refilled).min(Duration::from_secs(1));
        let earned = (waited * ASKS_PER_SECOND).as_secs();
        let earned = usize::try_from(earned).unwrap_or(ASKS_AT_ONCE);
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(ASKS_AT_ONCE);
            self.refilled = now;
        }
        let mut queries = Vec::new();
        while self.tokens > 0
            && let Some(&Reverse((due, cookie))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            if let Some(parked) = self.parked.get(&cookie) {
                queries.push(SockQuery { tuple: parked.event.tuple, cookie });
                self.tokens -= 1;
            }
        }
        queries
    }

    /// Asks once more about every parked socket, without a budget, because the session ends. A
    /// socket that still waits for its peer is not reported, since it has not ended.
    pub(in crate::kernel) fn finish(
        &mut self,
        now: Mono,
        ask: impl FnOnce(&[SockQuery]) -> (Vec<BucketState>, Mono),
        emit: impl FnMut(Transition),
    ) {
        self.due = self.parked.keys().map(|cookie| Reverse((now, *cookie))).collect();
        self.tokens = self.due.len();
        self.refilled = now;
        self.ask(now, Duration::ZERO, ask, emit);
    }

    /// Returns the time of the next question.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the orphan at `tuple`. Mostly there is no orphan at all, and the tuple needs no hash.
    fn take_at(&mut self, tuple: &Tuple) -> Option<ParkedSocket> {
        if self.by_tuple.is_empty() {
            return None;
        }
        let cookie = *self.by_tuple.get(tuple)?;
        self.take(cookie)
    }

    fn take(&mut self, cookie: SocketId) -> Option<ParkedSocket> {
        let parked = self.parked.remove(&cookie)?;
        self.doubtful -= usize::from(parked.is_doubtful());
        if self.by_tuple.get(&parked.event.tuple) == Some(&cookie) {
            self.by_tuple.remove(&parked.event.tuple);
        }
        Some(parked)
    }
}

/// Returns the event as the tracepoint reported it, for a socket that is not followed.
fn given_up(event: Transition) -> Transition {
    Transition { inferred: true, ..event }
}
