//! Columns on their way into Arrow arrays, and arrays on their way back into values.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, DictionaryArray, Int8Array, Int32Array,
    Int64Array, PrimitiveArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    builder::{ArrayBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder},
    cast::AsArray,
    types::{Int8Type, Int32Type},
};
use arrow_schema::{ArrowError, Field, Schema};
use rustc_hash::FxHashMap;

use super::{VERSION, VERSION_KEY};
use crate::journal::error::{Malformed, Result};

/// UTC as an offset: readers need no database of zones for it.
const UTC: &str = "+00:00";
/// Nanoseconds of a microsecond: moments are kept in microseconds, which every engine reads.
const MICROSECOND: i64 = 1_000;

/// The microsecond in which a moment lies, both since 1970.
pub(super) fn micros(nanos: i64) -> i64 {
    nanos.div_euclid(MICROSECOND)
}

/// The nanosecond with which a microsecond begins.
pub(super) fn nanos(micros: i64) -> i64 {
    micros.saturating_mul(MICROSECOND)
}

/// A count as other programs take it: signed.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Finished columns, with their names.
#[derive(Default)]
pub(super) struct BatchColumns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl BatchColumns {
    /// Adds a column that has a value in each row.
    pub(super) fn always(&mut self, name: &str, array: impl Array + 'static) {
        self.push(name, Arc::new(array), false);
    }

    /// Adds a column where null is unknown.
    pub(super) fn some(&mut self, name: &str, array: impl Array + 'static) {
        self.push(name, Arc::new(array), true);
    }

    /// Adds a column of moments.
    pub(super) fn times(&mut self, name: &str, array: TimestampMicrosecondArray, nullable: bool) {
        self.push(name, Arc::new(array.with_timezone(UTC)), nullable);
    }

    fn push(&mut self, name: &str, array: ArrayRef, nullable: bool) {
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
    }

    /// The columns as one batch of a dataset.
    pub(super) fn batch(self) -> std::result::Result<RecordBatch, ArrowError> {
        let metadata = HashMap::from([(VERSION_KEY.to_owned(), VERSION.to_owned())]);
        let schema = Schema::new_with_metadata(self.fields, metadata);
        RecordBatch::try_new(Arc::new(schema), self.arrays)
    }
}

/// Builds a column of numbers. A row without one costs nothing: the next that has one, or the end,
/// catches up.
pub(super) struct Numbers<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self(PrimitiveBuilder::new())
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    /// Puts the number of this row, which comes after all that were put before.
    #[inline]
    pub(super) fn put(&mut self, row: usize, number: Option<T::Native>) {
        if let Some(number) = number {
            self.catch_up(row);
            self.0.append_value(number);
        }
    }

    pub(super) fn finish(&mut self, rows: usize) -> PrimitiveArray<T> {
        self.catch_up(rows);
        self.0.finish()
    }

    /// How many rows have been put.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn catch_up(&mut self, row: usize) {
        let missing = row - self.0.len();
        if missing > 0 {
            self.0.append_nulls(missing);
        }
    }
}

/// Builds a column of flags; one that is not set costs nothing.
#[derive(Default)]
pub(super) struct Flags(BooleanBuilder);

impl Flags {
    #[inline]
    pub(super) fn put(&mut self, row: usize, flag: bool) {
        if flag {
            self.catch_up(row);
            self.0.append_value(true);
        }
    }

    pub(super) fn finish(&mut self, rows: usize) -> BooleanArray {
        self.catch_up(rows);
        self.0.finish()
    }

    fn catch_up(&mut self, row: usize) {
        self.0.append_n(row - self.0.len(), false);
    }
}

/// Builds a column of known words.
pub(super) struct WordBuilder {
    keys: Numbers<Int8Type>,
    words: ArrayRef,
}

impl WordBuilder {
    /// A column of these words; up to 127.
    pub(super) fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words = Arc::new(StringArray::from_iter_values(words));
        Self { keys: Numbers::default(), words }
    }

    /// Puts the word with this number, which is below 127.
    #[inline]
    pub(super) fn put(&mut self, row: usize, word: Option<usize>) {
        self.keys.put(row, word.and_then(|word| i8::try_from(word).ok()));
    }

    pub(super) fn finish(&mut self, rows: usize) -> DictionaryArray<Int8Type> {
        DictionaryArray::new(self.keys.finish(rows), Arc::clone(&self.words))
    }
}

/// Builds a column of text, each kept once.
pub(super) struct Texts<K> {
    known: FxHashMap<K, i32>,
    keys: Numbers<Int32Type>,
    values: StringBuilder,
}

impl<K> Default for Texts<K> {
    fn default() -> Self {
        Self { known: FxHashMap::default(), keys: Numbers::default(), values: StringBuilder::new() }
    }
}

