//! Records about cgroups: one that was made, one that was removed. The ring of processes carries
//! them.

use core::mem::{offset_of, size_of};

/// Room for a path, bytes: the kernel's own (`TRACE_CGROUP_PATH_LEN`,
/// kernel/cgroup/cgroup-internal.h).
pub const CGROUP_PATH: usize = 1024;

/// A cgroup of version 2 that was made, 1048 bytes.
///
/// Source: tracepoint `cgroup:cgroup_mkdir` (kernel/cgroup/cgroup.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct CgroupMade {
    /// [`kind::CGROUP_MADE`](crate::kind::CGROUP_MADE).
    pub kind: u8,
    /// Zero.
    pub reserved: u8,
    /// The used bytes of `path`, its NUL included. 0 where the path could not be read.
    pub path_length: u16,
    /// Zero.
    pub reserved_end: u32,
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// As in [`Process::cgroup`](crate::Process::cgroup).
    pub id: u64,
    /// The path below the root of the hierarchy. The kernel cuts a longer path.
    pub path: [u8; CGROUP_PATH],
}

/// A cgroup of version 2 that was removed, 24 bytes.
///
/// Source: tracepoint `cgroup:cgroup_rmdir` (kernel/cgroup/cgroup.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct CgroupRemoved {
    /// [`kind::CGROUP_REMOVED`](crate::kind::CGROUP_REMOVED).
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 7],
    /// `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// As in [`CgroupMade::id`].
    pub id: u64,
}

const _: () = {
    assert!(size_of::<CgroupMade>() == 24 + CGROUP_PATH);
    assert!(offset_of!(CgroupMade, path) == 24);
    assert!(size_of::<CgroupRemoved>() == 24);
};
