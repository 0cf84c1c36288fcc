//! Names for numbers, each looked up once.

use std::hash::Hash;

use rustc_hash::FxHashMap;

type NameLookup<K> = Box<dyn FnMut(K) -> Option<String>>;

/// Names that a function of the caller looks up.
pub struct NameCache<K> {
    names: FxHashMap<K, Option<Box<str>>>,
    lookup: NameLookup<K>,
}

impl<K: Copy + Eq + Hash> NameCache<K> {
    /// Looks names up by `lookup`.
    #[must_use]
    pub fn new(lookup: impl FnMut(K) -> Option<String> + 'static) -> Self {
        Self { names: FxHashMap::default(), lookup: Box::new(lookup) }
    }

    /// Returns the name of `key`.
    pub fn name(&mut self, key: K) -> Option<&str> {
        self.names.entry(key).or_insert_with(|| (self.lookup)(key).map(Into::into)).as_deref()
    }
}

impl<K: Copy + Eq + Hash> Default for NameCache<K> {
    /// Knows no names.
    fn default() -> Self {
        Self::new(|_| None)
    }
}
