//! Cgroups, when they are made and removed. The path of a cgroup never changes, so a process that
//! acts needs no more than the id of its cgroup.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, generated::bpf_probe_read_kernel_str},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use netmon_common::{CGROUP_PATH, CgroupMade, CgroupRemoved, kind};

use crate::{
    offsets::{offset, read},
    program::{reserve, submit},
};

/// `tp_btf/cgroup_mkdir(struct cgroup *cgrp, const char *path)`.
///
/// User space does not see the directory yet (`cgroup_mkdir`, kernel/cgroup/cgroup.c).
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_made(ctx: BtfTracePointContext) -> i32 {
    let Some(id) = id(ctx.arg::<*const u8>(0) as u64) else { return 0 };
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = reserve::<CgroupMade>() else { return 0 };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for a `CgroupMade`; the used bytes of the path are those of its length.
    unsafe {
        let path = addr_of_mut!((*out).path).cast();
        let length = bpf_probe_read_kernel_str(path, CGROUP_PATH as u32, ctx.arg(1));
        // A negative number is an error.
        let length = if length < 0 { 0 } else { length as u64 };
        // One word for all fields before the time.
        out.cast::<u64>().write(kind::CGROUP_MADE as u64 | (length & 0xffff) << 16);
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).id).write(id);
    }
    submit(entry);
    0
}

/// `tp_btf/cgroup_rmdir(struct cgroup *cgrp, const char *path)`.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn cgroup_removed(ctx: BtfTracePointContext) -> i32 {
    let Some(id) = id(ctx.arg::<*const u8>(0) as u64) else { return 0 };
    // SAFETY: a helper without arguments.
    let time = unsafe { bpf_ktime_get_ns() };
    let Some(mut entry) = reserve::<CgroupRemoved>() else { return 0 };
    let out = entry.as_mut_ptr();
    // SAFETY: reserved for a `CgroupRemoved`; every byte is written.
    unsafe {
        out.cast::<u64>().write(kind::CGROUP_REMOVED as u64);
        addr_of_mut!((*out).time).write(time);
        addr_of_mut!((*out).id).write(id);
    }
    submit(entry);
    0
}

/// Returns the id of a cgroup of version 2. The tracepoints also report the hierarchies of version
/// 1, whose ids are others.
#[inline(always)]
fn id(cgroup: u64) -> Option<u64> {
    let root: u64 = read(cgroup, offset!(cgroup_root));
    let is_version_2 = read::<u32>(root, offset!(root_hierarchy_id)) == 0;
    let node: u64 = read(cgroup, offset!(cgroup_kn));
    is_version_2.then(|| read(node, offset!(kn_id)))
}
