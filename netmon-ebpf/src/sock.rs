//! Reads `struct sock` at the offsets that user space took from the running kernel's BTF.
//!
//! All reads are direct loads through BTF pointers, which the verifier checks and the kernel guards
//! against faults: no probe reads on the hot path.

use core::ptr::{self, addr_of, addr_of_mut};

use aya_ebpf::{
    Global,
    helpers::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock},
};
use netmon_common::{AF_INET, AF_INET6, Offsets, Transition, flag, state};

use crate::reset;

/// Written by user space before load; all zero, the verifier refuses the program.
#[unsafe(no_mangle)]
static OFFSETS: Global<Offsets> = Global::new(
    // SAFETY: plain integers.
    unsafe { core::mem::zeroed() },
);

/// One offset, a constant to the verifier: `offset!(sk_err)`.
macro_rules! offset {
    ($field:ident) => {
        $crate::sock::offset_at(::core::mem::offset_of!(::netmon_common::Offsets, $field))
    };
}
pub(crate) use offset;

/// The entry of `OFFSETS` at byte `at`.
#[inline(always)]
pub fn offset_at(at: usize) -> usize {
    // SAFETY: `at` is an `offset_of!` the table, which the loader froze as read-only memory. The
    // read is volatile so that the compiler does not fold the zeros in.
    unsafe { load::<u32>(addr_of!(OFFSETS).cast(), at) as usize }
}

/// A kernel pointer that the verifier knows by its BTF type: `struct sock` or a part of it.
#[derive(Clone, Copy)]
pub struct Sock(*const u8);

impl Sock {
    /// Takes an argument of a tracepoint; `None` where the kernel passed NULL.
    #[inline(always)]
    pub fn new(argument: *const u8) -> Option<Self> {
        if argument.is_null() { None } else { Some(Self(argument)) }
    }

    /// The address, as a handle for user space.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }

