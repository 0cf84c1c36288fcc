//! Processes: the programs that they run, their beginnings and their ends.
//!
//! A host may begin 10,000 programs a second and hardly connect, so these records have a ring of
//! their own, whose loss costs no transition, and wake netmon only if the ring is a quarter full.
//!
//! CPUs share the ring. Each record gets its time before it gets its place, so that all records of
//! one process are in order, and come before the records of the sockets that the process opens
//! later. Records of different processes may be some microseconds out of order.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    },
    macros::{btf_tracepoint, map},
    maps::{RingBuf, ring_buf::RingBufEntry},
    programs::BtfTracePointContext,
};
use netmon_common::{ARGUMENTS, Exec, Exit, Fork, PATH_ROOM, UNKNOWN, counter, exec_flag, kind};

use crate::{
    offsets::{load, offset, read},
    pid_namespace::ProcessNumbers,
    process::{execs, login, namespaces, run, start},
    ring::count,
};

/// The ring; user space chooses its size.
#[map]
static PROCESSES: RingBuf = RingBuf::with_byte_size(64 << 10, 0);

/// 1 if records have arguments, written by user space before load.
#[unsafe(no_mangle)]
static WITH_ARGUMENTS: Global<u32> = Global::new(0);

/// The most names and mounts of a path that are looked at.
const STEPS: usize = 40;
/// The bytes from which on a path gets no more names.
const PATH_FULL: usize = PATH_ROOM / 2;

/// `tp_btf/sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`.
///
/// The process is the current one. A thread that called exec is the first thread of its process by
/// now (`de_thread`, fs/exec.c).
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = ctx.arg::<*const u8>(0) as u64;
    let binary = ctx.arg::<*const u8>(2) as u64;
    let numbers = current(task);
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = reserve::<Exec>() else { return 0 };
    let out = entry.as_mut_ptr();
    let file: u64 = read(binary, offset!(bprm_file));
    let inode: u64 = read(file, offset!(file_inode));
    let (login_uid, login_session) = login(task);
    let namespaces = namespaces(task);
    // SAFETY: reserved for an `Exec`; the used bytes of the arrays are those of their lengths.
    unsafe {
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).started).write(start(task));
        addr_of_mut!((*out).pid).write(numbers.pid);
        addr_of_mut!((*out).host_pid).write(numbers.host_pid);
        addr_of_mut!((*out).links).write(read(inode, offset!(inode_nlink)));
        addr_of_mut!((*out).login_uid).write(login_uid);
        addr_of_mut!((*out).login_session).write(login_session);
        addr_of_mut!((*out).namespaces).write(namespaces);
        addr_of_mut!((*out).unused).write(0);
        let length = addr_of_mut!((*out).path_length);
        let mut flags = path(file, addr_of_mut!((*out).path).cast(), length);
        if offset!(inode_nlink) != UNKNOWN as usize {
            flags |= exec_flag::LINKS;
        }
        let (length, size) = arguments(task, addr_of_mut!((*out).arguments).cast());
        addr_of_mut!((*out).arguments_size).write(size);
        addr_of_mut!((*out).kind).write(kind::EXEC);
        addr_of_mut!((*out).flags).write(flags);
        addr_of_mut!((*out).arguments_length).write(length);
        addr_of_mut!((*out).execs).write(execs(task));
        addr_of_mut!((*out).reserved).write(0);
    }
    submit(entry);
    0
}

/// Writes the names of a file's path, the file's own first, and the bytes of the names to `length`.
/// Returns flags.
///
/// `bpf_d_path` is refused in this program. A mount's root and parent are read only where its root
/// is reached: reading both for each name takes longer than the rest of the program.
///
/// The length stays in the record's memory, of which the verifier assumes nothing. Of a variable,
/// older verifiers would follow each value that it may have, a million instructions and more.
///
/// # Safety
/// `to` must point to [`PATH_ROOM`] bytes that the verifier knows, and `length` to a number.
#[inline(always)]
unsafe fn path(file: u64, to: *mut u8, length: *mut u16) -> u8 {
    /// The longest name, with its NUL.
    const NAME: u32 = 256;
    let mut mount: u64 = read(file, offset!(file_path_mnt));
    let mut dentry: u64 = read(file, offset!(file_path_dentry));
    let mut root: u64 = read(mount, offset!(vfsmount_root));
    // SAFETY: the caller's promise about `length`, here and below.
    unsafe { length.write_volatile(0) };
    for _ in 0..STEPS {
        if dentry == 0 {
            break;
        }
        if dentry == root {
            let whole = mount.wrapping_sub(offset!(mount_mnt) as u64);
            let parent: u64 = read(whole, offset!(mount_parent));
            if parent == whole || parent == 0 {
                return 0;
            }
            dentry = read(whole, offset!(mount_mountpoint));
            mount = parent.wrapping_add(offset!(mount_mnt) as u64);
            root = read(mount, offset!(vfsmount_root));
            continue;
        }
        // SAFETY: as above.
        if usize::from(unsafe { length.read_volatile() }) >= PATH_FULL {
            return exec_flag::PATH_CUT;
        }
        let name: u64 = read(dentry, offset!(dentry_name));
        // SAFETY: as above. The mask changes nothing: the verifier needs it.
        let at = usize::from(unsafe { length.read_volatile() }) & (PATH_FULL - 1);
        // SAFETY: `at` is less than half of the room, and a name takes half at most.
        let written =
            unsafe { bpf_probe_read_kernel_str(to.add(at).cast(), NAME, name as *const _) };
        if written <= 0 {
            dentry = 0;
            break;
        }
        // SAFETY: as above.
        unsafe { length.write_volatile((at as i64 + written) as u16) };
        let parent: u64 = read(dentry, offset!(dentry_parent));
        if parent == dentry {
            return exec_flag::NO_DIRECTORY;
        }
        dentry = parent;
    }
    if dentry != 0 {
        return exec_flag::PATH_CUT;
    }
    // A name could not be read: there is no path.
    // SAFETY: as above.
    unsafe { length.write_volatile(0) };
    0
}

