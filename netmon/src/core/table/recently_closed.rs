//! Rows that ended a moment ago, so that a late event does not bring them back.

use super::cookie_map::CookieMap;
use crate::core::{
    id::{SocketId, TableKey},
    time::Mono,
};

/// An end that is reported twice comes again within a few records.
const LAST: usize = 8;

/// Keys of rows and when they ended.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentlyClosed {
    /// Rows that ended since a dump began, while the dump is under way: the dump may have read
    /// their sockets before.
    during: Option<CookieMap<Mono, TableKey>>,
    last: [Option<(TableKey, Mono)>; LAST],
    next: usize,
}

impl RecentlyClosed {
    /// Begins to collect for a dump.
    pub(super) fn begin(&mut self) {
        self.during = Some(CookieMap::default());
    }

    /// Forgets what was collected: the dump is done.
    pub(super) fn end(&mut self) {
        self.during = None;
    }

    pub(super) fn add(&mut self, key: TableKey, time: Mono) {
        self.last[self.next] = Some((key, time));
        self.next = (self.next + 1) % LAST;
        if let Some(during) = &mut self.during {
            during.insert(key, time);
        }
    }

    /// Returns when the row ended, if it ended while the dump was under way.
    pub(super) fn during(&self, key: TableKey) -> Option<Mono> {
        self.during.as_ref()?.get(&key).copied()
    }

    /// Returns when the socket closed, if it was one of the last.
    pub(super) fn last(&self, cookie: SocketId) -> Option<Mono> {
        let key = TableKey::of_socket(cookie);
        let mut last = self.last.iter().flatten();
        last.find(|(closed, _)| *closed == key).map(|(_, time)| *time)
    }
}