impl<K: Hash + Eq> Texts<K> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Puts the text that `text` makes of `key`.
    #[inline]
    pub(super) fn put<Q>(&mut self, row: usize, key: &Q, text: impl FnOnce(&Q) -> String)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let number = self.number(key, text);
        self.put_number(row, number);
    }

    /// The number that [`Self::put_number`] takes for it.
    pub(super) fn number<Q>(&mut self, key: &Q, text: impl FnOnce(&Q) -> String) -> i32
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(number) = self.known.get(key) {
            return *number;
        }
        // No batch has so many rows that they do not fit.
        let number = i32::try_from(self.known.len()).unwrap_or(i32::MAX);
        self.values.append_value(text(key));
        self.known.insert(key.to_owned(), number);
        number
    }

    #[inline]
    pub(super) fn put_number(&mut self, row: usize, number: i32) {
        self.keys.put(row, Some(number));
    }

    pub(super) fn finish(&mut self, rows: usize) -> DictionaryArray<Int32Type> {
        self.known.clear();
        DictionaryArray::new(self.keys.finish(rows), Arc::new(self.values.finish()))
    }
}

/// The names of a column of numbers, null where `name` knows none. Each number is asked about once.
pub(super) fn names_of(
    numbers: &Int64Array,
    mut name: impl FnMut(i64) -> Option<Arc<str>>,
) -> DictionaryArray<Int32Type> {
    let mut known: FxHashMap<i64, Option<i32>> = FxHashMap::default();
    let mut values: Vec<Arc<str>> = Vec::new();
    let mut last = (None, None);
    let keys: Int32Array = numbers
        .iter()
        .map(|number| {
            if last.0 != Some(number) {
                let key = number.and_then(|number| {
                    *known.entry(number).or_insert_with(|| {
                        values.push(name(number)?);
                        i32::try_from(values.len() - 1).ok()
                    })
                });
                last = (Some(number), key);
            }
            last.1
        })
        .collect();
    let values = StringArray::from_iter_values(values.iter().map(|name| &**name));
    DictionaryArray::new(keys, Arc::new(values))
}

/// The column of that name; the arrays of a batch are shared, so this copies nothing.
pub(in crate::journal) fn column<T: Array + Clone + 'static>(
    batch: &RecordBatch,
    name: &'static str,
) -> Result<T> {
    let array = batch.column_by_name(name).and_then(|array| array.as_any().downcast_ref::<T>());
    array.cloned().ok_or(Malformed::Column(name))
}

/// The number in a row, where there is one.
#[inline]
pub(super) fn get<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    row: usize,
) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// The meanings of a column's words; a column of nothing but nulls has an empty word, which may
/// mean nothing.
fn meanings<T>(
    column: &'static str,
    words: &StringArray,
    meaning: impl Fn(&str) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    let meanings = words.iter().map(|text| {
        let text = text.unwrap_or_default();
        match meaning(text) {
            None if !text.is_empty() => Err(Malformed::Word { column, text: text.to_owned() }),
            known => Ok(known),
        }
    });
    meanings.collect()
}

/// Reads a column of known words.
pub(in crate::journal) struct WordReader<T> {
    keys: Int8Array,
    meaning: Vec<Option<T>>,
}

impl<T: Copy> WordReader<T> {
    pub(in crate::journal) fn new(
        batch: &RecordBatch,
        name: &'static str,
        all: &[T],
        word: impl Fn(T) -> &'static str,
    ) -> Result<Self> {
        let array: DictionaryArray<Int8Type> = column(batch, name)?;
        let words = array.values().as_string_opt::<i32>().ok_or(Malformed::Column(name))?;
        let known = |text: &str| all.iter().copied().find(|known| word(*known) == text);
        Ok(Self { meaning: meanings(name, words, known)?, keys: array.keys().clone() })
    }

    #[inline]
    pub(in crate::journal) fn get(&self, row: usize) -> Option<T> {
        let key = usize::try_from(get(&self.keys, row)?).ok()?;
        *self.meaning.get(key)?
    }
}

/// Reads a column of text that repeats, and what each text means.
pub(in crate::journal) struct TextReader<T> {
    keys: Int32Array,
    meaning: Vec<Option<T>>,
}

impl<T> TextReader<T> {
    /// Reads a column of few texts, whose keys have 8 bits.
    pub(in crate::journal) fn of_few(
        batch: &RecordBatch,
        name: &'static str,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Result<Self> {
        let array: DictionaryArray<Int8Type> = column(batch, name)?;
        let texts = array.values().as_string_opt::<i32>().ok_or(Malformed::Column(name))?;
        let keys = array.keys().iter().map(|key| key.map(i32::from)).collect();
        Ok(Self { meaning: meanings(name, texts, meaning)?, keys })
    }

    pub(in crate::journal) fn new(
        batch: &RecordBatch,
        name: &'static str,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Result<Self> {
        let array: DictionaryArray<Int32Type> = column(batch, name)?;
        let texts = array.values().as_string_opt::<i32>().ok_or(Malformed::Column(name))?;
        Ok(Self { meaning: meanings(name, texts, meaning)?, keys: array.keys().clone() })
    }

    #[inline]
    pub(in crate::journal) fn get(&self, row: usize) -> Option<&T> {
        self.meaning.get(self.key(row)?)?.as_ref()
    }

    /// The number of a row's text: equal texts have equal numbers.
    #[inline]
    pub(in crate::journal) fn key(&self, row: usize) -> Option<usize> {
        usize::try_from(get(&self.keys, row)?).ok()
    }
}
