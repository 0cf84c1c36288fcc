//! Who opened or took a socket: the current process, asked only where it is the one that acts.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task_btf,
        bpf_get_current_uid_gid, bpf_ktime_get_ns,
    },
    macros::fexit,
    programs::FExitContext,
};
use netmon_common::{Accept, IPPROTO_TCP, Process, counter, kind};

use crate::{
    emit::reserve,
    sock::{Sock, load, offset},
};

/// `PF_KTHREAD` (include/linux/sched.h): connects by kernel threads have no process to name.
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// Fills `out`, which lies in the ring buffer's memory, with the current process.
///
/// # Safety
/// `out` must point to room for a whole `Process`, and the program must run in process context:
/// connect, listen and accept do; most other transitions run in softirq, on top of whatever ran there.
#[inline(always)]
pub unsafe fn describe(out: *mut Process) {
    // SAFETY: helpers without arguments; the task's fields are read at BTF offsets, as the verifier
    // checks. `comm` is read as two words: it may change meanwhile, its last byte stays NUL.
    unsafe {
        let task = bpf_get_current_task_btf().cast::<u8>().cast_const();
        let flags: u32 = load(task, offset!(task_flags));
        let pid =
            if flags & PF_KTHREAD == 0 { (bpf_get_current_pid_tgid() >> 32) as u32 } else { 0 };
        let leader: *const u8 = load(task, offset!(task_group_leader));
        let comm = addr_of_mut!((*out).comm).cast::<u64>();
        comm.write(load(leader, offset!(task_comm)));
        comm.add(1).write(load(leader, offset!(task_comm) + 8));
        addr_of_mut!((*out).pid).write(pid);
        addr_of_mut!((*out).uid).write(bpf_get_current_uid_gid() as u32);
        addr_of_mut!((*out).cgroup).write(bpf_get_current_cgroup_id());
    }
}

/// `fexit/inet_csk_accept(sk, flags, err, kern)`, until Linux 6.9.
#[fexit(function = "inet_csk_accept")]
pub fn accepted_4(ctx: FExitContext) -> i32 {
    accepted(&ctx, 4)
}

/// `fexit/inet_csk_accept(sk, arg)`, since Linux 6.10.
#[fexit(function = "inet_csk_accept")]
pub fn accepted_2(ctx: FExitContext) -> i32 {
    accepted(&ctx, 2)
}

/// What it returns comes after its arguments: there it has its type, for the verifier.
#[inline(always)]
fn accepted(ctx: &FExitContext, arguments: usize) -> i32 {
    // SAFETY: the verifier knows how many arguments there are, and what follows them.
    let Some(sk) = Sock::new(unsafe { load(ctx.as_ptr().cast(), arguments * 8) }) else { return 0 };
    if sk.protocol() != IPPROTO_TCP {
        return 0;
    }
    // SAFETY: accept runs in the process that calls it.
    unsafe { accept(sk.cookie(), |out| describe(out)) };
    0
}

/// Tells user space that the current process took a connection, and who that is.
///
/// # Safety
/// `caller` must fill a whole `Process`.
#[inline(always)]
pub unsafe fn accept(id: u64, caller: impl FnOnce(*mut Process)) {
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = reserve::<Accept>(counter::LOST_RESETS) else { return };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for an `Accept`; every byte is written.
    unsafe {
        out.cast::<u64>().write(kind::ACCEPT as u64);
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).cookie).write(id);
        caller(addr_of_mut!((*out).process));
    }
    entry.submit(0);
}
