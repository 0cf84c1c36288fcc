//! Where a kernel that publishes no types keeps what netmon reads: found by looking at sockets of its own.
//!
//! A value that is known, or that netmon changes itself, is looked for in the memory of such a socket. What
//! is not found stays unknown: the kernel program then reads zeros, and user space knows that.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use aya::{EbpfLoader, programs::RawTracePoint};
use netmon_common::{Format, KernelFilter, Offsets, Transition, UNKNOWN, Wanted, state};
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, connect, socket_with,
        sockopt::{set_socket_linger, socket_error},
    },
};

use super::{
    error::{LoadError, refused},
    hook_catalog::CLASSIC,
    hooks::Hooks,
    object::{Options, Programs, Without, open, program, take},
    offsets_btf::LayoutError,
    peek::{PEEK, load_peek, peek},
    tracefs,
};
use crate::kernel::{
    host::{clock::now, netns::Namespace},
    ring::rings::{self, Rings},
};

/// `struct sock_common` is 136 bytes, and what is looked for of `struct sock` is within this.
const COMMON: usize = 136;
const SOCK: usize = 1024;
/// `ns.inum` is near the beginning of `struct net`.
const NET: usize = 4096;
/// Events of this host's other sockets that are passed over, and how long those of netmon's own may take.
const EVENTS: usize = 65_536;
const PATIENCE: Duration = Duration::from_secs(2);

/// What was refused, should it fail.
const CONCERN: &str = "looking for its ways at sockets of netmon's own";

/// Nothing is known.
pub(in crate::kernel) fn unknown() -> Offsets {
    let mut offsets = Offsets::default();
    bytemuck::cast_slice_mut::<_, u32>(std::slice::from_mut(&mut offsets)).fill(UNKNOWN);
    // These are 0 where they are unknown.
    (offsets.net_tw_refcount, offsets.net_max_tw_buckets) = (0, 0);
    (offsets.sk_ino, offsets.sk_cgroup) = (0, 0);
    offsets
}

/// Finds what can be found. Takes some milliseconds, and a connection on loopback.
pub(in crate::kernel) fn offsets(format: &Format) -> Result<Offsets, LoadError> {
    let (log, filter) = (log::LevelFilter::Off, KernelFilter::ANY);
    let without = Without::default();
    let options = Options { buffer: 1 << 20, log, filter, accept_syscalls: false, without };
    let mut offsets = unknown();
    let mut ebpf = open(EbpfLoader::new(), options, Wanted::default(), &offsets, format)?;
    // Of what is to be hooked in, the last follows transitions.
    let transitions = &CLASSIC[CLASSIC.len() - 1..];
    let mut programs = Programs::of(&mut ebpf);
    transitions[0].load(&mut programs, None)?;
    load_peek(&mut programs)?;
    let mut rings = Rings::new(&mut take(&mut ebpf, rings::NAME)?, options.buffer)?;
    let mut hooks = Hooks::default();
    tracefs::within(|_| hooks.attach(&mut ebpf, transitions))??;
    let mut look =
        OffsetProbe { rings: &mut rings, peek: program(&mut ebpf, PEEK)?, seen: Vec::new() };
    let failed = |error: io::Error| refused(CONCERN, &error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    let client = TcpStream::connect(at).map_err(failed)?;
    let own = client.local_addr().map_err(failed)?;
    let listens = look.find(|t| t.local_port == at.port())?;
    let connects = look.find(|t| t.local_port == own.port())?;
    let (listening, connected) = (look.at(listens, SOCK)?, look.at(connects, SOCK)?);

    let missing = |field| LayoutError::NoField { structure: "sock (looked at)", field };
    let ports = |i: &usize| (half(&listening, *i), half(&connected, *i)) == (at.port(), own.port());
    let states = |i: &usize| (listening[*i], connected[*i]) == (state::LISTEN, state::ESTABLISHED);
    let num = (0..COMMON).step_by(2).find(ports).ok_or_else(|| missing("skc_num"))?;
    let state = (0..COMMON).find(states).ok_or_else(|| missing("skc_state"))?;
    let inum = Namespace::current().map_err(failed)?.inum;
    let (net, net_inum) =
        look.net(&listening, &connected, inum)?.ok_or_else(|| missing("skc_net"))?;
    set_socket_linger(&client, Some(Duration::from_secs(1))).map_err(|e| failed(e.into()))?;
    let lingers = look.at(connects, SOCK)?;
    /// SOCK_LINGER, bit 4 of `sk_flags`.
    const LINGER: u32 = 1 << 4;
    let flags = changed(&connected, &lingers, |before, after| before ^ after == LINGER)
        .ok_or_else(|| missing("skc_flags"))?;
    let error = look.error().map_err(failed)?.ok_or_else(|| missing("sk_err"))?;
    // Not everybody may do that; only sockets that are bound to an interface are concerned.
    let interface = setsockopt(&client, BindToDevice, &"lo".into())
        .ok()
        .and_then(|()| look.at(connects, SOCK).ok())
        .and_then(|bound| changed(&lingers, &bound, |before, after| (before, after) == (0, 1)));
    let place = |offset: usize| u32::try_from(offset).unwrap_or(UNKNOWN);
    offsets.skc_num = place(num);
    offsets.skc_state = place(state);
    offsets.skc_net = place(net);
    offsets.net_inum = place(net_inum);
    offsets.skc_flags = place(flags);
    offsets.sk_err = place(error);
    offsets.skc_bound_dev_if = interface.map_or(UNKNOWN, place);
    log::debug!("found by looking: {offsets:?}");
    Ok(offsets)
}

/// The two bytes at `i`, in the machine's order.
fn half(bytes: &[u8], i: usize) -> u16 {
    u16::from_ne_bytes([bytes[i], bytes[i + 1]])
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
}

/// Where the first word is that changed as `is_it` wants.
fn changed(before: &[u8], after: &[u8], is_it: impl Fn(u32, u32) -> bool) -> Option<usize> {
    words(before).zip(words(after)).position(|(before, after)| is_it(before, after)).map(|i| i * 4)
}

/// The kernel, looked at.
struct OffsetProbe<'a> {
    rings: &'a mut Rings,
    peek: &'a mut RawTracePoint,
    seen: Vec<Transition>,
}

