//! Reads `struct sock` at the offsets that user space took from the running kernel's BTF.
//!
//! [`SockAccess`] is the interface to a socket for the rest of the program. [`Sock`] implements it
//! by direct loads through BTF pointers, which the verifier checks and the kernel guards against
//! faults: no probe reads on the hot path. Kernels without such pointers have
//! [`crate::probed::ProbedSock`].

use core::ptr::addr_of_mut;

use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_skc_to_tcp_sock};
use netmon_common::{AF_INET, AF_INET6, End, Process, Transition, UNKNOWN, state};

use crate::{
    offsets::{load, offset},
    process,
};

/// A kernel pointer that the verifier knows by its BTF type: `struct sock` or a part of it.
#[derive(Clone, Copy)]
pub struct Sock(*const u8);

impl Sock {
    /// Takes an argument of a tracepoint; `None` where the kernel passed NULL.
    #[inline(always)]
    pub fn new(argument: *const u8) -> Option<Self> {
        if argument.is_null() { None } else { Some(Self(argument)) }
    }

    /// Returns the pointer as helpers take it.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut core::ffi::c_void {
        self.0.cast_mut().cast()
    }

    /// Returns the field at `offset`.
    #[inline(always)]
    pub fn load<T>(self, offset: usize) -> T {
        // SAFETY: the verifier proves that the load stays within the BTF type.
        unsafe { load(self.0, offset) }
    }

    /// Returns `sk_protocol`, 16 bits since Linux 5.6.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        self.load(offset!(sk_protocol))
    }

    /// Returns `skc_state`.
    #[inline(always)]
    pub fn state(self) -> u8 {
        self.load(offset!(skc_state))
    }

    /// Returns the cookie, made now where the socket has none yet. A load before the call, because
    /// the call costs more.
    #[inline(always)]
    pub fn cookie(self) -> u64 {
        let made: u64 = self.load(offset!(skc_cookie));
        if made != 0 {
            return made;
        }
        // SAFETY: the helper takes any BTF socket pointer, full or mini.
        unsafe { bpf_get_socket_cookie(self.as_ptr()) }
    }
}

/// A [`Transition`] in the form of little-endian words, since each word takes one store.
pub type TransitionWords = [u64; size_of::<Transition>() / 8];

/// A socket that listens.
pub struct Listener {
    /// Id of the listener, as in records, or 0.
    pub id: u64,
    /// The listener may take connections by TCP Fast Open.
    pub opens_fast: bool,
}

/// Returns whether a socket of AF_INET6 takes IPv6 only; `None` if the socket is of another family,
/// or the kernel's field is not known.
#[inline(always)]
pub fn v6only(sk: impl SockAccess, family: u16) -> Option<bool> {
    if family == AF_INET6 as u16 { bit(sk, offset!(skc_ipv6only)) } else { None }
}

/// Returns the bit at an offset in bits; `None` if the offset is not known.
#[inline(always)]
pub fn bit(sk: impl SockAccess, offset: usize) -> Option<bool> {
    if offset == UNKNOWN as usize {
        return None;
    }
    let byte: u8 = sk.field(offset / 8);
    Some(byte & 1 << (offset % 8) != 0)
}

/// Returns the field at `offset` of a `struct tcp_sock`; `unknown` if the field is not known.
#[inline(always)]
fn figure<T: Copy + Default>(tcp: Option<impl SockAccess>, offset: usize, unknown: T) -> T {
    match tcp {
        Some(tcp) if offset != UNKNOWN as usize => tcp.field(offset),
        _ => unknown,
    }
}

/// A TCP socket during a transition.
pub trait SockAccess: Copy {
    /// Returns the address: the key of the socket in this program, and a handle for user space.
    fn address(self) -> u64;

    /// Returns the id of the socket, as in records: the cookie, or the address.
    fn id(self) -> u64;

    /// Returns the field at `offset` of `struct sock`, or of the socket that [`Self::tcp`] returns.
    fn field<T: Copy + Default>(self, offset: usize) -> T;

    /// Returns the namespace of the socket, a `struct net`. Load the pointer once, for each load of
    /// a pointer takes the verifier milliseconds (`btf_nested_type_is_trusted`, kernel/bpf/btf.c,
    /// looks for names among all types).
    fn net(self) -> *const u8;

    /// Returns the field of a namespace at `offset`.
    fn net_field<T: Copy + Default>(net: *const u8, offset: usize) -> T;

    /// Returns the whole socket, a `struct tcp_sock`; `None` for any other type.
    fn tcp(self) -> Option<Self>;

    /// Returns the address family, `AF_INET` or another.
    fn family(self) -> u16;

    /// Returns the local port, host order.
    fn local_port(self, new_state: u8) -> u16;

    /// Returns the remote port, host order.
    fn remote_port(self) -> u16;

    /// Returns the local and the remote address as in a [`Transition`], in two words each.
    fn addresses(self, family: u16) -> [u64; 4];

    /// Returns the listener that the socket is a clone of.
    fn listener(self) -> Listener;

