//! Reads the TCP sockets of all namespaces in one walk over the kernel's hash tables.
//!
//! A walk reports the cookies that sockets have, and cannot make cookies.

use std::{collections::HashSet, io, time::Duration};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use netmon_common::{self as wire, Offsets, kind};

use super::bpf_iter::{decode, tick};
use crate::{
    core::{socket::Socket, time::Mono},
    kernel::program::{
        error::{LoadError, refused},
        object::take,
        walk::{HashTable, RING, Step},
    },
};

/// The most steps of one walk: some ten million sockets.
const MOST_STEPS: usize = 10_000;
/// The size of a head of `ehash` (`struct inet_ehash_bucket`), bytes.
const HEAD: u32 = 8;

/// Runs one step. Returns the time before the step.
pub(in crate::kernel) trait RunStep: FnMut(Step) -> io::Result<Mono> {}
impl<F: FnMut(Step) -> io::Result<Mono>> RunStep for F {}

/// The reader of walks.
pub(in crate::kernel) struct Walk {
    ring: RingBuf<MapData>,
    /// The distance between two heads of the table of listeners, bytes.
    listen_size: u32,
    tick: Duration,
}

/// The sockets that a step has met.
pub(in crate::kernel) struct Block {
    /// The time before the step.
    pub(in crate::kernel) time: Mono,
    pub(in crate::kernel) sockets: Vec<Socket>,
}

impl Walk {
    /// Takes the ring buffer of walks from the loaded object.
    pub(in crate::kernel) fn new(ebpf: &mut Ebpf, offsets: &Offsets) -> Result<Self, LoadError> {
        let ring = RingBuf::try_from(take(ebpf, RING)?).map_err(|error| refused(RING, &error))?;
        Ok(Self { ring, listen_size: offsets.listen_size, tick: tick() })
    }

    /// Returns every network namespace of the kernel.
    ///
    /// # Errors
    /// The error of `run`, or of a list that cannot be followed to its end.
    pub(in crate::kernel) fn namespaces(
        &mut self,
        mut run: impl RunStep,
    ) -> io::Result<Vec<wire::Namespace>> {
        let (mut namespaces, mut skip) = (Vec::new(), 0);
        for _ in 0..MOST_STEPS {
            run(Step::Namespaces { skip })?;
            let end = self.take(|record| {
                namespaces.extend(read::<wire::Namespace>(record, kind::NAMESPACE));
            })?;
            if end.faults > 0 {
                break;
            }
            if end.is_last != 0 {
                return Ok(namespaces);
            }
            skip = end.skip;
        }
        Err(io::Error::other("the kernel's list of network namespaces has no end"))
    }

    /// Hands every TCP socket of `namespaces` to `each`, a step at a time.
    ///
    /// # Errors
    /// The error of `run` or `each`, or of a table that cannot be followed to its end.
    pub(in crate::kernel) fn sockets(
        &mut self,
        namespaces: &[wire::Namespace],
        mut run: impl RunStep,
        mut each: impl FnMut(Block) -> io::Result<()>,
    ) -> io::Result<()> {
        let listeners = |namespace: &wire::Namespace| {
            let wire::Namespace { lhash2, lhash2_buckets, .. } = *namespace;
            HashTable { address: lhash2, stride: self.listen_size, buckets: lhash2_buckets }
        };
        let connections = |namespace: &wire::Namespace| {
            let wire::Namespace { ehash, ehash_buckets, .. } = *namespace;
            HashTable { address: ehash, stride: HEAD, buckets: ehash_buckets }
        };
        let listeners: HashSet<HashTable> = namespaces.iter().map(listeners).collect();
        let connections: HashSet<HashTable> = namespaces.iter().map(connections).collect();
        let mut faults = 0;
        // Listeners come first, since a listener shows the direction of its connections.
        for table in listeners.into_iter().chain(connections) {
            let (mut bucket, mut skip) = (0, 0);
            for number in 0.. {
                let time = run(Step::Sockets { table, bucket, skip })?;
                let mut sockets = Vec::new();
                let tick = self.tick;
                let end = self.take(|record| {
                    let socket = read::<wire::Socket>(record, kind::SOCKET);
                    sockets.extend(socket.and_then(|socket| decode(&socket, None, tick)));
                })?;
                each(Block { time, sockets })?;
                faults += end.faults;
                if end.is_last != 0 {
                    break;
                }
                if number == MOST_STEPS || (end.bucket, end.skip) == (bucket, skip) {
                    return Err(io::Error::other("the kernel's table of sockets has no end"));
                }
                (bucket, skip) = (end.bucket, end.skip);
            }
        }
        match faults {
            0 => Ok(()),
            faults => Err(io::Error::other(format!(
                "{faults} chains of the kernel's table of sockets could not be followed to their \
                 ends"
            ))),
        }
    }

    /// Hands the records of a step to `each`. Returns the last record.
    fn take(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<wire::WalkStep> {
        let mut end = None;
        while let Some(record) = self.ring.next() {
            match read::<wire::WalkStep>(&record, kind::WALK_STEP) {
                Some(step) => end = Some(step),
                None => each(&record),
            }
        }
        end.ok_or_else(|| io::Error::other("the walk over the kernel's tables did not end"))
    }
}

/// Returns the record, if it is of this kind.
fn read<T: bytemuck::AnyBitPattern>(record: &[u8], kind: u8) -> Option<T> {
    let is_it = record.first() == Some(&kind) && record.len() >= size_of::<T>();
    is_it.then(|| bytemuck::pod_read_unaligned(&record[..size_of::<T>()]))
}
