//! The ring buffers, read as one: several CPUs share none, and their records come merged by time.

use std::{future::poll_fn, io, task::Poll};

use aya::{
    Ebpf,
    maps::{ArrayOfMaps, Map, MapData, MapError, RingBuf},
    util::nr_cpus,
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    decode::{Record, decode},
    load::{LoadError, refused, take},
};

/// CPUs share a ring rather than have smaller ones than this.
const LEAST: u32 = 1 << 20;
/// The map of them, by CPU.
pub(super) const NAME: &str = "EVENTS";

/// What comes out of a ring.
type Next = Result<Record, ()>;

struct Ring {
    buffer: AsyncFd<RingBuf<MapData>>,
    /// The next of it, taken out already, with its time.
    head: Option<(u64, Next)>,
}

/// Every ring.
///
/// A record of a socket is submitted before its lock is released, so the next one of that socket is made
/// later, on whichever CPU. What is older than the moment when reading began is complete for that reason: if
/// one of two records of a socket was there, so was the one before it.
pub(super) struct Rings(Vec<Ring>);

/// How many CPUs there may be: one slot of the map for each.
pub(super) fn slots() -> Result<u32, LoadError> {
    let cpus = nr_cpus().map_err(|(path, error)| refused(path, &error))?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
}

impl Rings {
    /// Makes rings that take `size` bytes at most, one for each CPU where there is room, and hands them to
    /// the kernel program. From here on they fill.
    pub(super) fn new(ebpf: &mut Ebpf, size: u32) -> Result<Self, LoadError> {
        let what = "the ring buffer";
        let map = take(ebpf, NAME)?;
        let mut map: ArrayOfMaps<_, RingBuf<MapData>> =
            map.try_into().map_err(|error| refused(what, &error))?;
        let count = map.len().min(size / LEAST).max(1);
        // A ring's size is a power of two.
        let each = 1 << (size / count).ilog2();
        let mut rings = Vec::new();
        for _ in 0..count {
            rings.push(ring(each).map_err(|error| match error {
                MapError::CreateError { io_error: source, .. }
                // It exists, but this process has no room to see it.
                | MapError::SyscallError(aya::sys::SyscallError { io_error: source, .. }) => {
                    LoadError::Buffer { size, source }
                }
                other => refused(what, &other),
            })?);
        }
        for (cpu, ring) in (0..map.len()).zip((0..rings.len()).cycle()) {
            map.set(cpu, &rings[ring], 0).map_err(|error| refused(what, &error))?;
        }
        let rings = rings.into_iter().map(|ring| {
            // SAFETY: the ring owns its map's descriptor, and is neither replaced nor taken out.
            let buffer = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
            Ok(Ring { buffer: buffer.map_err(|error| refused(what, &error))?, head: None })
        });
        Ok(Self(rings.collect::<Result<_, LoadError>>()?))
    }

    /// Waits until there may be something in one of them.
    pub(super) async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            for ring in &mut self.0 {
                if let Poll::Ready(guard) = ring.buffer.poll_read_ready_mut(context) {
                    guard?.clear_ready();
                    return Poll::Ready(Ok(()));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whether anything was left when it was read last: nothing will tell of that.
    pub(super) fn have_more(&self) -> bool {
        self.0.iter().any(|ring| ring.head.is_some())
    }

    /// Takes out what was there at `now`, or `most` of it, by time; how much.
    pub(super) fn read(&mut self, now: u64, most: usize, mut each: impl FnMut(Next)) -> usize {
        for ring in &mut self.0 {
            ring.fill();
        }
        let mut taken = 0;
        while taken < most {
            // The one that is first, and when the next one is: up to there it stays first.
            let (mut first, mut until) = (None, now);
            for (at, ring) in self.0.iter().enumerate() {
                let Some((time, _)) = ring.head else { continue };
                match first {
                    Some((_, earliest)) if time >= earliest => until = until.min(time),
                    Some((_, earliest)) => (first, until) = (Some((at, time)), earliest),
                    None => first = Some((at, time)),
                }
            }
            let Some((at, _)) = first.filter(|(_, time)| *time <= now) else { break };
            let ring = &mut self.0[at];
            while taken < most
                && let Some((_, next)) = ring.head.take_if(|(time, _)| *time <= until)
            {
                each(next);
                taken += 1;
                ring.fill();
            }
        }
        taken
    }
}

impl Ring {
    fn fill(&mut self) {
        if self.head.is_none()
            && let Some(bytes) = self.buffer.get_mut().next()
        {
            self.head = Some(match decode(&bytes) {
                Ok(record) => (record.time(), Ok(record)),
                Err(error) => {
                    log::debug!("{error}");
                    // At once: it belongs nowhere.
                    (0, Err(()))
                }
            });
        }
    }
}

fn ring(size: u32) -> Result<RingBuf<MapData>, MapError> {
    let definition = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, size, 0);
    Map::RingBuf(MapData::create(definition, NAME, None)?).try_into()
}
