//! The columns that datasets have in common, on their way into Arrow arrays.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, net::IpAddr, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, DictionaryArray, PrimitiveArray,
    RecordBatch, StringArray, TimestampNanosecondArray,
    builder::{
        BooleanBuilder, Int64Builder, PrimitiveBuilder, StringBuilder, TimestampNanosecondBuilder,
    },
    types::{Int8Type, Int32Type, UInt16Type, UInt32Type, UInt64Type},
};
use arrow_schema::{ArrowError, Field, Schema};
use rustc_hash::FxHashMap;

use super::{VERSION, VERSION_KEY};
use crate::core::{
    connection::Direction,
    event::{Anchor, Evidence, Owner, Totals, Tuple},
};

/// As an offset: readers need no database of zones for it.
const UTC: &str = "+00:00";

/// Finished columns, with their names.
#[derive(Default)]
pub(super) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    /// A column that has a value in each row.
    pub(super) fn always(&mut self, name: &str, array: impl Array + 'static) {
        self.push(name, Arc::new(array), false);
    }

    /// A column where null is unknown.
    pub(super) fn some(&mut self, name: &str, array: impl Array + 'static) {
        self.push(name, Arc::new(array), true);
    }

    /// A column of moments, as other tools take them: nanoseconds since 1970, UTC.
    pub(super) fn times(&mut self, name: &str, array: TimestampNanosecondArray, nullable: bool) {
        self.push(name, Arc::new(array.with_timezone(UTC)), nullable);
    }

    fn push(&mut self, name: &str, array: ArrayRef, nullable: bool) {
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
    }

    /// The columns as one batch of a dataset.
    pub(super) fn batch(self) -> Result<RecordBatch, ArrowError> {
        let metadata = HashMap::from([(VERSION_KEY.to_owned(), VERSION.to_owned())]);
        let schema = Schema::new_with_metadata(self.fields, metadata);
        RecordBatch::try_new(Arc::new(schema), self.arrays)
    }
}

/// A column of numbers, most of them unknown: a row without one costs next to nothing.
pub(super) struct Numbers<T: ArrowPrimitiveType> {
    builder: PrimitiveBuilder<T>,
    /// Rows since the last number.
    nulls: usize,
}

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self { builder: PrimitiveBuilder::new(), nulls: 0 }
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    #[inline]
    pub(super) fn push(&mut self, number: Option<T::Native>) {
        let Some(number) = number else {
            self.nulls += 1;
            return;
        };
        self.catch_up();
        self.builder.append_value(number);
    }

    pub(super) fn finish(&mut self) -> PrimitiveArray<T> {
        self.catch_up();
        self.builder.finish()
    }

    #[inline]
    fn catch_up(&mut self) {
        if self.nulls > 0 {
            self.builder.append_nulls(std::mem::take(&mut self.nulls));
        }
    }
}

/// A column of flags, most of them not set.
#[derive(Default)]
pub(super) struct Flags {
    builder: BooleanBuilder,
    /// Rows since the last that was set.
    unset: usize,
}

impl Flags {
    #[inline]
    pub(super) fn push(&mut self, flag: bool) {
        if !flag {
            self.unset += 1;
            return;
        }
        self.catch_up();
        self.builder.append_value(true);
    }

    pub(super) fn finish(&mut self) -> BooleanArray {
        self.catch_up();
        self.builder.finish()
    }

    fn catch_up(&mut self) {
        self.builder.append_n(std::mem::take(&mut self.unset), false);
    }
}

/// A column of known words.
pub(super) struct Words {
    keys: Numbers<Int8Type>,
    words: ArrayRef,
}

impl Words {
    /// Of these words; up to 127.
    pub(super) fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words = Arc::new(StringArray::from_iter_values(words));
        Self { keys: Numbers::default(), words }
    }

    /// Adds the word with this number, which is below 127.
    pub(super) fn push(&mut self, word: Option<usize>) {
        self.keys.push(word.and_then(|word| i8::try_from(word).ok()));
    }

    pub(super) fn finish(&mut self) -> DictionaryArray<Int8Type> {
        DictionaryArray::new(self.keys.finish(), Arc::clone(&self.words))
    }
}

/// A column of text, each kept once.
pub(super) struct Texts<K> {
    known: FxHashMap<K, i32>,
    /// The two that came last, which often come again: both ends of a connection of this host.
    last: [Option<(K, i32)>; 2],
    keys: Numbers<Int32Type>,
    values: StringBuilder,
}

impl<K: Hash + Eq> Texts<K> {
    pub(super) fn new() -> Self {
        Self {
            known: FxHashMap::default(),
            last: [None, None],
            keys: Numbers::default(),
            values: StringBuilder::new(),
        }
    }

    /// Adds what `text` makes of `key`.
    pub(super) fn push<Q>(&mut self, key: Option<&Q>, text: impl FnOnce(&Q) -> String)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(key) = key else { return self.keys.push(None) };
        let is_it = |last: &&(K, i32)| last.0.borrow() == key;
        if let Some((_, number)) = self.last.iter().flatten().find(is_it) {
            return self.keys.push(Some(*number));
        }
        let number = match self.known.get(key) {
            Some(number) => *number,
            None => {
                // No batch has so many rows that they do not fit.
                let number = i32::try_from(self.known.len()).unwrap_or(i32::MAX);
                self.values.append_value(text(key));
                self.known.insert(key.to_owned(), number);
                number
            }
        };
        self.keys.push(Some(number));
        self.last.swap(0, 1);
        self.last[0] = Some((key.to_owned(), number));
    }

    pub(super) fn finish(&mut self) -> DictionaryArray<Int32Type> {
        self.known.clear();
        self.last = [None, None];
        DictionaryArray::new(self.keys.finish(), Arc::new(self.values.finish()))
    }
}

