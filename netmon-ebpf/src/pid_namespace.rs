//! The pid namespace of netmon's `/proc`, whose numbers of processes the records have.
//!
//! A process has a number in its own pid namespace and in each namespace above (`struct pid`,
//! include/linux/pid.h).

use core::{
    mem::{offset_of, size_of},
    ptr::{addr_of, addr_of_mut},
};

use aya_ebpf::{Global, bindings::bpf_pidns_info, helpers::generated::bpf_get_ns_current_pid_tgid};
use netmon_common::{PidNamespace, UNKNOWN};

use crate::offsets::{load, offset, read};

/// The namespace, written by user space before load.
#[unsafe(no_mangle)]
static PID_NAMESPACE: Global<PidNamespace> = Global::new(PidNamespace { inum: 0, device: 0 });

/// `MAX_PID_NS_LEVEL` (include/linux/pid_namespace.h), the depth of the deepest namespace.
const MAX_LEVEL: usize = 32;

/// The numbers of a process, as in [`netmon_common::Process`].
pub struct ProcessNumbers {
    pub pid: u32,
    pub host_pid: u32,
}

impl ProcessNumbers {
    /// A kernel thread has no numbers.
    pub const NONE: Self = Self { pid: 0, host_pid: 0 };

    /// Returns the numbers of a process by the address of its first thread, and its number in the
    /// initial namespace.
    #[inline(always)]
    pub fn of(leader: u64, host_pid: u32) -> Self {
        let namespace = namespace();
        // A constant: on a host, the verifier drops what follows.
        if namespace.inum == 0 {
            return Self { pid: host_pid, host_pid: 0 };
        }
        Self::new(number_in(namespace.inum, leader), host_pid)
    }

    /// Returns the numbers of the current process, where the kernel's types may be unknown.
    #[inline(always)]
    pub fn of_current(leader: u64, host_pid: u32) -> Self {
        let namespace = namespace();
        if namespace.inum == 0 || offset!(task_thread_pid) != UNKNOWN as usize {
            return Self::of(leader, host_pid);
        }
        Self::new(own_number(namespace), host_pid)
    }

    #[inline(always)]
    fn new(pid: u32, host_pid: u32) -> Self {
        Self { pid, host_pid: if pid == host_pid { 0 } else { host_pid } }
    }
}

/// Returns the namespace, constants to the verifier.
#[inline(always)]
fn namespace() -> PidNamespace {
    let field = |at| {
        // SAFETY: read-only memory, and `at` is an `offset_of!` its type; volatile, as for
        // `offset!`.
        unsafe { load::<u32>(addr_of!(PID_NAMESPACE).cast(), at) }
    };
    PidNamespace {
        inum: field(offset_of!(PidNamespace, inum)),
        device: field(offset_of!(PidNamespace, device)),
    }
}

/// Returns the number of a process in a namespace; 0 if the process is outside of it.
///
/// User space does not know the level of the namespace, since the kernel hides the namespaces above
/// one's own. So each level of the process is compared, the initial namespace's first.
///
/// The loop has one branch, its end, and keeps the number in memory, of which the verifier assumes
/// nothing. With a branch for each answer, the verifier of Linux 5.10 follows a million
/// instructions and gives up.
#[inline(always)]
fn number_in(namespace: u32, leader: u64) -> u32 {
    let pid: u64 = read(leader, offset!(task_thread_pid));
    let deepest: u32 = read(pid, offset!(pid_level));
    let mut number = 0_u32;
    let found = addr_of_mut!(number);
    for level in 0..=MAX_LEVEL {
        if level > deepest as usize {
            break;
        }
        let at = offset!(pid_numbers) + level * offset!(upid_size);
        let of: u64 = read(pid, at + offset!(upid_ns));
        let other = read::<u32>(of, offset!(pid_namespace_inum)) ^ namespace;
        // All ones for the namespace itself, zero for any other.
        let mask = ((other as u64).wrapping_sub(1) >> 32) as u32;
        let of_level: u32 = read(pid, at + offset!(upid_nr));
        // SAFETY: a variable of this function.
        unsafe { found.write_volatile(found.read_volatile() | of_level & mask) };
    }
    // SAFETY: as above.
    unsafe { found.read_volatile() }
}

/// Returns the inode number of the pid namespace of a process, by its first thread
/// (`task_active_pid_ns`, kernel/pid.c).
#[inline(always)]
pub fn inum(leader: u64) -> u32 {
    let pid: u64 = read(leader, offset!(task_thread_pid));
    let level: u32 = read(pid, offset!(pid_level));
    let at = (level as u64).wrapping_mul(offset!(upid_size) as u64);
    let of: u64 = read(pid.wrapping_add(at), offset!(pid_numbers) + offset!(upid_ns));
    read(of, offset!(pid_namespace_inum))
}

/// Returns the number of the current process in its own namespace; 0 if that is another one, also
/// one below.
#[inline(always)]
fn own_number(namespace: PidNamespace) -> u32 {
    let mut numbers = bpf_pidns_info { pid: 0, tgid: 0 };
    let size = size_of::<bpf_pidns_info>() as u32;
    // SAFETY: the helper fills `numbers`, with zeros where it fails.
    unsafe {
        bpf_get_ns_current_pid_tgid(
            namespace.device.into(),
            namespace.inum.into(),
            &mut numbers,
            size,
        );
    }
    numbers.tgid
}
