//! Walks over the TCP sockets of all namespaces, in the kernel's own tables.
//!
//! An iterator passes over every bucket of the table, some 2 ms, for each namespace. These programs
//! pass over the table once. User space runs them by `BPF_PROG_RUN`; they are attached to nothing.
//! They read by probe reads alone, under RCU, as the kernel's own readers do
//! (`__inet_lookup_established`, net/ipv4/inet_hashtables.c). A socket without a cookie has cookie
//! 0: no helper makes one for a plain address.
//!
//! The kernel keeps preemption off while a program runs, so that each run is a step of bounded
//! length, and ends with a [`WalkStep`] that says where the next step begins.

use core::{
    ffi::c_void,
    mem::{MaybeUninit, zeroed},
    ptr::from_mut,
};

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{bpf_get_current_task, bpf_loop, bpf_probe_read_kernel, generated},
    macros::map,
    maps::RingBuf,
    programs::RawTracePointContext,
};
use netmon_common::{
    AF_INET6, IPPROTO_TCP, Namespace, Socket, UNKNOWN, WALK_ENTRIES, WALK_RING, WalkStep, has,
    kind, state, timer,
};

use crate::{filter, offsets::offset};

/// The records of a step.
#[map]
static WALKED: RingBuf = RingBuf::with_byte_size(WALK_RING, 0);

/// Heads of buckets that are read at once; a power of two.
const HEADS: u32 = 16;
/// The most looks at buckets in one step.
const LOOKS: u32 = 16_384;
/// The most entries of a chain, or namespaces, that a step may follow.
const CHAIN: u32 = 1 << 17;
/// The number of times that a step begins a chain anew, because an entry has moved to another one.
const TRIES: u32 = 3;
/// A step of a walk over one table of sockets.
struct Walk {
    /// Address of the first head.
    table: u64,
    /// Distance of two heads, bytes.
    stride: u64,
    buckets: u32,
    bucket: u32,
    skip: u32,
    /// The next entry of the chain, or the marker of its end.
    node: u64,
    /// The number of entries of the chain before `node`.
    position: u32,
    /// The number of entries that this step has visited.
    visited: u32,
    tries: u32,
    faults: u32,
    chain: Chain,
}

/// The state of a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Chain {
    Open,
    Ended,
    /// There is no room for more records in this step.
    Full,
    Fault,
}

/// A step over a table of sockets. Arguments: the address of the first head, the distance of two
/// heads, the number of buckets, the bucket to begin with, and the number of its entries to pass
/// over.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub fn walk_sockets(ctx: *mut c_void) -> i32 {
    let args = RawTracePointContext::new(ctx);
    let mut walk = Walk {
        table: args.arg(0),
        stride: args.arg(1),
        buckets: args.arg::<u64>(2) as u32,
        bucket: args.arg::<u64>(3) as u32,
        skip: args.arg::<u64>(4) as u32,
        node: 0,
        position: 0,
        visited: 0,
        tries: 0,
        faults: 0,
        chain: Chain::Ended,
    };
    // SAFETY: the callback has the signature that the kernel calls, and `walk` outlives the call.
    unsafe { bpf_loop(LOOKS, visit_buckets as *mut c_void, from_mut(&mut walk).cast(), 0) };
    let is_last = u8::from(walk.bucket >= walk.buckets);
    end(WalkStep { is_last, faults: walk.faults, bucket: walk.bucket, skip: walk.skip, ..NOTHING })
}

const NOTHING: WalkStep =
    WalkStep { kind: kind::WALK_STEP, is_last: 0, reserved: [0; 2], faults: 0, bucket: 0, skip: 0 };

fn end(step: WalkStep) -> i32 {
    let _ = WALKED.output::<WalkStep>(step, u64::from(BPF_RB_NO_WAKEUP));
    0
}

/// Passes over some empty buckets, or walks the chain of one. Returns 1 at the end of the step.
extern "C" fn visit_buckets(_: u64, walk: *mut c_void) -> i64 {
    // SAFETY: the caller's `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk>() };
    if walk.bucket >= walk.buckets || walk.visited >= WALK_ENTRIES {
        return 1;
    }
    let Some(head) = next_head(walk) else { return 0 };
    if walk.bucket >= walk.buckets {
        return 1;
    }
    (walk.node, walk.position, walk.chain) = (head, 0, Chain::Open);
    // SAFETY: as for `walk_sockets`.
    unsafe { bpf_loop(CHAIN, visit_entry as *mut c_void, from_mut(walk).cast(), 0) };
    if walk.chain == Chain::Full {
        walk.skip = walk.position;
        return 1;
    }
    // The end of a chain is marked by its bucket. An entry that has moved to another chain leads to
    // the end of that one. Only the table of connections has markers that are known.
    let is_whole =
        walk.chain == Chain::Ended && (walk.stride != 8 || (walk.node >> 1) as u32 == walk.bucket);
    if !is_whole {
        walk.tries += 1;
        if walk.tries < TRIES {
            return 0;
        }
        walk.faults += 1;
    }
    (walk.tries, walk.skip) = (0, 0);
    walk.bucket += 1;
    0
}