impl OffsetProbe<'_> {
    /// Address of the socket that made such a transition.
    fn find(&mut self, is_it: impl Fn(&Transition) -> bool) -> Result<u64, LoadError> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen.iter().find(|transition| is_it(transition)) {
                return Ok(found.cookie);
            }
            if Instant::now() > end {
                let error = io::Error::other("no event of them came out");
                return Err(refused(CONCERN, &error));
            }
            let seen = &mut self.seen;
            self.rings.read(now(), EVENTS, |record| {
                seen.extend(record.ok().and_then(|record| record.transition().copied()));
            });
        }
    }

    /// So many bytes at `address`.
    fn at(&mut self, address: u64, length: usize) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::with_capacity(length);
        for at in (address..).step_by(4).take(length / 4) {
            let word = peek(self.peek, at).map_err(|error| refused(PEEK, &error))?;
            bytes.extend(word.to_ne_bytes());
        }
        Ok(bytes)
    }

    /// Where two sockets of this namespace point to it, and where it has its inode number.
    fn net(
        &mut self,
        one: &[u8],
        other: &[u8],
        inum: u32,
    ) -> Result<Option<(usize, usize)>, LoadError> {
        /// What the kernel has for itself.
        const KERNEL: u64 = 1 << 63;
        let pointers = |bytes: &[u8]| -> Vec<u64> {
            let words = bytes[..COMMON].chunks_exact(8);
            words.map(|word| word.try_into().map_or(0, u64::from_ne_bytes)).collect()
        };
        for (i, (one, other)) in pointers(one).into_iter().zip(pointers(other)).enumerate() {
            if one == other && one >= KERNEL {
                let found = words(&self.at(one, NET)?).position(|word| word == inum);
                if let Some(found) = found {
                    return Ok(Some((i * 8, found * 4)));
                }
            }
        }
        Ok(None)
    }

    /// Where a socket has the error that it failed with, until somebody asks.
    fn error(&mut self) -> io::Result<Option<usize>> {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match connect(&socket, &nobody) {
            Err(Errno::INPROGRESS) => {}
            other => return Err(io::Error::other(format!("connect answered {other:?}"))),
        }
        let address = self
            .find(|t| t.remote_port == nobody.port() && t.new_state == state::CLOSE)
            .map_err(io::Error::other)?;
        let failed = self.at(address, SOCK).map_err(io::Error::other)?;
        // Asking clears it.
        let refused = socket_error(&socket)?;
        let asked = self.at(address, SOCK).map_err(io::Error::other)?;
        Ok(refused.err().and_then(|error| {
            let error = error.raw_os_error().cast_unsigned();
            changed(&failed, &asked, |before, after| (before, after) == (error, 0))
        }))
    }
}
