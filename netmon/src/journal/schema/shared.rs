//! Columns of what many rows share, as a process: a row costs the number of its process, and the
//! columns are made from the processes at the end.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{
    ArrowPrimitiveType, BooleanArray, DictionaryArray, Int32Array, PrimitiveArray, StringArray,
    types::Int32Type,
};
use rustc_hash::FxHashMap;

use super::column::{Numbers, text_of};

/// Numbers what the rows share.
pub(super) struct Shared<T> {
    rows: Numbers<Int32Type>,
    all: Vec<Arc<T>>,
    /// The number of each, by its address, which `all` keeps in use.
    numbers: FxHashMap<usize, i32>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { rows: Numbers::default(), all: Vec::new(), numbers: FxHashMap::default() }
    }
}

impl<T> Shared<T> {
    /// Returns a number, for [`Self::put`].
    pub(super) fn number(&mut self, of: &Arc<T>) -> i32 {
        let all = &mut self.all;
        *self.numbers.entry(Arc::as_ptr(of).addr()).or_insert_with(|| {
            all.push(Arc::clone(of));
            // A batch never has `i32::MAX` rows.
            i32::try_from(all.len() - 1).unwrap_or(i32::MAX)
        })
    }

    #[inline]
    pub(super) fn put(&mut self, row: usize, number: Option<i32>) {
        self.rows.put(row, number);
    }

    pub(super) fn finish(&mut self, rows: usize) -> SharedRows<Arc<T>> {
        self.numbers.clear();
        SharedRows { rows: self.rows.finish(rows), all: std::mem::take(&mut self.all) }
    }
}

/// The shared parts of the rows, for one column after another.
pub(super) struct SharedRows<T> {
    rows: Int32Array,
    all: Vec<T>,
}

impl<T> SharedRows<T> {
    /// Returns the value of each row, if there is one.
    fn each<'a, V: Copy>(&'a self, values: &'a [Option<V>]) -> impl Iterator<Item = Option<V>> {
        let rows = self.rows.iter();
        rows.map(move |number| *values.get(usize::try_from(number?).ok()?)?)
    }

    /// Returns the rows with something else made from the parts.
    pub(super) fn map<'a, U>(&'a self, make: impl Fn(&'a T) -> U) -> SharedRows<U> {
        SharedRows { rows: self.rows.clone(), all: self.all.iter().map(make).collect() }
    }

    /// Returns a column of numbers.
    pub(super) fn numbers<N: ArrowPrimitiveType>(
        &self,
        number: impl Fn(&T) -> Option<N::Native>,
    ) -> PrimitiveArray<N> {
        let numbers: Vec<_> = self.all.iter().map(number).collect();
        PrimitiveArray::from_iter(self.each(&numbers))
    }

    /// Returns a column of flags, false for a row without anything to share.
    pub(super) fn flags(&self, flag: impl Fn(&T) -> bool) -> BooleanArray {
        let flags: Vec<_> = self.all.iter().map(|of| Some(flag(of))).collect();
        self.each(&flags).map(|flag| Some(flag.unwrap_or(false))).collect()
    }

    /// Returns a column of texts, each of which is stored once.
    pub(super) fn texts<'a>(
        &'a self,
        mut text: impl FnMut(&'a T) -> Option<Cow<'a, [u8]>>,
    ) -> DictionaryArray<Int32Type> {
        let mut known: FxHashMap<Cow<'_, [u8]>, i32> = FxHashMap::default();
        let mut values = Vec::new();
        let number = |of: &'a T| {
            let text = text(of)?;
            Some(*known.entry(text).or_insert_with_key(|text| {
                values.push(text_of(text));
                i32::try_from(values.len() - 1).unwrap_or(i32::MAX)
            }))
        };
        let numbers: Vec<_> = self.all.iter().map(number).collect();
        let keys: Int32Array = self.each(&numbers).collect();
        DictionaryArray::new(keys, Arc::new(StringArray::from_iter_values(values)))
    }
}
