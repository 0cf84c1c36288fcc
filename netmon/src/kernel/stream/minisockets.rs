//! What becomes of a connection whose full socket the kernel has let go: FIN_WAIT2 -> CLOSE.
//!
//! `tcp_time_wait` (net/ipv4/tcp_minisocks.c) leaves a minisocket in FIN_WAIT2 or TIME_WAIT, and
//! the tracepoint says CLOSE either way. Where functions can be followed, the kernel tells what comes after.
//! Elsewhere it is told from the socket's flags, from resets, from the other end when that is on this host
//! too, and else by asking, on a budget.

use std::{cmp::Reverse, collections::BinaryHeap};

use rustc_hash::FxHashMap;

use crate::{
    core::{
        event::{Opening, ResetSide, Seed, Transition, Tuple},
        table::cookie_map::CookieMap,
        tcp::TcpState,
    },
    kernel::sockets::sock_diag::{BucketState, SockQuery},
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// The first question: later than the reset that may follow within tens of microseconds.
const FIRST_ASK: u64 = 2 * MS;
/// Questions come at doubling distances up to this.
const LONGEST_WAIT: u64 = 8 * SECOND;
/// A dump that comes sooner after a transition says nothing about it.
const SETTLED: u64 = 100 * MS;
/// A FIN_WAIT2 minisocket lives at most TCP_TIMEWAIT_LEN, 60 s (`tcp_fin_time`); then it is given up.
const GIVE_UP: u64 = 70 * SECOND;
/// Questions a second, some 3 us each, and how many may come at once.
const ASKS_PER_SECOND: u64 = 2_000;
const ASKS_AT_ONCE: u64 = 500;
/// Those that are finished are asked about within a second, or what the tracepoint said is believed: with all buckets
/// taken, each connection that ends is one.
const MAX_DOUBTFUL: usize = 2_000;
/// As many as the kernel's own default limit of buckets halved; some 200 bytes each.
const MAX_PARKED: usize = 65_536;

/// What decides the fate of a parked socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParkedFor {
    /// The peer's FIN was taken already: the bucket is in TIME_WAIT, or there is none, and has been
    /// so since the socket closed. An answer of the kernel decides.
    Answer,
    /// The peer's FIN, a RST, or the end of the bucket's time.
    PeersFin,
}

/// A socket that waits for its fate.
struct ParkedSocket {
    /// The event as the tracepoint told it, to CLOSE.
    event: Transition,
    interface: u16,
    waits_for: ParkedFor,
    /// Distance to the next question, ns.
    wait: u64,
    /// When a dump last had it, ns; 0 for never.
    last_dumped_at: u64,
    /// The dump after that did not have it.
    absent_once: bool,
}

impl ParkedSocket {
    /// Returns whether an answer of the kernel decides about it.
    fn is_doubtful(&self) -> bool {
        self.waits_for == ParkedFor::Answer
    }
}

/// Connections that may be minisockets now.
#[derive(Default)]
pub(super) struct Minisockets {
    /// The kernel tells of all that befalls them.
    kernel_reports: bool,
    parked: CookieMap<ParkedSocket>,
    /// How many of them wait for an answer only.
    doubtful: usize,
    by_tuple: FxHashMap<Tuple, u64>,
    due: BinaryHeap<Reverse<(u64, u64)>>,
    tokens: u64,
    refilled: u64,
}

impl Minisockets {
    pub(in crate::kernel) fn new(kernel_reports: bool) -> Self {
        Self { kernel_reports, ..Self::default() }
    }

    /// Whether the kernel tells of all that befalls them.
    pub(super) fn kernel_reports(&self) -> bool {
        self.kernel_reports
    }

    /// Parks `event`, X -> CLOSE, of which a minisocket was made that waits for the peer's FIN; answers whom it
    /// pushed out, if any.
    pub(in crate::kernel) fn follow(
        &mut self,
        event: Transition,
        interface: u16,
    ) -> Option<Transition> {
        if !self.kernel_reports {
            return self.park(event, interface, ParkedFor::PeersFin);
        }
        // Should the kernel not tell after all.
        self.due.push(Reverse((event.time.saturating_add(GIVE_UP), event.cookie)));
        self.keep(event, interface, ParkedFor::PeersFin)
    }

