//! Conversion of values into Arrow arrays, and of arrays back into values.

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

use super::{NETNS_KEY, VERSION, VERSION_KEY};
use crate::journal::error::{Malformed, Result};

/// The offset of UTC, so that readers need no time zone database.
const UTC: &str = "+00:00";
/// Returns a count as a signed number, since other programs expect signed numbers.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Returns a pid as a signed number (`pid_t`, at most 2^22: include/linux/threads.h); none for a
/// process without a number here.
pub(super) fn pid(pid: u32) -> Option<i32> {
    i32::try_from(pid).ok().filter(|pid| *pid != 0)
}

/// Returns the text of a process' name, path or arguments. Bytes that are not UTF-8 are replaced.
pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Finished columns with their names.
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

    /// Adds a column in which null means unknown.
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

    /// Returns the columns as one batch of a dataset.
    pub(super) fn batch(self) -> std::result::Result<RecordBatch, ArrowError> {
        let metadata = HashMap::from([(VERSION_KEY.to_owned(), VERSION.to_owned())]);
        let schema = Schema::new_with_metadata(self.fields, metadata);
        RecordBatch::try_new(Arc::new(schema), self.arrays)
    }
}

/// Builds a column of numbers. A row without a number costs nothing: the next row with a number, or
/// the end, adds the missing nulls.
pub(super) struct Numbers<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self(PrimitiveBuilder::new())
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    /// Puts the number of a row. Rows must come in ascending order.
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

    /// Returns the number of rows so far.
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

/// Builds a column of flags. A row without a set flag costs nothing.
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

/// Builds a column of flags that may be unknown. A row with an unknown flag costs nothing.
#[derive(Default)]
pub(super) struct OptionalFlags(BooleanBuilder);

impl OptionalFlags {
    #[inline]
    pub(super) fn put(&mut self, row: usize, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.catch_up(row);
            self.0.append_value(flag);
        }
    }

    pub(super) fn finish(&mut self, rows: usize) -> BooleanArray {
        self.catch_up(rows);
        self.0.finish()
    }

    fn catch_up(&mut self, row: usize) {
        self.0.append_nulls(row - self.0.len());
    }
}

/// Builds a column whose words are known in advance.
pub(super) struct WordBuilder {
    keys: Numbers<Int8Type>,
    words: ArrayRef,
}

impl WordBuilder {
    /// Returns a builder for at most 127 words.
    pub(super) fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words = Arc::new(StringArray::from_iter_values(words));
        Self { keys: Numbers::default(), words }
    }

    /// Puts the word with the number `word`, which is below 127.
    #[inline]
    pub(super) fn put(&mut self, row: usize, word: Option<usize>) {
        self.keys.put(row, word.and_then(|word| i8::try_from(word).ok()));
    }

    pub(super) fn finish(&mut self, rows: usize) -> DictionaryArray<Int8Type> {
        DictionaryArray::new(self.keys.finish(rows), Arc::clone(&self.words))
    }
}

/// Builds a column of texts, each of which is stored once.
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

    /// Puts the text that `text` makes from `key`.
    #[inline]
    pub(super) fn put<Q>(&mut self, row: usize, key: &Q, text: impl FnOnce(&Q) -> String)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let number = self.number(key, text);
        self.put_number(row, number);
    }

    /// Returns the number of a key's text, for [`Self::put_number`].
    pub(super) fn number<Q>(&mut self, key: &Q, text: impl FnOnce(&Q) -> String) -> i32
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(number) = self.known.get(key) {
            return *number;
        }
        // A batch never has `i32::MAX` rows.
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

/// Returns the names of a column of numbers, null where `name` returns none. `name` is called once
/// for each number.
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

/// Returns the column with the name `name`. The arrays of a batch are shared, so nothing is copied.
pub(in crate::journal) fn column<T: Array + Clone + 'static>(
    batch: &RecordBatch,
    name: &'static str,
) -> Result<T> {
    let array = batch.column_by_name(name).and_then(|array| array.as_any().downcast_ref::<T>());
    array.cloned().ok_or(Malformed::Column(name))
}

/// Returns the inode number of the recorder's own network namespace, if the batch comes from a file
/// or a stream that has it.
pub(in crate::journal) fn recorder_netns(batch: &RecordBatch) -> Option<u32> {
    recorder_netns_of(batch.schema_ref().metadata().get(NETNS_KEY).map(String::as_str))
}

/// Returns the inode number that the metadata of a file or a stream has for [`NETNS_KEY`]. 0 stands
/// for a number that the recorder did not know.
pub(in crate::journal) fn recorder_netns_of(value: Option<&str>) -> Option<u32> {
    value?.parse().ok().filter(|inum| *inum != 0)
}

/// Returns the number in a row, if the row has one.
#[inline]
pub(super) fn get<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    row: usize,
) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// Returns the meanings of a column's words. A column that has only nulls has an empty word, which
/// needs no meaning.
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

/// Reads a column whose words are known in advance.
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

/// Reads a column of texts that repeat, and the meaning of each text.
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

    /// Returns the number of a row's text. Equal texts have equal numbers.
    #[inline]
    pub(in crate::journal) fn key(&self, row: usize) -> Option<usize> {
        usize::try_from(get(&self.keys, row)?).ok()
    }
}