    /// The pointer as helpers want it.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut core::ffi::c_void {
        self.0.cast_mut().cast()
    }

    /// The field at `offset`.
    #[inline(always)]
    pub fn load<T>(self, offset: usize) -> T {
        // SAFETY: the verifier proves that the load stays within the BTF type.
        unsafe { load(self.0, offset) }
    }

    /// `sk_protocol`, 16 bits since Linux 5.6.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        self.load(offset!(sk_protocol))
    }

    /// `skc_state`.
    #[inline(always)]
    pub fn state(self) -> u8 {
        self.load(offset!(skc_state))
    }

    /// The cookie, made now if nobody had asked for it yet.
    #[inline(always)]
    pub fn cookie(self) -> u64 {
        // SAFETY: the helper takes any BTF socket pointer, full or mini.
        unsafe { bpf_get_socket_cookie(self.as_ptr()) }
    }

    /// The bound port, host order.
    ///
    /// `skc_num` is 0 once `inet_put_port` ran, which is before the tracepoint speaks of CLOSE; the
    /// header's copy, `inet_sport`, is still there then. On the way to SYN_SENT it is the other way
    /// round: `inet_sport` may be that of an earlier connection.
    #[inline(always)]
    fn local_port(self, new_state: u8) -> u16 {
        let num: u16 = self.load(offset!(skc_num));
        if num != 0 || new_state != state::CLOSE {
            return num;
        }
        self.tcp().map_or(0, |tcp| u16::from_be(tcp.load(offset!(inet_sport))))
    }

    /// The whole of it, a `struct tcp_sock`.
    #[inline(always)]
    pub fn tcp(self) -> Option<Self> {
        // SAFETY: the helper checks the type at run time and returns NULL for anything else.
        Self::new(unsafe { bpf_skc_to_tcp_sock(self.as_ptr()) }.cast())
    }

    /// Inode number of the socket's network namespace.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        // SAFETY: a BTF pointer to `struct net`, read by the verifier's leave.
        unsafe { load(self.net(), offset!(net_inum)) }
    }

    /// The socket's network namespace, a `struct net`.
    #[inline(always)]
    fn net(self) -> *const u8 {
        self.load(offset!(skc_net))
    }

    /// [`flag::BUCKETS_FULL`] when `inet_twsk_alloc` may have refused a minisocket, else 0.
    ///
    /// It refuses while `tw_refcount - 1 >= sysctl_max_tw_buckets`; one that was just made counts.
    #[inline(always)]
    fn buckets_full(self) -> u8 {
        if offset!(net_tw_refcount) == 0 {
            return 0;
        }
        // SAFETY: a BTF pointer to `struct net`, read by the verifier's leave.
        let (count, most): (i32, i32) = unsafe {
            let net = self.net();
            (load(net, offset!(net_tw_refcount)), load(net, offset!(net_max_tw_buckets)))
        };
        if count - 1 >= most { flag::BUCKETS_FULL } else { 0 }
    }

    /// Fills `out`, which lies in the ring buffer's memory, field by field: every byte of it.
    ///
    /// # Safety
    /// `out` must point to room for a whole `Transition`.
    #[inline(always)]
    pub unsafe fn describe(self, out: *mut Transition, kind: u8, old: u8, new: u8, time: u64) {
        let family: u16 = self.load(offset!(skc_family));
        let flags: u64 = self.load(offset!(skc_flags));
        let errno: u32 = self.load(offset!(sk_err));
        let mut flags = flags as u8 & flag::MASK;
        let cookie = self.cookie();
        if new == state::CLOSE {
            if old == state::FIN_WAIT2 || old == state::CLOSING {
                flags |= self.buckets_full();
            }
            if reset::was_received(cookie) {
                flags |= flag::RESET_RECEIVED;
            }
        }
        // SAFETY: the caller's promise.
        unsafe {
            addr_of_mut!((*out).kind).write(kind);
            addr_of_mut!((*out).old_state).write(old);
            addr_of_mut!((*out).new_state).write(new);
            addr_of_mut!((*out).family).write(family as u8);
            addr_of_mut!((*out).flags).write(flags);
            addr_of_mut!((*out).errno).write(errno as u8);
            let interface: u32 = self.load(offset!(skc_bound_dev_if));
            addr_of_mut!((*out).interface).write(if interface < 0xffff {
                interface as u16
            } else {
                0xffff
            });
            addr_of_mut!((*out).time).write(time);
            addr_of_mut!((*out).cookie).write(cookie);
            addr_of_mut!((*out).netns).write(self.netns());
            addr_of_mut!((*out).local_port).write(self.local_port(new));
            let remote_port: u16 = self.load(offset!(skc_dport));
            addr_of_mut!((*out).remote_port).write(u16::from_be(remote_port));
            let local = addr_of_mut!((*out).local_addr).cast::<u64>();
            let remote = addr_of_mut!((*out).remote_addr).cast::<u64>();
            if family == AF_INET6 as u16 {
                local.write(self.load(offset!(skc_v6_rcv_saddr)));
                local.add(1).write(self.load(offset!(skc_v6_rcv_saddr) + 8));
                remote.write(self.load(offset!(skc_v6_daddr)));
                remote.add(1).write(self.load(offset!(skc_v6_daddr) + 8));
            } else {
                let (mut from, mut to) = (0u32, 0u32);
                if family == AF_INET as u16 {
                    from = self.load(offset!(skc_rcv_saddr));
                    to = self.load(offset!(skc_daddr));
                }
                // Little-endian: an address' four bytes, in network order, then zeros.
                local.write(from as u64);
                local.add(1).write(0);
                remote.write(to as u64);
                remote.add(1).write(0);
            }
        }
    }
}

/// Reads a `T` at `base + offset`.
///
/// # Safety
/// `base` must be a pointer that the verifier lets the program read at that offset.
#[inline(always)]
pub unsafe fn load<T>(base: *const u8, offset: usize) -> T {
    // SAFETY: the caller's promise. Volatile, so that the compiler neither merges two loads into one
    // that crosses fields nor moves one away from its check.
    unsafe { ptr::read_volatile(base.add(offset).cast::<T>()) }
}