    /// The kernel says what became of it: in TIME_WAIT, or over.
    pub(in crate::kernel) fn on_report(
        &mut self,
        cookie: u64,
        is_over: bool,
        time: u64,
    ) -> Option<Transition> {
        let ParkedSocket { mut event, .. } = self.take(cookie)?;
        if !is_over {
            event.new = TcpState::TimeWait;
        }
        event.time = time;
        Some(event)
    }

    /// Parks `event`, X -> CLOSE, until its fate is known; answers whom it pushed out, if any.
    pub(super) fn park(
        &mut self,
        event: Transition,
        interface: u16,
        waits_for: ParkedFor,
    ) -> Option<Transition> {
        if waits_for == ParkedFor::Answer && self.doubtful >= MAX_DOUBTFUL {
            return Some(given_up(event));
        }
        // An answer can be had at once; an orphan first gets the time for a reset.
        let wait = if waits_for == ParkedFor::Answer { 0 } else { FIRST_ASK };
        self.due.push(Reverse((event.time.saturating_add(wait), event.cookie)));
        self.keep(event, interface, waits_for)
    }

    fn keep(
        &mut self,
        event: Transition,
        interface: u16,
        waits_for: ParkedFor,
    ) -> Option<Transition> {
        let pushed_out = if self.parked.len() >= MAX_PARKED {
            let cookie = self.parked.keys().next().copied();
            cookie.and_then(|cookie| self.take(cookie)).map(|parked| given_up(parked.event))
        } else {
            None
        };
        // Where the peer's FIN was taken, that it was acknowledged says nothing: the full socket did
        // that before it tried to leave a bucket.
        match waits_for {
            ParkedFor::Answer => self.doubtful += 1,
            ParkedFor::PeersFin => {
                self.by_tuple.insert(event.tuple, event.cookie);
            }
        }
        let cookie = event.cookie;
        let wait = FIRST_ASK;
        let (last_dumped_at, absent_once) = (0, false);
        let parked =
            ParkedSocket { event, interface, waits_for, wait, last_dumped_at, absent_once };
        let former = self.parked.insert(cookie, parked);
        self.doubtful -= usize::from(former.is_some_and(|former| former.is_doubtful()));
        pushed_out
    }

