//! Records of a walk over the TCP sockets of all namespaces.

/// A network namespace, with the hash tables that its TCP sockets are in; 40 bytes.
///
/// Source: `net_namespace_list` (net/core/net_namespace.c), `struct inet_hashinfo`
/// (include/net/inet_hashtables.h). Namespaces share their tables, or have one of their own
/// (`tcp_child_ehash_entries`, Linux 6.1).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Namespace {
    /// [`crate::kind::NAMESPACE`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Inode number.
    pub inum: u32,
    /// `net_cookie`, a number that is never given twice.
    pub cookie: u64,
    /// Address of the table of connections: heads of `hlist_nulls`, 8 bytes each.
    pub ehash: u64,
    /// Address of the first head of the table of listeners, [`crate::Offsets::listen_size`] bytes
    /// apart.
    pub lhash2: u64,
    /// Number of buckets of the table of connections.
    pub ehash_buckets: u32,
    /// Number of buckets of the table of listeners.
    pub lhash2_buckets: u32,
}

/// The most entries of one step of a walk. The step holds its CPU for a millisecond at most.
pub const WALK_ENTRIES: u32 = 1024;
/// Size of the ring buffer of walks, bytes: room for the records of a step.
pub const WALK_RING: u32 = 128 << 10;

/// The end of a step of a walk, the last record of the step; 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct WalkStep {
    /// [`crate::kind::WALK_STEP`].
    pub kind: u8,
    /// 1 if the walk has come to the end of its table, otherwise 0.
    pub is_last: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// The number of times that the walk could not follow a chain to its end.
    pub faults: u32,
    /// The bucket with which the next step begins.
    pub bucket: u32,
    /// The number of entries of that bucket, or of the list, that the next step passes over.
    pub skip: u32,
}
