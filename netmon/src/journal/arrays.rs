//! The columns of a batch, by name, and what their values mean.

use std::{net::IpAddr, net::SocketAddr, sync::Arc};

use arrow_array::{
    Array, DictionaryArray, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt16Array, UInt32Array, UInt64Array,
    cast::AsArray,
    types::{Int8Type, Int32Type},
};
use rustc_hash::FxHashMap;

use super::decode::{Malformed, Result};
use crate::core::{
    connection::Direction,
    errno,
    event::{Anchor, Evidence, Owner, ResetSide, Totals, Tuple},
    tcp::TcpState,
    verdict::Verdict,
};

pub(super) fn column<'a, T: Array + 'static>(
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<&'a T> {
    let array = batch.column_by_name(name).and_then(|array| array.as_any().downcast_ref());
    array.ok_or(Malformed::Column(name))
}

/// A number, where there is one.
macro_rules! get {
    ($array:expr, $i:expr) => {
        $array.is_valid($i).then(|| $array.value($i))
    };
}

/// What the words of a column mean; a column of nothing but nulls has an empty one, which may mean nothing.
pub(super) fn meanings<T>(
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

/// A column of known words.
pub(super) struct Words<'a, T> {
    pub(super) keys: &'a Int8Array,
    pub(super) meaning: Vec<Option<T>>,
}

impl<'a, T: Copy> Words<'a, T> {
    pub(super) fn new(
        batch: &'a RecordBatch,
        name: &'static str,
        all: &[T],
        word: impl Fn(T) -> &'static str,
    ) -> Result<Self> {
        let array: &DictionaryArray<Int8Type> = column(batch, name)?;
        let words: &StringArray = array.values().as_string_opt().ok_or(Malformed::Column(name))?;
        let known = |text: &str| all.iter().copied().find(|known| word(*known) == text);
        Ok(Self { keys: array.keys(), meaning: meanings(name, words, known)? })
    }

    pub(super) fn get(&self, i: usize) -> Option<T> {
        let key = usize::try_from(get!(self.keys, i)?).ok()?;
        *self.meaning.get(key)?
    }
}

/// A column of text that repeats, and what each is.
pub(super) struct Texts<'a, T> {
    pub(super) keys: &'a Int32Array,
    pub(super) meaning: Vec<Option<T>>,
}

impl<'a, T: Clone> Texts<'a, T> {
    pub(super) fn new(
        batch: &'a RecordBatch,
        name: &'static str,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Result<Self> {
        let array: &DictionaryArray<Int32Type> = column(batch, name)?;
        let texts: &StringArray = array.values().as_string_opt().ok_or(Malformed::Column(name))?;
        Ok(Self { keys: array.keys(), meaning: meanings(name, texts, meaning)? })
    }

    pub(super) fn get(&self, i: usize) -> Option<&T> {
        self.meaning.get(self.key(i)?)?.as_ref()
    }

    pub(super) fn key(&self, i: usize) -> Option<usize> {
        usize::try_from(get!(self.keys, i)?).ok()
    }
}

/// Moments on both clocks.
pub(super) struct Moments<'a> {
    pub(super) time: &'a TimestampNanosecondArray,
    pub(super) offset: &'a Int64Array,
}

impl<'a> Moments<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self { time: column(batch, "time")?, offset: column(batch, "clock_offset")? })
    }

    pub(super) fn get(&self, i: usize) -> Anchor {
        let wall = self.time.value(i);
        Anchor { monotonic: monotonic(wall, self.offset.value(i)), wall }
    }
}

pub(super) fn monotonic(wall: i64, offset: i64) -> u64 {
    wall.wrapping_sub(offset).cast_unsigned()
}

pub(super) struct Places<'a> {
    pub(super) cookie: &'a UInt64Array,
    pub(super) netns: &'a UInt32Array,
    pub(super) local_addr: Texts<'a, IpAddr>,
    pub(super) local_port: &'a UInt16Array,
    pub(super) remote_addr: Texts<'a, IpAddr>,
    pub(super) remote_port: &'a UInt16Array,
}

