//! The classic tracepoints, for kernels whose types are unknown or which have no cookie to give.
//!
//! User space finds the tracepoints' fields in tracefs. Probe reads get the rest of a socket, at
//! offsets which may be unknown: such a field reads as zero. The address identifies a socket.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
        bpf_get_current_task, bpf_ktime_get_ns,
    },
    macros::tracepoint,
    programs::TracePointContext,
};
use netmon_common::{AF_INET, AF_INET6, IPPROTO_TCP, Process, TracepointFormat, kind, state};

use crate::{
    accept::accept,
    offsets::{load, offset, read},
    pid_namespace::ProcessNumbers,
    process::{PF_KTHREAD, run, write_users},
    reset,
    ring::note,
    sock::{Listener, SockAccess, parent},
    transition::handle,
};

/// The tracepoints' fields, written by user space before load.
#[unsafe(no_mangle)]
static TRACEPOINT_FORMAT: Global<TracepointFormat> = Global::new(
    // SAFETY: plain integers.
    unsafe { core::mem::zeroed() },
);

/// Returns one offset, a constant to the verifier.
macro_rules! field {
    ($field:ident) => {
        format_at(::core::mem::offset_of!(TracepointFormat, $field))
    };
}

#[inline(always)]
fn format_at(at: usize) -> usize {
    // SAFETY: `at` is an `offset_of!` the table; volatile, as for `offset!`.
    unsafe { load::<u32>(addr_of!(TRACEPOINT_FORMAT).cast(), at) as usize }
}

/// Returns the field at `offset` of a tracepoint's event, or zero.
#[inline(always)]
fn event<T: Copy + Default>(ctx: &TracePointContext, offset: usize) -> T {
    // SAFETY: a probe read takes any address.
    unsafe { ctx.read_at(offset) }.unwrap_or_default()
}

/// A socket of which only the address is known, with the tracepoint's event.
#[derive(Clone, Copy)]
pub struct ProbedSock<'a> {
    address: u64,
    ctx: &'a TracePointContext,
}

impl SockAccess for ProbedSock<'_> {
    #[inline(always)]
    fn address(self) -> u64 {
        self.address
    }

    #[inline(always)]
    fn id(self) -> u64 {
        self.address
    }

    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: usize) -> T {
        read(self.address, offset)
    }

    #[inline(always)]
    fn net(self) -> *const u8 {
        self.field::<u64>(offset!(skc_net)) as *const u8
    }

    #[inline(always)]
    fn net_field<T: Copy + Default>(net: *const u8, offset: usize) -> T {
        read(net as u64, offset)
    }

    #[inline(always)]
    fn tcp(self) -> Option<Self> {
        Some(self)
    }

    #[inline(always)]
    fn family(self) -> u16 {
        event(self.ctx, field!(family))
    }

    /// Returns the tracepoint's `inet_sport`, except on the way to SYN_SENT: see
    /// [`crate::sock::Sock`].
    #[inline(always)]
    fn local_port(self, new_state: u8) -> u16 {
        if new_state == state::SYN_SENT {
            return self.field(offset!(skc_num));
        }
        event(self.ctx, field!(sport))
    }

    #[inline(always)]
    fn remote_port(self) -> u16 {
        event(self.ctx, field!(dport))
    }

    #[inline(always)]
    fn addresses(self, family: u16) -> [u64; 4] {
        if family == AF_INET6 as u16 {
            [
                event(self.ctx, field!(saddr_v6)),
                event(self.ctx, field!(saddr_v6) + 8),
                event(self.ctx, field!(daddr_v6)),
                event(self.ctx, field!(daddr_v6) + 8),
            ]
        } else if family == AF_INET as u16 {
            let local: u32 = event(self.ctx, field!(saddr));
            let remote: u32 = event(self.ctx, field!(daddr));
            [local as u64, 0, remote as u64, 0]
        } else {
            [0; 4]
        }
    }

    /// Returns the listener by its address.
    #[inline(always)]
    fn listener(self) -> Listener {
        Listener { id: parent(self) as u64, opens_fast: true }
    }

    #[inline(always)]
    unsafe fn caller(out: *mut Process) {
        // SAFETY: the caller's promise.
        unsafe { describe(out) }
    }
}

