//! The ring buffers, one for each CPU if there is room, read as one.

use std::{error::Error, future::poll_fn, io, ops::RangeInclusive, task::Poll};

use aya::{
    maps::{ArrayOfMaps, Map, MapData, MapError, RingBuf},
    sys::SyscallError,
    util::online_cpus,
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    param::page_size,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    backlog::Backlog,
    merge::{Next, Reading, Ring, RingMerge},
    record::{MalformedRecord, Record, decode, time_of},
};
use crate::core::time::Mono;

/// The least size of a ring, bytes. CPUs share rings rather than have smaller ones.
const LEAST: u32 = 1 << 20;
/// The sizes of all rings together, if the user chooses none: enough for a ring of [`LEAST`] for
/// each CPU, within these bounds.
const DEFAULTS: RangeInclusive<u32> = 16 << 20..=1 << 30;
/// The kernel program's map of rings; CPUs use its entries in turn.
pub(in crate::kernel) const NAME: &str = "EVENTS";
/// The kernel program's map of the ring of processes.
pub(in crate::kernel) const OF_PROCESSES: &str = "PROCESSES";
/// The size of the ring of processes, bytes, if the other rings are not smaller: 4,000 programs,
/// which wait until netmon reads the rings, two seconds at rest. A quarter of them wakes netmon.
const PROCESSES: u32 = 4 << 20;
/// The number of looks at a record that a program is still writing, which takes some 200 ns.
const LOOKS: usize = 50;

const WHAT: &str = "the ring buffer";

