//! The traffic of connections: the kernel's figures of sockets, as far as they are known.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::history::Histories;
use crate::core::{
    connection::Connection,
    event::Totals,
    id::{SocketId, Tuple},
    time::Mono,
};

/// Questions about the traffic of all sockets take a fiftieth of one core at most, as the other
/// dumps do: a question that took 20 ms is asked again after a second.
const SHARE: u32 = 50;
/// The least time between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// The sockets whose traffic is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrafficScope {
    /// These sockets: the rows on the screen.
    Rows(Vec<(Tuple, SocketId)>),
    /// All sockets of these network namespaces: for an order by traffic, and for groups.
    Namespaces(Vec<u32>),
}

/// The known figures of a socket, or the sums of a group's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrafficFigures {
    /// Bytes that no process has read; of a listener, connections that no process has accepted.
    pub recv_q: Option<u32>,
    /// Bytes that are not acknowledged; of a listener, its backlog.
    pub send_q: Option<u32>,
    /// Bytes sent, retransmitted ones included.
    pub sent: Option<u64>,
    /// Bytes received in order.
    pub received: Option<u64>,
    /// Bytes a second, sent.
    pub sent_rate: Option<u64>,
    /// Bytes a second, received.
    pub received_rate: Option<u64>,
    /// Smoothed round trip time, µs; of a group, the greatest.
    pub rtt_us: Option<u32>,
    /// Segments retransmitted.
    pub retransmits: Option<u32>,
}

impl TrafficFigures {
    fn of_totals(totals: &Totals) -> Self {
        Self {
            sent: totals.bytes_sent,
            received: totals.bytes_received,
            rtt_us: totals.rtt_us,
            retransmits: totals.retransmits,
            ..Self::default()
        }
    }

    /// Adds the figures of another connection of a group.
    pub(super) fn add(&mut self, other: &Self) {
        fn sum<T: Copy>(sum: &mut Option<T>, other: Option<T>, add: fn(T, T) -> T) {
            *sum = sum.map_or(other, |sum| Some(other.map_or(sum, |other| add(sum, other))));
        }
        sum(&mut self.recv_q, other.recv_q, u32::saturating_add);
        sum(&mut self.send_q, other.send_q, u32::saturating_add);
        sum(&mut self.sent, other.sent, u64::saturating_add);
        sum(&mut self.received, other.received, u64::saturating_add);
        sum(&mut self.sent_rate, other.sent_rate, u64::saturating_add);
        sum(&mut self.received_rate, other.received_rate, u64::saturating_add);
        sum(&mut self.rtt_us, other.rtt_us, u32::max);
        sum(&mut self.retransmits, other.retransmits, u32::saturating_add);
    }
}

/// An answer about traffic.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// The figures of each socket.
    pub sockets: FxHashMap<SocketId, TrafficFigures>,
    /// All sockets were asked for.
    pub is_all: bool,
    /// The time that the answer took.
    pub cost: Duration,
}

/// The latest answer about traffic, and the next question.
#[derive(Debug, Default)]
pub(super) struct TrafficState {
    pub(super) latest: Traffic,
    asked_at: Option<Mono>,
    is_waiting: bool,
}

impl TrafficState {
    /// Returns the time between two questions.
    pub(super) fn interval(&self) -> Duration {
        INTERVAL.max(self.latest.cost * SHARE)
    }

    /// Returns whether a question may be asked now, and takes it as asked.
    pub(super) fn is_due(&mut self, now: Mono) -> bool {
        let is_due = self.asked_at.is_none_or(|asked| asked + self.interval() <= now);
        if is_due && !self.is_waiting {
            (self.asked_at, self.is_waiting) = (Some(now), true);
            return true;
        }
        false
    }

    pub(super) fn answer(&mut self, traffic: Traffic) {
        (self.latest, self.is_waiting) = (traffic, false);
    }

    /// Asks again at once: another order or other rows are shown.
    pub(super) fn forget_time(&mut self) {
        if self.latest.cost * SHARE <= INTERVAL {
            self.asked_at = None;
        }
    }
}

/// The traffic of rows: of open connections the kernel's figures, of the others the totals of their
/// end.
#[derive(Clone, Copy)]
pub(super) struct TrafficOf<'a> {
    /// The figures of now; none in the past.
    pub(super) latest: Option<&'a Traffic>,
    pub(super) histories: &'a Histories,
}

impl TrafficOf<'_> {
    pub(super) fn row(self, row: &Connection) -> Option<TrafficFigures> {
        let latest = self.latest.and_then(|latest| latest.sockets.get(&row.id.cookie)).copied();
        latest.or_else(|| Some(TrafficFigures::of_totals(self.histories.totals(row)?)))
    }

    /// Returns whether the figures of all sockets are there.
    pub(super) fn is_of_all(self) -> bool {
        self.latest.is_some_and(|latest| latest.is_all)
    }
}