/// Fills `out`, which lies in the ring buffer's memory, with the current process.
///
/// # Safety
/// `out` must point to room for a whole `Process`.
#[inline(always)]
unsafe fn describe(out: *mut Process) {
    // SAFETY: the caller's promise; helpers without arguments.
    unsafe {
        let task = bpf_get_current_task();
        let flags: u32 = read(task, offset!(task_flags));
        let id = bpf_get_current_pid_tgid();
        let (pid, thread) = ((id >> 32) as u32, id as u32);
        let leader: u64 = read(task, offset!(task_group_leader));
        let numbers = if flags & PF_KTHREAD == 0 {
            ProcessNumbers::of_current(leader, pid)
        } else {
            ProcessNumbers::NONE
        };
        let mut comm: [u8; 16] = read(leader, offset!(task_comm));
        // User space reads the name of another thread's process in `/proc`, if the process has a
        // number there.
        if comm[0] == 0 && (pid == thread || numbers.pid == 0) {
            comm = bpf_get_current_comm().unwrap_or_default();
        }
        addr_of_mut!((*out).comm).write(comm);
        addr_of_mut!((*out).pid).write(numbers.pid);
        addr_of_mut!((*out).host_pid).write(numbers.host_pid);
        addr_of_mut!((*out).run).write(run(leader));
        write_users(out, task);
        addr_of_mut!((*out).cgroup).write(bpf_get_current_cgroup_id());
        addr_of_mut!((*out).unused).write(0);
    }
}

/// `tracepoint/sock/inet_sock_set_state`.
#[tracepoint]
pub fn classic_transition(ctx: TracePointContext) -> u32 {
    let address: u64 = event(&ctx, field!(skaddr));
    let (old, new): (i32, i32) = (event(&ctx, field!(oldstate)), event(&ctx, field!(newstate)));
    let protocol = if field!(protocol_size) == 1 {
        event::<u8>(&ctx, field!(protocol)) as u16
    } else {
        event::<u16>(&ctx, field!(protocol))
    };
    if old != new && protocol == IPPROTO_TCP {
        // SAFETY: a helper without arguments.
        let time = unsafe { bpf_ktime_get_ns() };
        handle(&ctx, ProbedSock { address, ctx: &ctx }, old as u8, new as u8, time);
        if new == state::CLOSE as i32 {
            // Forgets the RST, also where there was no room for a record: the next socket at this
            // address has taken none.
            reset::was_received(address);
        }
    }
    0
}

/// `tracepoint/tcp/tcp_send_reset`.
#[tracepoint]
pub fn classic_send_reset(ctx: TracePointContext) -> u32 {
    let address: u64 = event(&ctx, field!(reset_sent));
    let state: u8 = read(address, offset!(skc_state));
    if address != 0 && state != state::LISTEN {
        note(kind::RESET, state, 0, address);
    }
    0
}

/// `tracepoint/tcp/tcp_receive_reset`.
#[tracepoint]
pub fn classic_receive_reset(ctx: TracePointContext) -> u32 {
    reset::received(event(&ctx, field!(reset_received)));
    0
}

/// `tracepoint/syscalls/sys_exit_accept4` and `sys_exit_accept`: only on request, since such a
/// tracepoint slows every system call of the host. Connections that io_uring accepts do not pass
/// here.
#[tracepoint]
pub fn accept_returned(ctx: TracePointContext) -> u32 {
    let fd: i64 = event(&ctx, field!(accept_ret));
    if fd < 0 {
        return 0;
    }
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task, offset!(task_files));
    let table: u64 = read(files, offset!(files_fdt));
    let array: u64 = read(table, offset!(fdt_fd));
    let file: u64 = read(array, fd as usize * 8);
    let socket: u64 = read(file, offset!(file_private_data));
    let sk: u64 = read(socket, offset!(socket_sk));
    // MPTCP's and UNIX sockets are accepted too.
    if read::<u16>(sk, offset!(sk_protocol)) != IPPROTO_TCP {
        return 0;
    }
    // A program that reported the socket before has made its cookie.
    let id = if field!(skaddr) == 0 { read(sk, offset!(skc_cookie)) } else { sk };
    if id != 0 {
        // SAFETY: `describe` fills the whole `Process`.
        unsafe { accept(id, |out| describe(out)) };
    }
    0
}
