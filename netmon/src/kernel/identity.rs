//! What a socket is called where the kernel program cannot have its cookie.
//!
//! The classic tracepoints tell sockets by their addresses, which are unique until CLOSE and must not leave
//! this module: they would tell readers of a journal how the kernel's memory is laid out. Dumps tell sockets by
//! cookies. What both have is the tuple: a socket that a dump had first goes by its cookie, any other by a
//! number of netmon's own, which no cookie reaches.

use netmon_common::state;
use rustc_hash::FxHashMap;

use super::{assemble::tuple, decode::Record};
use crate::core::event::{Seed, Tuple};

/// Numbers of netmon's own begin here. Cookies are counted from 1 (`__sock_gen_cookie`, net/core/sock_diag.c),
/// and the highest bit has a meaning in the table.
const OWN: u64 = 1 << 62;

/// Whether `id` is one of netmon's own, not a cookie.
pub(super) const fn is_own(id: u64) -> bool {
    id & OWN != 0
}

#[derive(Clone, Copy)]
struct Known {
    id: u64,
    /// It has closed: of the address, whatever comes next is another socket's.
    closed: bool,
    /// Dumps since that did not have it.
    missed: u8,
}

/// Sockets by address and by tuple.
pub(super) struct Identities {
    by_address: FxHashMap<u64, Known>,
    by_tuple: FxHashMap<Tuple, Known>,
    last: u64,
}

impl Identities {
    pub(super) fn new() -> Self {
        Self { by_address: FxHashMap::default(), by_tuple: FxHashMap::default(), last: OWN }
    }

    /// Puts identities in the place of the addresses in `record`.
    pub(super) fn name(&mut self, record: &mut Record) {
        let place = record.transition().copied();
        let opens = matches!(record, Record::Open(_));
        let (own, listener) = record.ids();
        if let Some(listener) = listener {
            *listener = self.by_address.get(listener).map_or(0, |known| known.id);
        }
        let Some(place) = place else {
            // A RST follows a CLOSE; one for a minisocket, which has an address of its own, is nobody's.
            *own = self.by_address.get(own).map_or(0, |known| known.id);
            return;
        };
        let tuple = tuple(&place);
        let is_whole = tuple.local.port() != 0;
        let by_address = self.by_address.get(own).filter(|known| !known.closed && !opens);
        let by_tuple =
            self.by_tuple.get(&tuple).filter(|known| !known.closed && !opens && is_whole);
        let id = by_address.or(by_tuple).map_or_else(|| self.last + 1, |known| known.id);
        self.last = self.last.max(if is_own(id) { id } else { 0 });
        let known = Known { id, closed: place.new_state == state::CLOSE, missed: 0 };
        self.by_address.insert(*own, known);
        if is_whole {
            self.by_tuple.insert(tuple, known);
        }
        *own = id;
    }

    /// Puts the identity in the place of the cookie of what a dump had.
    pub(super) fn seed(&mut self, seed: &mut Seed) {
        let fresh = Known { id: seed.cookie, closed: false, missed: 0 };
        let known = self.by_tuple.entry(seed.tuple).or_insert(fresh);
        known.missed = 0;
        seed.cookie = known.id;
    }

    /// A dump has had everything: forgets what has closed and is not there any more.
    pub(super) fn dumped(&mut self) {
        self.by_address.retain(|_, known| !known.closed);
        self.by_tuple.retain(|_, known| {
            known.missed = known.missed.saturating_add(1);
            !known.closed || known.missed < 3
        });
    }
}