    /// Fills `out`, which lies in the ring buffer's memory, with the current process.
    ///
    /// # Safety
    /// `out` must point to room for a whole `Process`, and the program must run in process context.
    unsafe fn caller(out: *mut Process);

    /// Fills the counters of `out`, which lies in the ring buffer's memory: every byte of them.
    ///
    /// # Safety
    /// `out` must point to room for a whole `End`.
    #[inline(always)]
    unsafe fn totals(self, out: *mut End) {
        // SAFETY: the caller's promise.
        unsafe {
            let tcp = self.tcp();
            addr_of_mut!((*out).bytes_sent).write(figure(tcp, offset!(bytes_sent), u64::MAX));
            addr_of_mut!((*out).bytes_received).write(figure(
                tcp,
                offset!(bytes_received),
                u64::MAX,
            ));
            addr_of_mut!((*out).retransmits).write(figure(tcp, offset!(total_retrans), u32::MAX));
            addr_of_mut!((*out).srtt_us).write(figure(tcp, offset!(srtt_us), 0));
        }
    }
}

impl SockAccess for Sock {
    #[inline(always)]
    fn address(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn id(self) -> u64 {
        self.cookie()
    }

    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: usize) -> T {
        self.load(offset)
    }

    #[inline(always)]
    fn net(self) -> *const u8 {
        self.load(offset!(skc_net))
    }

    #[inline(always)]
    fn net_field<T: Copy + Default>(net: *const u8, offset: usize) -> T {
        // SAFETY: a BTF pointer to `struct net`, read by the verifier's leave.
        unsafe { load(net, offset) }
    }

    #[inline(always)]
    fn tcp(self) -> Option<Self> {
        // SAFETY: the helper checks the type at run time and returns NULL for anything else.
        Self::new(unsafe { bpf_skc_to_tcp_sock(self.as_ptr()) }.cast())
    }

    #[inline(always)]
    fn family(self) -> u16 {
        self.load(offset!(skc_family))
    }

    /// Returns `skc_num`, or on the way to CLOSE the header's copy, `inet_sport`.
    ///
    /// `inet_put_port` sets `skc_num` to 0 before the tracepoint reports CLOSE, and `inet_sport` is
    /// still there then. On the way to SYN_SENT, `inet_sport` may be that of an earlier connection.
    #[inline(always)]
    fn local_port(self, new_state: u8) -> u16 {
        let num: u16 = self.load(offset!(skc_num));
        if num != 0 || new_state != state::CLOSE {
            return num;
        }
        self.tcp().map_or(0, |tcp| u16::from_be(tcp.load(offset!(inet_sport))))
    }

    #[inline(always)]
    fn remote_port(self) -> u16 {
        u16::from_be(self.load(offset!(skc_dport)))
    }

    #[inline(always)]
    fn addresses(self, family: u16) -> [u64; 4] {
        if family == AF_INET6 as u16 {
            [
                self.load(offset!(skc_v6_rcv_saddr)),
                self.load(offset!(skc_v6_rcv_saddr) + 8),
                self.load(offset!(skc_v6_daddr)),
                self.load(offset!(skc_v6_daddr) + 8),
            ]
        } else if family == AF_INET as u16 {
            // Little-endian: an address' four bytes, in network order, then zeros.
            let local: u32 = self.load(offset!(skc_rcv_saddr));
            let remote: u32 = self.load(offset!(skc_daddr));
            [local as u64, 0, remote as u64, 0]
        } else {
            [0; 4]
        }
    }

    #[inline(always)]
    fn listener(self) -> Listener {
        let listener = parent(self);
        if listener == 0 {
            return Listener { id: 0, opens_fast: true };
        }
        let cookie = (listener + offset!(skc_cookie)) as *const u64;
        let queue = (listener + offset!(fastopen_max_qlen)) as *const u32;
        // SAFETY: a probe read takes any address.
        let (id, queue) = unsafe { (bpf_probe_read_kernel(cookie), bpf_probe_read_kernel(queue)) };
        let opens_fast = offset!(fastopen_max_qlen) == 0 || queue != Ok(0);
        Listener { id: id.unwrap_or(0), opens_fast }
    }

    #[inline(always)]
    unsafe fn caller(out: *mut Process) {
        // SAFETY: the caller's promise.
        unsafe { process::describe(out) }
    }
}

/// Returns the address of the listener that a socket is a clone of, or 0.
///
/// `sk_clone_lock` copies the listener whole, and `tcp_create_openreq_child` begins the child's own
/// lists only after this transition. A list of the listener is empty, so that the list points to
/// itself: the child's copy points to the listener. Should a kernel begin the child's lists sooner,
/// the copy points to the child, and the result is 0.
#[inline(always)]
pub fn parent(child: impl SockAccess) -> usize {
    let Some(tcp) = child.tcp() else { return 0 };
    let list: u64 = tcp.field(offset!(tsorted_sent_queue));
    let parent = list.wrapping_sub(offset!(tsorted_sent_queue) as u64);
    if list == 0 || parent == child.address() { 0 } else { parent as usize }
}
