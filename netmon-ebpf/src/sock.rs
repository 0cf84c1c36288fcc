//! Reads `struct sock` at the offsets that user space took from the running kernel's BTF.
//!
//! [`SockAccess`] is what the rest of the program asks of a socket. [`Sock`] answers by direct loads through BTF
//! pointers, which the verifier checks and the kernel guards against faults: no probe reads on the hot
//! path. Kernels without that have [`crate::probed::ProbedSock`].

use core::ptr::addr_of_mut;

use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_skc_to_tcp_sock};
use netmon_common::{AF_INET, AF_INET6, End, Process, Transition, state};

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

    /// The cookie, made now if nobody had asked for it yet: a call costs more than a look.
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

/// A [`Transition`] as it is stored: little-endian words, since each is one store.
pub type TransitionWords = [u64; size_of::<Transition>() / 8];

/// A socket that listens.
pub struct Listener {
    /// What user space knows it by, or 0.
    pub id: u64,
    /// Whether it may take connections by TCP Fast Open.
    pub opens_fast: bool,
}

/// A TCP socket in the midst of a transition.
pub trait SockAccess: Copy {
    /// Its address: what this program knows it by, and a handle for user space.
    fn address(self) -> u64;

    /// What user space knows it by.
    fn id(self) -> u64;

    /// The field of `struct sock`, and of what [`Self::tcp`] answers, at `offset`.
    fn field<T: Copy + Default>(self, offset: usize) -> T;

    /// Its namespace, a `struct net`: load it once, for each load of a pointer takes the verifier milliseconds
    /// (`btf_nested_type_is_trusted`, kernel/bpf/btf.c, looks for names among all types).
    fn net(self) -> *const u8;

    /// The field of a namespace at `offset`.
    fn net_field<T: Copy + Default>(net: *const u8, offset: usize) -> T;

    /// The whole of it, a `struct tcp_sock`.
    fn tcp(self) -> Option<Self>;

    /// `AF_INET` or another.
    fn family(self) -> u16;

    /// The bound port, host order.
    fn local_port(self, new_state: u8) -> u16;

    /// Host order.
    fn remote_port(self) -> u16;

    /// Local and remote, as a [`Transition`] has them, in two words each.
    fn addresses(self, family: u16) -> [u64; 4];

    /// The listener that it is a clone of.
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
            if let Some(tcp) = self.tcp() {
                addr_of_mut!((*out).bytes_sent).write(tcp.field(offset!(bytes_sent)));
                addr_of_mut!((*out).bytes_received).write(tcp.field(offset!(bytes_received)));
                addr_of_mut!((*out).retransmits).write(tcp.field(offset!(total_retrans)));
                addr_of_mut!((*out).srtt_us).write(tcp.field(offset!(srtt_us)));
            } else {
                addr_of_mut!((*out).bytes_sent).write(0);
                addr_of_mut!((*out).bytes_received).write(0);
                addr_of_mut!((*out).retransmits).write(0);
                addr_of_mut!((*out).srtt_us).write(0);
            }
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

/// Address of the listener that a socket is a clone of, or 0.
///
/// `sk_clone_lock` copies the listener whole; `tcp_create_openreq_child` begins the child's own lists only
/// after this transition. The listener's are empty, so that they point to themselves: the child's copy
/// points to the listener. Should a kernel begin them sooner, it points to the child.
#[inline(always)]
pub fn parent(child: impl SockAccess) -> usize {
    let Some(tcp) = child.tcp() else { return 0 };
    let list: u64 = tcp.field(offset!(tsorted_sent_queue));
    let parent = list.wrapping_sub(offset!(tsorted_sent_queue) as u64);
    if list == 0 || parent == child.address() { 0 } else { parent as usize }
}