/// Returns the head of the next chain, and sets `walk.bucket`. Returns `None` where the buckets
/// that it has looked at are empty.
#[inline(always)]
fn next_head(walk: &mut Walk) -> Option<u64> {
    if walk.stride != 8 {
        let address = walk.table + walk.stride * u64::from(walk.bucket);
        let head: u64 = field(address, 0);
        if head & 1 == 0 && head != 0 {
            return Some(head);
        }
        (walk.bucket, walk.skip) = (walk.bucket + 1, 0);
        return None;
    }
    let first = walk.bucket & !(HEADS - 1);
    let heads: [u64; HEADS as usize] = field(walk.table, first as usize * 8);
    // Without branches: the verifier would follow each of the heads into its chain.
    let mut used = 0;
    for (bit, head) in heads.into_iter().enumerate() {
        used |= (head as u32 & 1 ^ 1) << bit;
    }
    used &= u32::MAX << (walk.bucket - first);
    let at = first + used.trailing_zeros().min(HEADS);
    if at != walk.bucket {
        (walk.bucket, walk.skip) = (at, 0);
    }
    if used == 0 {
        return None;
    }
    // An empty chain by now ends with the marker of its bucket.
    Some(field(walk.table, at as usize * 8))
}

/// Writes one entry of a chain. Returns 1 at the end of the chain, or where the step must end.
extern "C" fn visit_entry(_: u64, walk: *mut c_void) -> i64 {
    // SAFETY: the caller's `Walk`.
    let walk = unsafe { &mut *walk.cast::<Walk>() };
    let node = walk.node;
    if node & 1 == 1 {
        walk.chain = Chain::Ended;
        return 1;
    }
    if walk.position >= walk.skip {
        if walk.visited >= WALK_ENTRIES {
            walk.chain = Chain::Full;
            return 1;
        }
        if walk_socket(node.wrapping_sub(offset!(skc_nulls_node) as u64)) != 0 {
            walk.chain = Chain::Full;
            return 1;
        }
        // Entries that the filter leaves out take time too.
        walk.visited += 1;
    }
    walk.position += 1;
    // SAFETY: a probe read takes any address. `next` is the first member of a node.
    match unsafe { bpf_probe_read_kernel(node as *const u64) } {
        Ok(next) if next != 0 => {
            walk.node = next;
            0
        }
        _ => {
            walk.chain = Chain::Fault;
            1
        }
    }
}

/// Writes the socket at address `sk`, if there is one that the filter admits. Returns 1 if there is
/// no room for the record, otherwise 0.
///
/// The verifier checks a function with a name of its own once, and not for each path of its
/// callers. Inlined, this function took more than a million steps.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_socket(sk: u64) -> u32 {
    let references: u32 = field(sk, offset!(skc_refcnt));
    if references == 0 {
        return 0;
    }
    let family: u16 = field(sk, offset!(skc_family));
    let remote_port: u16 = field(sk, offset!(skc_dport));
    let kernel_state: u8 = field(sk, offset!(skc_state));
    // SAFETY: plain integers.
    let mut head: Socket = unsafe { zeroed() };
    (head.kind, head.protocol, head.family) = (kind::SOCKET, IPPROTO_TCP as u8, family as u8);
    (head.state, head.timer, head.has) = (kernel_state, timer::OFF, has::UID);
    if kernel_state == state::TIME_WAIT {
        head.state = field(sk, offset!(tw_substate));
        (head.timer, head.has) = (timer::TIME_WAIT, 0);
    } else if kernel_state == state::NEW_SYN_RECV {
        (head.state, head.has) = (state::SYN_RECV, 0);
    }
    head.cookie = field(sk, offset!(skc_cookie));
    head.netns = field(field(sk, offset!(skc_net)), offset!(net_inum));
    head.local_port = field(sk, offset!(skc_num));
    head.remote_port = u16::from_be(remote_port);
    // A listener is wanted for the sake of its connections.
    let is_wanted = kernel_state == state::LISTEN
        || filter::admits(head.state, head.family, head.netns, head.local_port, head.remote_port);
    if !is_wanted {
        return 0;
    }
    let Some(mut entry) = WALKED.reserve::<Socket>(0) else { return 1 };
    entry.write(head);
    // SAFETY: the entry was written just now.
    unsafe { describe(sk, kernel_state, &mut *entry.as_mut_ptr()) };
    // The memory of a socket that has ended may be another socket's by now, with another cookie.
    // A socket without a cookie may have got one meanwhile.
    let cookie: u64 = field(sk, offset!(skc_cookie));
    if cookie == head.cookie || head.cookie == 0 {
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    } else {
        entry.discard(u64::from(BPF_RB_NO_WAKEUP));
    }
    0
}