/// Moments on both clocks: wall time, and what it is ahead of the monotonic clock.
#[derive(Default)]
pub(super) struct Moments {
    time: TimestampNanosecondBuilder,
    offset: Int64Builder,
}

impl Moments {
    pub(super) fn push(&mut self, anchor: Anchor, monotonic: u64) {
        self.time.append_value(anchor.wall_time(monotonic));
        self.offset.append_value(anchor.wall.wrapping_sub(anchor.monotonic.cast_signed()));
    }

    pub(super) fn finish(&mut self, to: &mut Columns) {
        to.times("time", self.time.finish(), false);
        to.always("clock_offset", self.offset.finish());
    }
}

/// Which socket, and where it is.
pub(super) struct Places {
    cookie: Numbers<UInt64Type>,
    netns: Numbers<UInt32Type>,
    local_addr: Texts<IpAddr>,
    local_port: Numbers<UInt16Type>,
    remote_addr: Texts<IpAddr>,
    remote_port: Numbers<UInt16Type>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            cookie: Numbers::default(),
            netns: Numbers::default(),
            local_addr: Texts::new(),
            local_port: Numbers::default(),
            remote_addr: Texts::new(),
            remote_port: Numbers::default(),
        }
    }

    pub(super) fn push(&mut self, place: Option<(u64, &Tuple)>) {
        let tuple = place.map(|(_, tuple)| tuple);
        let port = |port: u16| Some(port).filter(|port| *port != 0);
        self.cookie.push(place.map(|(cookie, _)| cookie));
        self.netns.push(tuple.map(|tuple| tuple.netns));
        let (local, remote) = (tuple.map(|t| t.local), tuple.map(|t| t.remote));
        self.local_addr.push(local.map(|end| end.ip()).as_ref(), ToString::to_string);
        self.local_port.push(local.and_then(|end| port(end.port())));
        self.remote_addr.push(remote.map(|end| end.ip()).as_ref(), ToString::to_string);
        self.remote_port.push(remote.and_then(|end| port(end.port())));
    }

    pub(super) fn finish(&mut self, to: &mut Columns) {
        to.some("cookie", self.cookie.finish());
        to.some("netns", self.netns.finish());
        to.some("local_addr", self.local_addr.finish());
        to.some("local_port", self.local_port.finish());
        to.some("remote_addr", self.remote_addr.finish());
        to.some("remote_port", self.remote_port.finish());
    }
}

/// Who began it, and the process behind it.
pub(super) struct Parties {
    direction: Words,
    pid: Numbers<UInt32Type>,
    comm: Texts<Vec<u8>>,
    uid: Numbers<UInt32Type>,
    cgroup: Numbers<UInt64Type>,
    evidence: Words,
}

impl Parties {
    pub(super) fn new() -> Self {
        Self {
            direction: Words::of(Direction::ALL.map(Direction::name)),
            pid: Numbers::default(),
            comm: Texts::new(),
            uid: Numbers::default(),
            cgroup: Numbers::default(),
            evidence: Words::of(Evidence::ALL.map(Evidence::name)),
        }
    }

    pub(super) fn push(
        &mut self,
        direction: Option<Direction>,
        owner: Option<&Owner>,
        evidence: Option<Evidence>,
    ) {
        self.direction.push(direction.map(|direction| direction as usize));
        self.pid.push(owner.map(|owner| owner.pid));
        self.comm.push(owner.map(|owner| &*owner.comm), |comm| {
            String::from_utf8_lossy(comm).into_owned()
        });
        self.uid.push(owner.map(|owner| owner.uid));
        let cgroup = owner.map(|owner| owner.cgroup).filter(|cgroup| *cgroup != 0);
        self.cgroup.push(cgroup);
        self.evidence.push(evidence.map(|evidence| evidence as usize));
    }

    pub(super) fn finish(&mut self, to: &mut Columns) {
        to.some("direction", self.direction.finish());
        to.some("pid", self.pid.finish());
        to.some("comm", self.comm.finish());
        to.some("uid", self.uid.finish());
        to.some("cgroup_id", self.cgroup.finish());
        to.some("owner_evidence", self.evidence.finish());
    }
}

/// What a socket had counted when it ended.
#[derive(Default)]
pub(super) struct Counts {
    bytes_sent: Numbers<UInt64Type>,
    bytes_received: Numbers<UInt64Type>,
    retransmits: Numbers<UInt32Type>,
    rtt_us: Numbers<UInt32Type>,
}

impl Counts {
    pub(super) fn push(&mut self, totals: Option<&Totals>) {
        self.bytes_sent.push(totals.map(|totals| totals.bytes_sent));
        self.bytes_received.push(totals.map(|totals| totals.bytes_received));
        self.retransmits.push(totals.map(|totals| totals.retransmits));
        self.rtt_us.push(totals.and_then(|totals| totals.rtt_us));
    }

    pub(super) fn finish(&mut self, to: &mut Columns) {
        to.some("bytes_sent", self.bytes_sent.finish());
        to.some("bytes_received", self.bytes_received.finish());
        to.some("retransmits", self.retransmits.finish());
        to.some("rtt_us", self.rtt_us.finish());
    }
}
