//! Cgroups, when they are made and removed. The path of a cgroup never changes, so a process that
//! acts needs no more than the id of its cgroup.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, generated::bpf_probe_read_kernel_str},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use netmon_common::{CGROUP_PATH, Cgroup, kind};

use crate::{
    offsets::{offset, read},
    program::{reserve, submit},
};

/// `tp_btf/cgroup_mkdir(struct cgroup *cgrp, const char *path)`.
///
/// User space does not see the directory yet (`cgroup_mkdir`, kernel/cgroup/cgroup.c).
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_made(ctx: BtfTracePointContext) -> i32 {
    report(ctx.arg::<*const u8>(0) as u64, Some(ctx.arg::<*const u8>(1) as u64))
}

/// `tp_btf/cgroup_rmdir(struct cgroup *cgrp, const char *path)`.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn cgroup_removed(ctx: BtfTracePointContext) -> i32 {
    report(ctx.arg::<*const u8>(0) as u64, None)
}

/// Reports a cgroup that was made, with its path, or one that was removed.
#[inline(always)]
fn report(cgroup: u64, path: Option<u64>) -> i32 {
    let root: u64 = read(cgroup, offset!(cgroup_root));
    // The tracepoints also report the hierarchies of version 1, whose ids are others.
    if read::<u32>(root, offset!(root_hierarchy_id)) != 0 {
        return 0;
    }
    let node: u64 = read(cgroup, offset!(cgroup_kn));
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = reserve::<Cgroup>() else { return 0 };
    let out = entry.as_mut_ptr();
    let kind = if path.is_some() { kind::CGROUP_MADE } else { kind::CGROUP_REMOVED };
    // SAFETY: reserved for a `Cgroup`; the used bytes of the path are those of its length.
    unsafe {
        let length = match path {
            Some(path) => bpf_probe_read_kernel_str(
                addr_of_mut!((*out).path).cast(),
                CGROUP_PATH as u32,
                path as *const _,
            ),
            None => 0,
        };
        // A negative number is an error.
        let length = if length < 0 { 0 } else { length as u64 };
        // One word for all fields before the time.
        out.cast::<u64>().write(kind as u64 | (length & 0xffff) << 16);
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).id).write(read(node, offset!(kn_id)));
    }
    submit(entry);
    0
}
