//! The output: reserves room in a ring buffer, fills it in place, submits it, and counts the
//! records that did not fit.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    Global,
    btf_maps::{ArrayOfMaps, RingBuf},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::{btf_map, map},
    maps::{PerCpuArray, ring_buf::RingBufEntry},
};
use netmon_common::{Note, counter};

use crate::offsets::load;

/// A ring size that every kernel accepts, for any size of its pages. User space puts in its own
/// rings, of the requested size.
const PLACEHOLDER: usize = 64 << 10;

/// The number of rings, written by user space before load.
#[unsafe(no_mangle)]
static RINGS: Global<u32> = Global::new(1);

/// The rings. CPUs have them in turn, so that few CPUs, or none, wait for each other.
#[btf_map]
static EVENTS: ArrayOfMaps<RingBuf<u8, PLACEHOLDER>, 1> = ArrayOfMaps::new();

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

/// Adds one to this CPU's counter; see [`counter`] for the indices.
#[inline(always)]
pub fn count(index: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the lookup returned this CPU's slot. A program that interrupts this one here may
        // cost one count on a preemptible kernel, never all.
        unsafe { *value += 1 }
    }
}

/// Reserves room for a `T` in this CPU's ring. Returns `None` where there is none, and counts that
/// under `lost`.
#[inline(always)]
pub fn reserve<T: 'static>(lost: u32) -> Option<RingBufEntry<T>> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    // SAFETY: read-only memory of this type; volatile, as the compiler must not fold the default
    // in.
    let rings: u32 = unsafe { load(addr_of!(RINGS).cast(), 0) };
    // A division takes as long as the rest of this function; mostly each CPU has its own ring.
    let ring = if cpu < rings { cpu } else { cpu.checked_rem(rings).unwrap_or(0) };
    let ring = EVENTS.get(ring);
    let entry = ring.and_then(|ring| ring.reserve_untyped::<T>(0));
    if entry.is_none() {
        count(lost);
    }
    entry
}

/// Reports an event of a socket to user space. The event gets its time before it gets a record: an
/// event that interrupts this function must not seem older.
#[inline(always)]
pub fn note(kind: u8, state: u8, port: u16, id: u64) {
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = reserve::<Note>(counter::LOST_NOTES) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for a `Note`; every byte is written.
    unsafe {
        // One word for all fields before the time: to write the reserved bytes would take a loop.
        out.cast::<u64>().write(kind as u64 | (state as u64) << 8 | (port as u64) << 16);
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).cookie).write(id);
    }
    entry.submit(0);
}
