//! The columns that datasets have in common, on their way into Arrow arrays.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, DictionaryArray, PrimitiveArray,
    RecordBatch, StringArray, TimestampNanosecondArray,
    builder::{
        ArrayBuilder, BooleanBuilder, Int64Builder, PrimitiveBuilder, StringBuilder,
        TimestampNanosecondBuilder,
    },
    types::{Int8Type, Int32Type, UInt16Type, UInt32Type, UInt64Type},
};
use arrow_schema::{ArrowError, Field, Schema};
use rustc_hash::FxHashMap;

use super::{VERSION, VERSION_KEY};
use crate::core::{
    connection::{Connection, Direction, Step},
    errno,
    event::{Anchor, Evidence, Owner, ResetSide, Tuple},
    verdict::Verdict,
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

/// A column of numbers. A row without one costs nothing: the next that has one, or the end, catches up.
pub(super) struct Numbers<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self(PrimitiveBuilder::new())
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    /// The number of this row, which comes after all that were put before.
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

    #[inline]
    fn catch_up(&mut self, row: usize) {
        let missing = row - self.0.len();
        if missing > 0 {
            self.0.append_nulls(missing);
        }
    }
}

/// A column of flags; one that is not set costs nothing.
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

    /// The word with this number, which is below 127.
    #[inline]
    pub(super) fn put(&mut self, row: usize, word: Option<usize>) {
        self.keys.put(row, word.and_then(|word| i8::try_from(word).ok()));
    }

    pub(super) fn finish(&mut self, rows: usize) -> DictionaryArray<Int8Type> {
        DictionaryArray::new(self.keys.finish(rows), Arc::clone(&self.words))
    }
}

/// A column of text, each kept once.
pub(super) struct Texts<K> {
    known: FxHashMap<K, i32>,
    keys: Numbers<Int32Type>,
    values: StringBuilder,
}

impl<K: Hash + Eq> Texts<K> {
    pub(super) fn new() -> Self {
        Self { known: FxHashMap::default(), keys: Numbers::default(), values: StringBuilder::new() }
    }

    /// What `text` makes of `key`.
    #[inline]
    fn put<Q>(&mut self, row: usize, key: &Q, text: impl FnOnce(&Q) -> String)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let number = self.number(key, text);
        self.put_number(row, number);
    }

    /// The number that [`Self::put_number`] takes for it.
    fn number<Q>(&mut self, key: &Q, text: impl FnOnce(&Q) -> String) -> i32
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
    fn put_number(&mut self, row: usize, number: i32) {
        self.keys.put(row, Some(number));
    }

    pub(super) fn finish(&mut self, rows: usize) -> DictionaryArray<Int32Type> {
        self.known.clear();
        DictionaryArray::new(self.keys.finish(rows), Arc::new(self.values.finish()))
    }
}

/// Moments on both clocks: wall time, and what it is ahead of the monotonic clock.
#[derive(Default)]
pub(super) struct Moments {
    time: TimestampNanosecondBuilder,
    offset: Int64Builder,
}

impl Moments {
    /// The moment of the next row.
    #[inline]
    pub(super) fn push(&mut self, anchor: Anchor, monotonic: u64) {
        self.time.append_value(anchor.wall_time(monotonic));
        self.offset.append_value(anchor.wall.wrapping_sub(anchor.monotonic.cast_signed()));
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.time.len()
    }

    pub(super) fn finish(&mut self, to: &mut Columns) {
        to.times("time", self.time.finish(), false);
        to.always("clock_offset", self.offset.finish());
    }
}

/// An address as a number, which is hashed sooner; IPv4 as mapped, which nothing else is here.
#[inline]
fn as_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn as_text(number: &u128) -> String {
    Ipv6Addr::from_bits(*number).to_canonical().to_string()
}

/// Which socket, and where it is.
pub(super) struct Places {
    cookie: Numbers<UInt64Type>,
    netns: Numbers<UInt32Type>,
    local_addr: Texts<u128>,
    local_port: Numbers<UInt16Type>,
    remote_addr: Texts<u128>,
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

    #[inline]
    pub(super) fn put(&mut self, row: usize, cookie: u64, tuple: &Tuple) {
        let port = |port: u16| Some(port).filter(|port| *port != 0);
        let Tuple { netns, local, remote } = tuple;
        self.cookie.put(row, Some(cookie));
        self.netns.put(row, Some(*netns));
        self.local_addr.put(row, &as_number(local.ip()), as_text);
        self.local_port.put(row, port(local.port()));
        self.remote_addr.put(row, &as_number(remote.ip()), as_text);
        self.remote_port.put(row, port(remote.port()));
    }