/// Writes the beginning of the current process' arguments. Returns the bytes, and the bytes of all
/// arguments.
///
/// # Safety
/// `to` must point to [`ARGUMENTS`] bytes that the verifier knows.
#[inline(always)]
unsafe fn arguments(task: u64, to: *mut u8) -> (u16, u32) {
    // SAFETY: read-only memory of this type; volatile, as for `offset!`.
    if unsafe { load::<u32>(addr_of!(WITH_ARGUMENTS).cast(), 0) } == 0 {
        return (0, 0);
    }
    let memory: u64 = read(task, offset!(task_mm));
    let from: u64 = read(memory, offset!(mm_arg_start));
    let until: u64 = read(memory, offset!(mm_arg_end));
    let size = until.wrapping_sub(from);
    if from == 0 || from >= until {
        return (0, 0);
    }
    let length = if size > ARGUMENTS as u64 { ARGUMENTS as u32 } else { size as u32 };
    // SAFETY: `length` is at most the room. The pages have just been written.
    let result = unsafe { bpf_probe_read_user(to.cast(), length, from as *const _) };
    let length = if result == 0 { length as u16 } else { 0 };
    (length, size.min(u32::MAX as u64) as u32)
}

/// `tp_btf/sched_process_fork(struct task_struct *parent, struct task_struct *child)`.
///
/// The parent is the current thread. The child does not run yet.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> i32 {
    let (task, child) = (ctx.arg::<*const u8>(0) as u64, ctx.arg::<*const u8>(1) as u64);
    if read::<u64>(child, offset!(task_group_leader)) != child {
        return 0;
    }
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let numbers = ProcessNumbers::of(child, read(child, offset!(task_tgid)));
    let leader: u64 = read(task, offset!(task_group_leader));
    let parent = current(leader);
    let (login_uid, login_session) = login(child);
    let namespaces = namespaces(child);
    let Some(mut entry) = reserve::<Fork>() else { return 0 };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for a `Fork`; every byte is written.
    unsafe {
        addr_of_mut!((*out).kind).write(kind::FORK);
        addr_of_mut!((*out).execs).write(execs(child));
        addr_of_mut!((*out).reserved).write(0);
        addr_of_mut!((*out).parent_run).write(run(leader));
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).started).write(start(child));
        addr_of_mut!((*out).pid).write(numbers.pid);
        addr_of_mut!((*out).host_pid).write(numbers.host_pid);
        addr_of_mut!((*out).parent_pid).write(parent.pid);
        addr_of_mut!((*out).parent_host_pid).write(parent.host_pid);
        addr_of_mut!((*out).login_uid).write(login_uid);
        addr_of_mut!((*out).login_session).write(login_session);
        addr_of_mut!((*out).namespaces).write(namespaces);
        addr_of_mut!((*out).unused).write(0);
    }
    submit(entry);
    0
}

/// `tp_btf/sched_process_exit(struct task_struct *p, …)`.
///
/// Each thread of a process comes here. The last one finds that no thread is left.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = ctx.arg::<*const u8>(0) as u64;
    let signal: u64 = read(task, offset!(task_signal));
    if read::<u32>(signal, offset!(signal_live)) != 0 {
        return 0;
    }
    let leader: u64 = read(task, offset!(task_group_leader));
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let numbers = current(leader);
    let Some(mut entry) = reserve::<Exit>() else { return 0 };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for an `Exit`; every byte is written.
    unsafe {
        out.cast::<u64>().write(kind::EXIT as u64);
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).started).write(start(leader));
        addr_of_mut!((*out).pid).write(numbers.pid);
        addr_of_mut!((*out).host_pid).write(numbers.host_pid);
    }
    submit(entry);
    0
}

/// Returns the numbers of the current process, whose first thread is `leader`.
#[inline(always)]
fn current(leader: u64) -> ProcessNumbers {
    ProcessNumbers::of(leader, (bpf_get_current_pid_tgid() >> 32) as u32)
}

/// Reserves room for a `T`. Returns `None` where there is none, and counts that.
#[inline(always)]
pub fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = PROCESSES.reserve::<T>(0);
    if entry.is_none() {
        count(counter::LOST_PROCESSES);
    }
    entry
}

/// Submits a record. User space reads the ring whenever it reads the others, and is woken only
/// where that may be too late.
#[inline(always)]
pub fn submit<T>(entry: RingBufEntry<T>) {
    let waiting = PROCESSES.query(BPF_RB_AVAIL_DATA as u64);
    let size = PROCESSES.query(BPF_RB_RING_SIZE as u64);
    let is_late = waiting > size / 4;
    entry.submit(if is_late { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP } as u64);
}