/// The reason why the rings cannot be made.
#[derive(Debug, thiserror::Error)]
pub(in crate::kernel) enum RingError {
    /// The kernel has no memory for the rings, or this process may not use so much.
    #[error("no ring buffer of {size} bytes")]
    Memory {
        /// The requested size.
        size: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A step was refused.
    #[error("{what}: {source}")]
    Refused {
        /// The file, or the step.
        what: String,
        /// The kernel's answer.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RingError {
    fn refused(what: &str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Refused { what: what.to_owned(), source: Box::new(source) }
    }
}

/// All rings.
pub(in crate::kernel) struct Rings(Backlog<Buffer>);

struct Buffer(AsyncFd<RingBuf<MapData>>);

/// Returns the size of all rings together for this host, if the user chooses none.
#[must_use]
pub(crate) fn default_size() -> u32 {
    // The error comes again, and is reported, when the rings are made.
    size_for(online_cpus().map_or(1, |cpus| cpus.len()))
}

/// Returns the size with which each of so many CPUs has a ring of its own.
fn size_for(cpus: usize) -> u32 {
    let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
    let wanted = cpus.saturating_mul(LEAST).clamp(*DEFAULTS.start(), *DEFAULTS.end());
    wanted.next_power_of_two()
}

/// Returns the number of rings that share `size` bytes.
pub(in crate::kernel) fn count(size: u32) -> Result<u32, RingError> {
    let cpus = online_cpus().map_err(|(path, error)| RingError::refused(path, error))?;
    Ok(count_for(cpus.len(), size))
}

fn count_for(cpus: usize, size: u32) -> u32 {
    u32::try_from(cpus).unwrap_or(u32::MAX).min(size / LEAST).max(1)
}

/// Returns the size of each of `count` rings that take at most `size` bytes together, but a page at
/// least: a power of two.
pub(in crate::kernel) fn each(size: u32, count: u32) -> u32 {
    // Pages have up to 64 KiB on arm64.
    each_for(size, count, u32::try_from(page_size()).unwrap_or_default())
}

fn each_for(size: u32, count: u32, page: u32) -> u32 {
    1 << (size / count.max(1)).max(page).ilog2()
}

/// Returns the size of the ring of processes, beside rings that take `size` bytes together.
pub(in crate::kernel) fn process_size(size: u32) -> u32 {
    each(size.min(PROCESSES), 1)
}

impl Rings {
    /// Makes rings that take at most `size` bytes together, and stores them in `map`, the kernel
    /// program's map of rings. `of_processes` is the ring of processes, if programs fill it.
    ///
    /// At each entry the kernel waits until no program uses the former value
    /// (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c). Must be called within a tokio runtime.
    /// Programs refer to the map by its descriptor, which must stay open until the programs are
    /// loaded.
    pub(in crate::kernel) fn new(
        map: &mut Map,
        of_processes: Option<Map>,
        size: u32,
    ) -> Result<Self, RingError> {
        let mut map: ArrayOfMaps<_, RingBuf<MapData>> =
            map.try_into().map_err(|error: MapError| RingError::refused(WHAT, error))?;
        let each = each(size, map.len());
        let no_ring = |error: MapError| match error {
            MapError::CreateError { io_error: source, .. }
            // The ring exists, but this process has no room to map it.
            | MapError::SyscallError(SyscallError { io_error: source, .. }) => {
                RingError::Memory { size, source }
            }
            other => RingError::refused(WHAT, other),
        };
        let mut rings = Vec::new();
        for slot in 0..map.len() {
            let ring = ring(each).map_err(no_ring)?;
            map.set(slot, &ring, 0).map_err(|error| RingError::refused(WHAT, error))?;
            rings.push(Buffer::new(ring)?);
        }
        if let Some(map) = of_processes {
            rings.push(Buffer::new(RingBuf::try_from(map).map_err(no_ring)?)?);
        }
        Ok(Self(Backlog::new(RingMerge::new(rings))))
    }

    /// Waits until a ring may hold a record.
    pub(in crate::kernel) async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            let mut is_ready = false;
            for Buffer(ring) in self.0.rings() {
                if let Poll::Ready(guard) = ring.poll_read_ready_mut(context) {
                    guard?.clear_ready();
                    is_ready = true;
                }
            }
            if is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Returns whether records are left that no ring will report.
    pub(in crate::kernel) fn have_more(&self) -> bool {
        self.0.has_more()
    }

    /// Makes room in the rings for a reader that is away: records that existed at `now` wait in
    /// memory for the next reading.
    pub(in crate::kernel) fn relieve(&mut self, now: Mono) {
        self.0.relieve(now);
    }

    /// Returns the records that wait in memory.
    pub(in crate::kernel) fn waiting(&self) -> impl Iterator<Item = &Record> {
        self.0.waiting().filter_map(|record| record.as_ref().ok())
    }

    /// Takes the records that existed at `now`, at most `limit` of them, in order of time.
    pub(in crate::kernel) fn read(
        &mut self,
        now: Mono,
        limit: usize,
        each: impl FnMut(Result<Record, MalformedRecord>),
    ) -> Reading {
        self.0.read(now, limit, each)
    }
}

impl Buffer {
    fn new(ring: RingBuf<MapData>) -> Result<Self, RingError> {
        #[expect(unsafe_code, reason = "tokio cannot know that the descriptor stays the ring's")]
        // SAFETY: the ring owns its map's descriptor, and is neither replaced nor taken out.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        ring.map(Self).map_err(|error| RingError::refused(WHAT, error))
    }
}

impl Ring for Buffer {
    type Item = Result<Record, MalformedRecord>;

    fn weight(item: &Self::Item) -> usize {
        item.as_ref().map_or(1, Record::weight)
    }

    fn next(&mut self) -> Next<Self::Item> {
        for _ in 0..LOOKS {
            if let Some(bytes) = self.0.get_mut().next() {
                let record = decode(&bytes);
                return Next::There(time_of(&record), record);
            }
            // The ring is not empty, but yields no record: a program is writing one
            // (`ringbuf_map_poll_kern`, kernel/bpf/ringbuf.c). Records that a softirq wrote on top
            // of that program are behind it.
            let mut ring = [PollFd::new(&self.0, PollFlags::IN)];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            // A signal interrupts even a poll that does not wait. That does not mean an empty ring.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_each_cpu_has_a_ring_of_its_own() {
        const MIB: u32 = 1 << 20;
        // CPUs, the size of all rings, and of each.
        for (cpus, size, each_has) in [
            (1, 16, 16),
            (2, 16, 8),
            (16, 16, 1),
            (17, 32, 1),
            (96, 128, 1),
            (128, 128, 1),
            (1_024, 1_024, 1),
        ] {
            assert_eq!(size_for(cpus), size * MIB, "{cpus} CPUs");
            let count = count_for(cpus, size_for(cpus));
            assert_eq!((count as usize, each(size_for(cpus), count)), (cpus, each_has * MIB));
        }
        assert_eq!(size_for(100_000), 1_024 * MIB);
        assert_eq!(count_for(100_000, size_for(100_000)), 1_024);
        // A smaller buffer of the user's is shared.
        assert_eq!((count_for(128, 16 * MIB), count_for(128, 4_096)), (16, 1));
    }

    #[test]
    fn a_ring_has_whole_pages() {
        for (page, size) in [(4_096, 8_192), (16_384, 16_384), (65_536, 65_536)] {
            assert_eq!(each_for(8_192, 1, page), size);
        }
    }
}