impl<'a> Places<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self> {
        let address = |text: &str| text.parse().ok();
        Ok(Self {
            cookie: column(batch, "cookie")?,
            netns: column(batch, "netns")?,
            local_addr: Texts::new(batch, "local_addr", address)?,
            local_port: column(batch, "local_port")?,
            remote_addr: Texts::new(batch, "remote_addr", address)?,
            remote_port: column(batch, "remote_port")?,
        })
    }

    pub(super) fn get(&self, i: usize) -> Result<(u64, Tuple)> {
        let end = |address: &Texts<'_, IpAddr>, port: &UInt16Array| {
            let address = *address.get(i)?;
            Some(SocketAddr::new(address, get!(port, i).unwrap_or(0)))
        };
        let place = || {
            Some((
                get!(self.cookie, i)?,
                Tuple {
                    netns: get!(self.netns, i)?,
                    local: end(&self.local_addr, self.local_port)?,
                    remote: end(&self.remote_addr, self.remote_port)?,
                },
            ))
        };
        place().ok_or(Malformed::Column("cookie"))
    }
}

pub(super) struct Parties<'a> {
    pub(super) direction: Words<'a, Direction>,
    pub(super) pid: &'a UInt32Array,
    pub(super) comm: Texts<'a, Box<[u8]>>,
    pub(super) uid: &'a UInt32Array,
    pub(super) cgroup: &'a UInt64Array,
    pub(super) evidence: Words<'a, Evidence>,
    pub(super) known: FxHashMap<(u32, u32, u64, usize), Arc<Owner>>,
}

impl<'a> Parties<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self> {
        let evidence = Words::new(batch, "owner_evidence", &Evidence::ALL, Evidence::name)?;
        Ok(Self {
            direction: Words::new(batch, "direction", &Direction::ALL, Direction::name)?,
            pid: column(batch, "pid")?,
            comm: Texts::new(batch, "comm", |text| Some(text.as_bytes().into()))?,
            uid: column(batch, "uid")?,
            cgroup: column(batch, "cgroup_id")?,
            evidence,
            known: FxHashMap::default(),
        })
    }

    pub(super) fn owner(&mut self, i: usize) -> Option<Arc<Owner>> {
        let (pid, uid) = (get!(self.pid, i)?, get!(self.uid, i)?);
        let cgroup = get!(self.cgroup, i).unwrap_or(0);
        let key = self.comm.key(i)?;
        let comm = self.comm.get(i)?;
        let owner = self
            .known
            .entry((pid, uid, cgroup, key))
            .or_insert_with(|| Arc::new(Owner { pid, uid, cgroup, comm: comm.clone() }));
        Some(Arc::clone(owner))
    }
}

/// Why it ended, and what its socket had counted.
pub(super) struct Endings<'a> {
    pub(super) verdict: Words<'a, Verdict>,
    pub(super) errno: Texts<'a, u8>,
    pub(super) reset: Words<'a, ResetSide>,
    pub(super) bytes_sent: &'a UInt64Array,
    pub(super) bytes_received: &'a UInt64Array,
    pub(super) retransmits: &'a UInt32Array,
    pub(super) rtt_us: &'a UInt32Array,
}

impl<'a> Endings<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            verdict: Words::new(batch, "verdict", &Verdict::ALL, Verdict::name)?,
            errno: Texts::new(batch, "errno", errno)?,
            reset: Words::new(batch, "reset", &ResetSide::ALL, ResetSide::name)?,
            bytes_sent: column(batch, "bytes_sent")?,
            bytes_received: column(batch, "bytes_received")?,
            retransmits: column(batch, "retransmits")?,
            rtt_us: column(batch, "rtt_us")?,
        })
    }

    pub(super) fn totals(&self, i: usize) -> Option<Totals> {
        Some(Totals {
            bytes_sent: get!(self.bytes_sent, i)?,
            bytes_received: get!(self.bytes_received, i).unwrap_or(0),
            retransmits: get!(self.retransmits, i).unwrap_or(0),
            rtt_us: get!(self.rtt_us, i),
        })
    }
}

pub(super) fn errno(text: &str) -> Option<u8> {
    text.parse().ok().or_else(|| (1..=u8::MAX).find(|number| errno::name(*number) == Some(text)))
}

pub(super) fn state<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<Words<'a, TcpState>> {
    Words::new(batch, name, &TcpState::ALL, TcpState::name)
}

pub(super) use get;
