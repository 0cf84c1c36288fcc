//! Which rows ended a moment ago, so that nothing late brings them back.

use super::cookie_map::CookieMap;

/// An end that is told twice is told again within a few records.
const LAST: usize = 8;

/// Keys of rows and when they ended, ns.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentlyClosed {
    /// Since a dump began, while it is under way: it may have had them before.
    during: Option<CookieMap<u64>>,
    last: [(u64, u64); LAST],
    next: usize,
}

impl RecentlyClosed {
    /// A dump begins.
    pub(super) fn begin(&mut self) {
        self.during = Some(CookieMap::default());
    }

    /// It is done.
    pub(super) fn end(&mut self) {
        self.during = None;
    }

    pub(super) fn add(&mut self, key: u64, time: u64) {
        self.last[self.next] = (key, time);
        self.next = (self.next + 1) % LAST;
        if let Some(during) = &mut self.during {
            during.insert(key, time);
        }
    }

    /// When the row ended, if that was while the dump was under way.
    pub(super) fn during(&self, key: u64) -> Option<u64> {
        self.during.as_ref()?.get(&key).copied()
    }

    /// When the socket closed, if it was one of the last.
    pub(super) fn last(&self, cookie: u64) -> Option<u64> {
        self.last.iter().find(|(closed, _)| *closed == cookie).map(|(_, time)| *time)
    }
}