/// Fills in the fields of `out` that no filter asks for.
#[inline(always)]
fn describe(sk: u64, kernel_state: u8, out: &mut Socket) {
    out.interface = field(sk, offset!(skc_bound_dev_if));
    if out.family == AF_INET6 {
        out.local_addr = field(sk, offset!(skc_v6_rcv_saddr));
        out.remote_addr = field(sk, offset!(skc_v6_daddr));
    } else {
        let local: [u8; 4] = field(sk, offset!(skc_rcv_saddr));
        let remote: [u8; 4] = field(sk, offset!(skc_daddr));
        out.local_addr[..4].copy_from_slice(&local);
        out.remote_addr[..4].copy_from_slice(&remote);
    }
    let bit = offset!(skc_ipv6only);
    if kernel_state == state::LISTEN && out.family == AF_INET6 && bit != UNKNOWN as usize {
        let byte: u8 = field(sk, bit / 8);
        out.has |= if byte & 1 << (bit % 8) == 0 { has::DUAL_STACK } else { has::V6ONLY };
    }
    // The other types of socket end before these fields.
    if kernel_state != state::TIME_WAIT && kernel_state != state::NEW_SYN_RECV {
        out.uid = field(sk, offset!(sk_uid));
        if offset!(sk_cgroup) != 0 {
            let node = field(field(sk, offset!(sk_cgroup)), offset!(cgroup_kn));
            out.cgroup = field(node, offset!(kn_id));
        }
    }
}

/// Returns the field at `address + offset` of the kernel's memory; zero where the memory cannot be
/// read.
///
/// The helper itself writes the zeros: a branch for its error would double the paths that the
/// verifier follows, for each field.
#[inline(always)]
fn field<T: Copy>(address: u64, offset: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let from = (address as usize).wrapping_add(offset) as *const c_void;
    // SAFETY: a probe read takes any address, and writes all of `value`, also where it fails
    // (`bpf_probe_read_kernel_common`, kernel/trace/bpf_trace.c).
    unsafe {
        generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        value.assume_init()
    }
}

/// A step of the walk over all namespaces.
struct NamespaceWalk {
    first: u64,
    /// `ns.ops` of every network namespace: the head of the list has something else there.
    ops: u64,
    net: u64,
    skip: u32,
    position: u32,
    is_over: u32,
}

/// A step over the list of namespaces. Argument: the number of namespaces to pass over.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
pub fn walk_namespaces(ctx: *mut c_void) -> i32 {
    // SAFETY: a helper without arguments.
    let task: u64 = unsafe { bpf_get_current_task() };
    let proxy: u64 = field(task, offset!(task_nsproxy));
    let first: u64 = field(proxy, offset!(nsproxy_net_ns));
    let mut walk = NamespaceWalk {
        first,
        ops: field(first, offset!(net_ops)),
        net: first,
        skip: RawTracePointContext::new(ctx).arg::<u64>(0) as u32,
        position: 0,
        is_over: 0,
    };
    // SAFETY: as for `walk_sockets`.
    unsafe { bpf_loop(CHAIN, visit_namespace as *mut c_void, from_mut(&mut walk).cast(), 0) };
    let faults = u32::from(walk.is_over == 0 && walk.position < walk.skip + WALK_ENTRIES);
    end(WalkStep { is_last: walk.is_over as u8, faults, skip: walk.position, ..NOTHING })
}

/// Writes one namespace. Returns 1 at the end of the list, or where the step must end.
extern "C" fn visit_namespace(_: u64, walk: *mut c_void) -> i64 {
    // SAFETY: the caller's `NamespaceWalk`.
    let walk = unsafe { &mut *walk.cast::<NamespaceWalk>() };
    if walk.position >= walk.skip + WALK_ENTRIES {
        return 1;
    }
    let net = walk.net;
    let is_namespace = field::<u64>(net, offset!(net_ops)) == walk.ops
        && field::<u32>(net, offset!(net_count)) != 0;
    if walk.position >= walk.skip && is_namespace {
        let hashinfo: u64 = field(net, offset!(net_hashinfo));
        let mask = |offset| field::<u32>(hashinfo, offset);
        let lhash2: u64 = field(hashinfo, offset!(hashinfo_lhash2));
        let out = Namespace {
            kind: kind::NAMESPACE,
            reserved: [0; 3],
            inum: field(net, offset!(net_inum)),
            cookie: field(net, offset!(net_cookie)),
            ehash: field(hashinfo, offset!(hashinfo_ehash)),
            lhash2: lhash2.wrapping_add(offset!(listen_head) as u64),
            ehash_buckets: mask(offset!(hashinfo_ehash_mask)).wrapping_add(1),
            lhash2_buckets: mask(offset!(hashinfo_lhash2_mask)).wrapping_add(1),
        };
        if WALKED.output::<Namespace>(out, u64::from(BPF_RB_NO_WAKEUP)).is_err() {
            return 1;
        }
    }
    walk.position += 1;
    let next: u64 = field(net, offset!(net_list));
    if next == 0 {
        return 1;
    }
    walk.net = next.wrapping_sub(offset!(net_list) as u64);
    if walk.net == walk.first {
        walk.is_over = 1;
        return 1;
    }
    0
}
