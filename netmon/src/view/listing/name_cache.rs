//! Names for numbers, asked for once each.

use std::hash::Hash;

use rustc_hash::FxHashMap;

type NameLookup<K> = Box<dyn FnMut(K) -> Option<String>>;

/// Names that somebody else looks up.
pub struct NameCache<K> {
    known: FxHashMap<K, Option<Box<str>>>,
    ask: NameLookup<K>,
}

impl<K: Copy + Eq + Hash> NameCache<K> {
    /// Looks names up by `ask`.
    #[must_use]
    pub fn new(ask: impl FnMut(K) -> Option<String> + 'static) -> Self {
        Self { known: FxHashMap::default(), ask: Box::new(ask) }
    }

    /// The name of `key`.
    pub fn name(&mut self, key: K) -> Option<&str> {
        self.known.entry(key).or_insert_with(|| (self.ask)(key).map(Into::into)).as_deref()
    }
}

impl<K: Copy + Eq + Hash> Default for NameCache<K> {
    /// Knows no names.
    fn default() -> Self {
        Self::new(|_| None)
    }
}
