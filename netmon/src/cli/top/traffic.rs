//! The traffic of sockets: the kernel's figures, and their growth since the question before.

use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::{
    core::id::SocketId,
    kernel::Diag,
    view::tui::{Traffic, TrafficFigures, TrafficScope},
};

/// The counts of each socket at the question before.
#[derive(Default)]
pub(super) struct TrafficReader {
    diag: Diag,
    before: FxHashMap<SocketId, (u64, u64)>,
    /// The time of that question, and whether the question was about all sockets.
    asked: Option<(Instant, bool)>,
}

impl TrafficReader {
    /// Returns whether sockets are open, which keep their namespaces alive.
    pub(super) fn has_sockets(&self) -> bool {
        self.diag.is_open()
    }

    /// Closes the sockets that were not used lately.
    pub(super) fn sweep(&mut self) {
        self.diag.sweep();
    }

    pub(super) fn answer(&mut self, scope: &TrafficScope) -> Traffic {
        let began = Instant::now();
        let mut read = Vec::new();
        let mut take = |socket, figures| read.push((socket, figures));
        let is_all = match scope {
            TrafficScope::Rows(rows) => {
                self.diag.figures_of(rows, take);
                false
            }
            TrafficScope::Namespaces(namespaces) => {
                for netns in namespaces {
                    self.diag.figures_in(*netns, &mut take);
                }
                true
            }
        };
        let seconds = self.asked.map(|(time, _)| began.duration_since(time).as_secs_f64());
        // A socket that is new since a question about all sockets has sent everything since then.
        let new = self.asked.is_some_and(|(_, was_all)| was_all && is_all).then_some((0, 0));
        let mut counts = FxHashMap::default();
        let mut sockets = FxHashMap::default();
        for (socket, (recv_q, send_q, info)) in read {
            let mut figures = TrafficFigures {
                recv_q: Some(recv_q),
                send_q: Some(send_q),
                ..TrafficFigures::default()
            };
            if let Some(info) = info {
                let now = (info.bytes_sent, info.bytes_received);
                let before = self.before.get(&socket).copied().or(new);
                let growth = before.zip(seconds.filter(|seconds| *seconds > 0.0));
                figures = TrafficFigures {
                    sent: Some(now.0),
                    received: Some(now.1),
                    sent_rate: growth.map(|(before, time)| rate(now.0, before.0, time)),
                    received_rate: growth.map(|(before, time)| rate(now.1, before.1, time)),
                    rtt_us: info.rtt_us,
                    retransmits: Some(info.retransmits),
                    ..figures
                };
                counts.insert(socket, now);
            }
            sockets.insert(socket, figures);
        }
        (self.before, self.asked) = (counts, Some((began, is_all)));
        Traffic { sockets, is_all, cost: began.elapsed() }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown with three digits"
)]
fn rate(now: u64, before: u64, seconds: f64) -> u64 {
    (now.saturating_sub(before) as f64 / seconds) as u64
}
