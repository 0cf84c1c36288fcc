//! The ring buffers, one for each CPU where there is room, read as one.

use std::{error::Error, future::poll_fn, io, task::Poll};

use aya::{
    maps::{ArrayOfMaps, Map, MapData, MapError, RingBuf},
    sys::SyscallError,
    util::online_cpus,
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    merge::{Next, Reading, Ring, RingMerge},
    record::{MalformedRecord, Record, decode},
};

/// CPUs share a ring rather than have smaller ones than this.
const LEAST: u32 = 1 << 20;
/// The map of them; CPUs have them in turn.
pub(in crate::kernel) const NAME: &str = "EVENTS";
/// How often a record is looked at again that a program is writing, which takes some 200 ns.
const LOOKS: usize = 50;

/// Why the rings cannot be made.
#[derive(Debug, thiserror::Error)]
pub(in crate::kernel) enum RingError {
    /// The kernel has no memory for them, or this process may not take so much.
    #[error("no ring buffer of {size} bytes")]
    Memory {
        /// The size asked for.
        size: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A step was refused.
    #[error("{what}: {source}")]
    Refused {
        /// The file, or the step.
        what: String,
        /// The answer.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RingError {
    fn refused(what: &str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Refused { what: what.to_owned(), source: Box::new(source) }
    }
}

/// Every ring.
pub(in crate::kernel) struct Rings(RingMerge<Buffer>);

struct Buffer(AsyncFd<RingBuf<MapData>>);

/// How many rings make `size` bytes.
pub(in crate::kernel) fn count(size: u32) -> Result<u32, RingError> {
    let cpus = online_cpus().map_err(|(path, error)| RingError::refused(path, error))?;
    Ok(u32::try_from(cpus.len()).unwrap_or(u32::MAX).min(size / LEAST).max(1))
}

/// The size of each of `count` rings that make `size` bytes at most: a power of two.
pub(in crate::kernel) fn each(size: u32, count: u32) -> u32 {
    1 << (size / count.max(1)).ilog2()
}

impl Rings {
    /// Makes rings that take `size` bytes at most, and puts them in the kernel program's `map` of
    /// them.
    ///
    /// The kernel waits at each until no program uses what was there before
    /// (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c). Must be called within a tokio runtime.
    /// Programs name the map by its descriptor, which is not to be closed before they are loaded.
    pub(in crate::kernel) fn new(map: &mut Map, size: u32) -> Result<Self, RingError> {
        let what = "the ring buffer";
        let mut map: ArrayOfMaps<_, RingBuf<MapData>> =
            map.try_into().map_err(|error: MapError| RingError::refused(what, error))?;
        let each = each(size, map.len());
        let mut rings = Vec::new();
        for slot in 0..map.len() {
            let ring = ring(each).map_err(|error| match error {
                MapError::CreateError { io_error: source, .. }
                // It exists, but this process has no room to see it.
                | MapError::SyscallError(SyscallError { io_error: source, .. }) => {
                    RingError::Memory { size, source }
                }
                other => RingError::refused(what, other),
            })?;
            map.set(slot, &ring, 0).map_err(|error| RingError::refused(what, error))?;
            #[expect(
                unsafe_code,
                reason = "tokio cannot know that the descriptor stays the ring's"
            )]
            // SAFETY: the ring owns its map's descriptor, and is neither replaced nor taken out.
            let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
            rings.push(Buffer(ring.map_err(|error| RingError::refused(what, error))?));
        }
        Ok(Self(RingMerge::new(rings)))
    }

    /// Waits until there may be something in one of them.
    pub(in crate::kernel) async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            let mut is_any = false;
            for Buffer(ring) in self.0.rings() {
                if let Poll::Ready(guard) = ring.poll_read_ready_mut(context) {
                    guard?.clear_ready();
                    is_any = true;
                }
            }
            if is_any { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Whether anything was left that no ring will tell of.
    pub(in crate::kernel) fn have_more(&self) -> bool {
        self.0.has_more()
    }

    /// Takes what was there at `now`, or `most` of it, by time.
    pub(in crate::kernel) fn read(
        &mut self,
        now: u64,
        most: usize,
        each: impl FnMut(Result<Record, MalformedRecord>),
    ) -> Reading {
        self.0.read(now, most, each)
    }
}

impl Ring for Buffer {
    type Item = Result<Record, MalformedRecord>;

    fn next(&mut self) -> Next<Self::Item> {
        for _ in 0..LOOKS {
            if let Some(bytes) = self.0.get_mut().next() {
                let record = decode(&bytes);
                // What cannot be understood belongs nowhere.
                return Next::There(record.as_ref().map_or(0, Record::time), record);
            }
            // Not empty, and nothing to be had: a record is being written (`ringbuf_map_poll_kern`,
            // kernel/bpf/ringbuf.c). What a softirq wrote on top of that program is behind it.
            let mut ring = [PollFd::new(&self.0, PollFlags::IN)];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            // A signal interrupts even a poll that does not wait: the ring is not empty by that.
            if !matches!(retry_on_intr(|| poll(&mut ring, Some(&at_once))), Ok(1)) {
                return Next::Empty;
            }
        }
        Next::Blocked
    }
}

fn ring(size: u32) -> Result<RingBuf<MapData>, MapError> {
    let definition = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, size, 0);
    Map::RingBuf(MapData::create(definition, NAME, None)?).try_into()
}
