//! Events that wait for another event, for a limited time.

use std::{collections::VecDeque, time::Duration};

use crate::core::{id::SocketId, table::cookie_map::CookieMap, time::Mono};

/// Events that wait for missing information, in the order of their deadlines.
pub(super) struct DelayQueue<T> {
    events: CookieMap<(Mono, T)>,
    due: VecDeque<(Mono, SocketId)>,
    wait: Duration,
}

impl<T> DelayQueue<T> {
    /// Returns whether the event of a socket waits.
    pub(super) fn holds(&self, cookie: SocketId) -> bool {
        self.events.contains_key(&cookie)
    }

    pub(super) fn new(wait: Duration) -> Self {
        Self { events: CookieMap::default(), due: VecDeque::new(), wait }
    }

    /// Holds `event`. Returns an older event of the same cookie, which nothing can complete any
    /// more.
    pub(super) fn hold(&mut self, cookie: SocketId, time: Mono, event: T) -> Option<T> {
        let due = time + self.wait;
        self.due.push_back((due, cookie));
        self.events.insert(cookie, (due, event)).map(|(_, older)| older)
    }

    pub(super) fn take(&mut self, cookie: SocketId) -> Option<T> {
        if self.events.is_empty() {
            return None;
        }
        self.events.remove(&cookie).map(|(_, event)| event)
    }

    /// Returns the next event whose deadline is `now` or earlier.
    pub(super) fn overdue(&mut self, now: Mono) -> Option<T> {
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let (due, cookie) = self.due.pop_front()?;
            // A newer event of the same cookie may be held, with a deadline of its own.
            if self.events.get(&cookie).is_some_and(|(deadline, _)| *deadline == due) {
                return self.take(cookie);
            }
        }
        None
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.due.front().map(|(due, _)| *due)
    }
}
