//! Which sockets closed a moment ago, so that a dump that was on its way cannot bring them back.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

/// How long a dump may be on its way, ns: its reader drops what is older.
const KEPT: u64 = 2_000_000_000;

/// Cookies and when they closed, for the last two seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentlyClosed {
    times: FxHashMap<u64, u64>,
    order: VecDeque<(u64, u64)>,
}

impl RecentlyClosed {
    pub(super) fn add(&mut self, cookie: u64, time: u64) {
        self.times.insert(cookie, time);
        self.order.push_back((time, cookie));
        while let Some(&(closed, cookie)) = self.order.front()
            && closed.saturating_add(KEPT) < time
        {
            self.order.pop_front();
            if self.times.get(&cookie) == Some(&closed) {
                self.times.remove(&cookie);
            }
        }
    }

    /// Whether the socket closed at `time` or later, or up to `slack` before.
    pub(super) fn within(&self, cookie: u64, time: u64, slack: u64) -> bool {
        self.times.get(&cookie).is_some_and(|closed| closed.saturating_add(slack) >= time)
    }
}