    /// Takes what a dump had: the fate of one that is parked, or one to park.
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
                    old: TcpState::FinWait2,
                    new: TcpState::Close,
                    errno: None,
                    reset: None,
                    totals: None,
                    orphan: true,
                    inferred: true,
                    opening: Opening::None,
                };
                // Never asked about, since it may be bound to an interface: the next dump tells.
                self.keep(event, 0, ParkedFor::PeersFin)
            }
            None => None,
        }
    }

    /// A dump has had all of a namespace: what two in a row did not have is gone.
    pub(super) fn on_dump(&mut self, netns: u32, began: u64, mut emit: impl FnMut(Transition)) {
        let mut gone = Vec::new();
        for (cookie, parked) in &mut self.parked {
            let last = parked.last_dumped_at.max(parked.event.time);
            if parked.event.tuple.netns != netns || last.saturating_add(SETTLED) > began {
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

    /// A connection begins at `tuple`: what was parked there can only have gone on to TIME_WAIT, which
    /// makes room.
    pub(super) fn make_room(&mut self, tuple: Tuple, time: u64) -> Option<Transition> {
        let ParkedSocket { mut event, .. } = self.take_at(&tuple)?;
        event.new = TcpState::TimeWait;
        (event.time, event.inferred) = (time, true);
        Some(event)
    }

    /// A RST went out for the socket or its minisocket: it ended then.
    pub(in crate::kernel) fn reset(
        &mut self,
        cookie: u64,
        minisocket: bool,
        time: u64,
    ) -> Option<Transition> {
        let ParkedSocket { mut event, .. } = self.take(cookie)?;
        event.reset = Some(ResetSide::Sent);
        if minisocket {
            event.time = time;
        }
        Some(event)
    }

    /// The peer, on this host, has had its FIN acknowledged: by the minisocket, so it took it.
    pub(super) fn peer_finished(&mut self, peer: Tuple, time: u64) -> Option<Transition> {
        let ParkedSocket { mut event, .. } = self.take_at(&peer.reversed())?;
        event.new = TcpState::TimeWait;
        event.time = time;
        Some(event)
    }

    /// The peer, on this host, has taken a RST: whatever was parked at the other end is gone, as when there was no
    /// bucket for it and nobody was left to acknowledge the peer's FIN.
    pub(super) fn peer_reset(&mut self, peer: Tuple) -> Option<Transition> {
        self.take_at(&peer.reversed()).map(|parked| parked.event)
    }

    /// Asks about those whose time has come and hands what is known now to `emit`.
    pub(in crate::kernel) fn advance(
        &mut self,
        now: u64,
        ask: impl FnOnce(&[SockQuery]) -> (Vec<BucketState>, u64),
        mut emit: impl FnMut(Transition),
    ) {
        let asked = self.overdue(now);
        if asked.is_empty() {
            return;
        }
        let (found, answered) = ask(&asked);
        for (&SockQuery { cookie, .. }, found) in asked.iter().zip(found) {
            let Some(parked) = self.parked.get_mut(&cookie) else { continue };
            let state = match found {
                BucketState::TimeWait => TcpState::TimeWait,
                BucketState::Gone => TcpState::Close,
                BucketState::Waiting | BucketState::Unknown
                    if now < parked.event.time.saturating_add(GIVE_UP) =>
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
                // It may have come about since `now`.
                event.time = answered.max(now);
                event.inferred = true;
            }
            emit(event);
        }
    }

    /// Those to ask about now, within the budget.
    fn overdue(&mut self, now: u64) -> Vec<SockQuery> {
        // At most a second's worth: the first time, it is all of the uptime.
        let waited = now.saturating_sub(self.refilled).min(SECOND);
        let earned = waited * ASKS_PER_SECOND / SECOND;
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(ASKS_AT_ONCE);
            self.refilled = now;
        }
        let mut asked = Vec::new();
        while self.tokens > 0
            && let Some(&Reverse((due, cookie))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            if let Some(parked) = self.parked.get(&cookie) {
                asked.push(SockQuery {
                    tuple: parked.event.tuple,
                    cookie,
                    interface: parked.interface,
                });
                self.tokens -= 1;
            }
        }
        asked
    }

    /// Asks once more about everything, whatever it costs: the session ends. What still waits for its
    /// peer stays unsaid, since it has not ended.
    pub(in crate::kernel) fn finish(
        &mut self,
        now: u64,
        ask: impl FnOnce(&[SockQuery]) -> (Vec<BucketState>, u64),
        emit: impl FnMut(Transition),
    ) {
        self.due = self.parked.keys().map(|cookie| Reverse((now, *cookie))).collect();
        self.tokens = self.due.len() as u64;
        self.refilled = now;
        self.advance(now, ask, emit);
    }

    /// When the next question is due, ns.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the orphan that is at `tuple`: mostly there is none at all, and nothing to be hashed.
    fn take_at(&mut self, tuple: &Tuple) -> Option<ParkedSocket> {
        if self.by_tuple.is_empty() {
            return None;
        }
        let cookie = *self.by_tuple.get(tuple)?;
        self.take(cookie)
    }

    fn take(&mut self, cookie: u64) -> Option<ParkedSocket> {
        let parked = self.parked.remove(&cookie)?;
        self.doubtful -= usize::from(parked.is_doubtful());
        if self.by_tuple.get(&parked.event.tuple) == Some(&cookie) {
            self.by_tuple.remove(&parked.event.tuple);
        }
        Some(parked)
    }
}

/// What the tracepoint said, for one that there was no room to follow.
fn given_up(event: Transition) -> Transition {
    Transition { inferred: true, ..event }
}
