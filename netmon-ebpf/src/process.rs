//! The process that opened or took a socket: the current process, read only where that process
//! itself acts.

use core::ptr::addr_of_mut;

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task_btf,
    bpf_get_current_uid_gid,
};
use netmon_common::{NO_LOGIN, Namespaces, Process, UNKNOWN};

use crate::{
    offsets::{load, offset, read},
    pid_namespace::{self, ProcessNumbers},
};

/// `PF_KTHREAD` (include/linux/sched.h): connects by kernel threads have no process to name.
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// Fills `out`, which lies in the ring buffer's memory, with the current process.
///
/// # Safety
/// `out` must point to room for a whole `Process`, and the program must run in process context:
/// connect, listen and accept do. Most other transitions run in a softirq, on top of any process.
#[inline(always)]
pub unsafe fn describe(out: *mut Process) {
    // SAFETY: helpers without arguments; the task's fields are read at BTF offsets, as the verifier
    // checks. `comm` is read as two words: `comm` may change meanwhile, its last byte stays NUL.
    unsafe {
        let task = bpf_get_current_task_btf().cast::<u8>().cast_const();
        let flags: u32 = load(task, offset!(task_flags));
        let leader: *const u8 = load(task, offset!(task_group_leader));
        let numbers = if flags & PF_KTHREAD == 0 {
            ProcessNumbers::of(leader as u64, (bpf_get_current_pid_tgid() >> 32) as u32)
        } else {
            ProcessNumbers::NONE
        };
        let comm = addr_of_mut!((*out).comm).cast::<u64>();
        comm.write(load(leader, offset!(task_comm)));
        comm.add(1).write(load(leader, offset!(task_comm) + 8));
        addr_of_mut!((*out).pid).write(numbers.pid);
        addr_of_mut!((*out).host_pid).write(numbers.host_pid);
        addr_of_mut!((*out).run).write(run(leader as u64));
        write_users(out, task as u64);
        addr_of_mut!((*out).cgroup).write(bpf_get_current_cgroup_id());
        addr_of_mut!((*out).unused).write(0);
    }
}

/// Writes the users of the current process, by the address of its task.
///
/// # Safety
/// `out` must point to room for a whole `Process`.
#[inline(always)]
pub unsafe fn write_users(out: *mut Process, task: u64) {
    let real = bpf_get_current_uid_gid() as u32;
    let (cred, euid) = (offset!(task_cred), offset!(cred_euid));
    let effective = if cred == UNKNOWN as usize || euid == UNKNOWN as usize {
        real
    } else {
        read(read(task, cred), euid)
    };
    // SAFETY: the caller's promise.
    unsafe {
        addr_of_mut!((*out).uid).write(effective);
        addr_of_mut!((*out).real_uid).write(real);
    }
}

/// Returns the start of a process by its first thread, `CLOCK_BOOTTIME` in ns; 0 where unknown.
#[inline(always)]
pub fn start(leader: u64) -> u64 {
    read(leader, offset!(task_start_boottime))
}

/// Returns the low bits of the number of programs that a process has run, by its first thread.
#[inline(always)]
pub fn execs(leader: u64) -> u8 {
    read::<u64>(leader, offset!(task_self_exec_id)) as u8
}

/// Returns [`Process::run`] of a process, by its first thread.
#[inline(always)]
pub fn run(leader: u64) -> u32 {
    netmon_common::run(start(leader), execs(leader))
}

/// Returns the user who logged in, and the number of the login, of a process by its first thread.
#[inline(always)]
pub fn login(leader: u64) -> (u32, u32) {
    if offset!(task_loginuid) == UNKNOWN as usize {
        return (NO_LOGIN, 0);
    }
    (read(leader, offset!(task_loginuid)), read(leader, offset!(task_sessionid)))
}

/// Returns the namespaces of a process by its first thread.
#[inline(always)]
pub fn namespaces(leader: u64) -> Namespaces {
    let proxy: u64 = read(leader, offset!(task_nsproxy));
    let mounts: u64 = read(proxy, offset!(nsproxy_mnt_ns));
    let cred: u64 = read(leader, offset!(task_cred));
    let users: u64 = read(cred, offset!(cred_user_ns));
    Namespaces {
        mnt: read(mounts, offset!(mnt_namespace_inum)),
        pid: pid_namespace::inum(leader),
        user: read(users, offset!(user_namespace_inum)),
    }
}