    pub(super) fn finish(&mut self, rows: usize, to: &mut Columns) {
        to.some("cookie", self.cookie.finish(rows));
        to.some("netns", self.netns.finish(rows));
        to.some("local_addr", self.local_addr.finish(rows));
        to.some("local_port", self.local_port.finish(rows));
        to.some("remote_addr", self.remote_addr.finish(rows));
        to.some("remote_port", self.remote_port.finish(rows));
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
    /// The two owners that came last, which often come again, with the numbers of their names: both ends of a
    /// connection of this host.
    last: [Option<(Arc<Owner>, i32)>; 2],
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
            last: [None, None],
        }
    }

    /// What the table's row says of it.
    #[inline]
    pub(super) fn put(&mut self, row: usize, of: &Connection) {
        self.direction.put(row, of.direction.map(|direction| direction as usize));
        self.evidence.put(row, of.evidence.map(|evidence| evidence as usize));
        let Some(owner) = &of.owner else { return };
        self.pid.put(row, Some(owner.pid));
        self.uid.put(row, Some(owner.uid));
        self.cgroup.put(row, Some(owner.cgroup).filter(|cgroup| *cgroup != 0));
        let name = self.name(owner);
        self.comm.put_number(row, name);
    }

    /// The number of a process' name.
    #[inline]
    fn name(&mut self, owner: &Arc<Owner>) -> i32 {
        let is_it = |last: &&(Arc<Owner>, i32)| Arc::ptr_eq(&last.0, owner);
        if let Some((_, number)) = self.last.iter().flatten().find(is_it) {
            return *number;
        }
        let text = |comm: &[u8]| String::from_utf8_lossy(comm).into_owned();
        let number = self.comm.number(&*owner.comm, text);
        self.last.swap(0, 1);
        self.last[0] = Some((Arc::clone(owner), number));
        number
    }

    pub(super) fn finish(&mut self, rows: usize, to: &mut Columns) {
        self.last = [None, None];
        to.some("direction", self.direction.finish(rows));
        to.some("pid", self.pid.finish(rows));
        to.some("comm", self.comm.finish(rows));
        to.some("uid", self.uid.finish(rows));
        to.some("cgroup_id", self.cgroup.finish(rows));
        to.some("owner_evidence", self.evidence.finish(rows));
    }
}

/// `errno` as its name, or as a number where it has none.
fn errno_text(errno: &u8) -> String {
    errno::name(*errno).map_or_else(|| errno.to_string(), ToOwned::to_owned)
}

/// Why a connection ended, and what its socket had counted.
pub(super) struct Endings {
    verdict: Words,
    errno: Texts<u8>,
    reset: Words,
    bytes_sent: Numbers<UInt64Type>,
    bytes_received: Numbers<UInt64Type>,
    retransmits: Numbers<UInt32Type>,
    rtt_us: Numbers<UInt32Type>,
}

impl Endings {
    pub(super) fn new() -> Self {
        Self {
            verdict: Words::of(Verdict::ALL.map(Verdict::name)),
            errno: Texts::new(),
            reset: Words::of(ResetSide::ALL.map(ResetSide::name)),
            bytes_sent: Numbers::default(),
            bytes_received: Numbers::default(),
            retransmits: Numbers::default(),
            rtt_us: Numbers::default(),
        }
    }

    /// What the step says of it.
    #[inline]
    pub(super) fn put(&mut self, row: usize, step: &Step<'_>) {
        let t = step.transition;
        self.verdict.put(row, step.verdict.map(|verdict| verdict as usize));
        if let Some(errno) = &t.errno {
            self.errno.put(row, errno, errno_text);
        }
        self.reset.put(row, t.reset.map(|side| side as usize));
        let Some(totals) = &t.totals else { return };
        self.bytes_sent.put(row, Some(totals.bytes_sent));
        self.bytes_received.put(row, Some(totals.bytes_received));
        self.retransmits.put(row, Some(totals.retransmits));
        self.rtt_us.put(row, totals.rtt_us);
    }

    pub(super) fn finish(&mut self, rows: usize, to: &mut Columns) {
        to.some("verdict", self.verdict.finish(rows));
        to.some("errno", self.errno.finish(rows));
        to.some("reset", self.reset.finish(rows));
        to.some("bytes_sent", self.bytes_sent.finish(rows));
        to.some("bytes_received", self.bytes_received.finish(rows));
        to.some("retransmits", self.retransmits.finish(rows));
        to.some("rtt_us", self.rtt_us.finish(rows));
    }
}
