//! The way out: reserve room in the ring buffer, fill it in place, submit, count what did not fit.

use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use netmon_common::counter;

/// The size is a placeholder: user space sets it before load (`--buffer`).
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

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

/// Room for a `T` in the ring buffer's own memory, or `None`, counted under `lost`.
#[inline(always)]
pub fn reserve<T: 'static>(lost: u32) -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count(lost);
    }
    entry
}
