//! Offsets of the running kernel's fields, written by user space before load: constants to the
//! verifier.

use core::{
    mem::size_of,
    ptr::{self, addr_of, from_mut},
};

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};
use netmon_common::{Offsets, UNKNOWN};

/// The offsets, written by user space before load. If all are zero, the verifier refuses the
/// program.
#[unsafe(no_mangle)]
static OFFSETS: Global<Offsets> = Global::new(
    // SAFETY: plain integers.
    unsafe { core::mem::zeroed() },
);

/// Returns one offset, a constant to the verifier: `offset!(sk_err)`.
macro_rules! offset {
    ($field:ident) => {
        $crate::offsets::offset_at(::core::mem::offset_of!(::netmon_common::Offsets, $field))
    };
}
pub(crate) use offset;

/// Returns the entry of `OFFSETS` at byte `at`.
#[inline(always)]
pub fn offset_at(at: usize) -> usize {
    // SAFETY: `at` is an `offset_of!` the table, which the loader froze as read-only memory. The
    // read is volatile so that the compiler does not fold the zeros in.
    unsafe { load::<u32>(addr_of!(OFFSETS).cast(), at) as usize }
}

/// Reads a `T` at `base + offset`.
///
/// # Safety
/// `base` must be a pointer that the verifier lets the program read at that offset.
#[inline(always)]
pub unsafe fn load<T>(base: *const u8, offset: usize) -> T {
    // SAFETY: the caller's promise. Volatile, so that the compiler neither merges two loads into
    // one that crosses fields nor moves a load away from its check.
    unsafe { ptr::read_volatile(base.add(offset).cast::<T>()) }
}

/// Reads kernel memory at `address + offset`. Returns zero where the offset is unknown or the
/// memory cannot be read.
///
/// To the verifier this has no branch: the offset is a constant, and the helper fills the memory
/// with zeros where it fails. With a branch for each read, the verifier of Linux 5.10 follows a
/// million instructions of the programs that describe a process, and gives up.
#[inline(always)]
pub fn read<T: Copy + Default>(address: u64, offset: usize) -> T {
    let mut value = T::default();
    if offset != UNKNOWN as usize {
        // SAFETY: a probe read takes any address.
        unsafe {
            bpf_probe_read_kernel(
                from_mut(&mut value).cast(),
                size_of::<T>() as u32,
                address.wrapping_add(offset as u64) as *const _,
            );
        }
    }
    value
}
