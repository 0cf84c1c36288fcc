//! Finds the fields that netmon reads in a kernel without published types, by probing sockets of
//! its own.
//!
//! netmon searches the memory of such a socket for a known value, or for a value that it changes
//! itself. A field that is not found stays unknown: the kernel program then reads zeros, and user
//! space knows that.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use aya::{EbpfLoader, programs::RawTracePoint};
use netmon_common::{
    DumpOptions, KernelFilter, Offsets, TracepointFormat, Transition, UNKNOWN, state,
};
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, connect, socket_with,
        sockopt::{set_socket_linger, socket_error},
    },
};

use super::{
    btf_types::LayoutError,
    error::{LoadError, refused},
    hook_catalog::CLASSIC,
    hooks::Hooks,
    object::{Options, Programs, Without, open, program, take},
    peek::{PEEK, load_peek, peek},
    tracefs,
};
use crate::kernel::{
    host::{clock::now, netns::Namespace},
    ring::rings::{self, Rings},
};

/// The size of `struct sock_common`, bytes.
const COMMON: usize = 136;
/// The part of `struct sock` that contains the wanted fields, bytes.
const SOCK: usize = 1024;
/// The part of `struct net` that contains `ns.inum`, bytes.
const NET: usize = 4096;
/// The number of this host's other events that a probe may pass over.
const EVENTS: usize = 65_536;
/// The time within which the events of netmon's own sockets must come.
const PATIENCE: Duration = Duration::from_secs(2);

/// The name of the probe in an error.
const PROBE: &str = "the probe of its socket layout";

/// Returns offsets of which none is known.
pub(in crate::kernel) fn unknown() -> Offsets {
    let mut offsets = Offsets::default();
    bytemuck::cast_slice_mut::<_, u32>(std::slice::from_mut(&mut offsets)).fill(UNKNOWN);
    // These offsets are 0 if unknown.
    (offsets.net_tw_refcount, offsets.net_max_tw_buckets) = (0, 0);
    (offsets.sk_ino, offsets.sk_cgroup) = (0, 0);
    offsets
}

/// Finds the offsets that probing can find. Takes some milliseconds, and a connection on loopback.
pub(in crate::kernel) fn offsets(format: &TracepointFormat) -> Result<Offsets, LoadError> {
    let (log, filter) = (log::LevelFilter::Off, KernelFilter::ANY);
    let without = Without::default();
    let (buffer, accept_syscalls, arguments) = (1 << 20, false, false);
    let options = Options { buffer, log, filter, accept_syscalls, arguments, without };
    let mut offsets = unknown();
    let mut ebpf = open(EbpfLoader::new(), options, DumpOptions::default(), &offsets, format)?;
    // The last of the classic hooks follows transitions.
    let transitions = &CLASSIC[CLASSIC.len() - 1..];
    let mut programs = Programs::of(&mut ebpf);
    transitions[0].load(&mut programs, None)?;
    load_peek(&mut programs)?;
    let mut rings = Rings::new(&mut take(&mut ebpf, rings::NAME)?, None, options.buffer)?;
    let mut hooks = Hooks::default();
    tracefs::within(|_| hooks.attach(&mut ebpf, transitions))??;
    let mut probe =
        OffsetProbe { rings: &mut rings, peek: program(&mut ebpf, PEEK)?, seen: Vec::new() };
    let refusal = |error: io::Error| refused(PROBE, &error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refusal)?;
    let at = listener.local_addr().map_err(refusal)?;
    let client = TcpStream::connect(at).map_err(refusal)?;
    let own = client.local_addr().map_err(refusal)?;
    let listens = probe.find(|t| t.local_port == at.port())?;
    let connects = probe.find(|t| t.local_port == own.port())?;
    let (listening, connected) = (probe.at(listens, SOCK)?, probe.at(connects, SOCK)?);

    let missing = |field| LayoutError::NoField { structure: "sock (probed)", field };
    let ports = |i: &usize| (half(&listening, *i), half(&connected, *i)) == (at.port(), own.port());
    let states = |i: &usize| (listening[*i], connected[*i]) == (state::LISTEN, state::ESTABLISHED);
    let num = (0..COMMON).step_by(2).find(ports).ok_or_else(|| missing("skc_num"))?;
    let state = (0..COMMON).find(states).ok_or_else(|| missing("skc_state"))?;
    let inum = Namespace::current().map_err(refusal)?.inum;
    let (net, net_inum) =
        probe.net(&listening, &connected, inum)?.ok_or_else(|| missing("skc_net"))?;
    set_socket_linger(&client, Some(Duration::from_secs(1))).map_err(|e| refusal(e.into()))?;
    let lingers = probe.at(connects, SOCK)?;
    /// SOCK_LINGER, bit 4 of `sk_flags`.
    const LINGER: u32 = 1 << 4;
    let flags = changed(&connected, &lingers, |before, after| before ^ after == LINGER)
        .ok_or_else(|| missing("skc_flags"))?;
    let error = probe.error().map_err(refusal)?.ok_or_else(|| missing("sk_err"))?;
    // SO_BINDTODEVICE may be refused. Only sockets that are bound to an interface need this offset.
    let interface = setsockopt(&client, BindToDevice, &"lo".into())
        .ok()
        .and_then(|()| probe.at(connects, SOCK).ok())
        .and_then(|bound| changed(&lingers, &bound, |before, after| (before, after) == (0, 1)));
    let place = |offset: usize| u32::try_from(offset).unwrap_or(UNKNOWN);
    offsets.skc_num = place(num);
    offsets.skc_state = place(state);
    offsets.skc_net = place(net);
    offsets.net_inum = place(net_inum);
    offsets.skc_flags = place(flags);
    offsets.sk_err = place(error);
    offsets.skc_bound_dev_if = interface.map_or(UNKNOWN, place);
    log::debug!("probed: {offsets:?}");
    Ok(offsets)
}

/// Returns the two bytes at `i`, in the machine's byte order.
fn half(bytes: &[u8], i: usize) -> u16 {
    u16::from_ne_bytes([bytes[i], bytes[i + 1]])
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
}

/// Returns the offset of the first word whose change satisfies `is_wanted`.
fn changed(before: &[u8], after: &[u8], is_wanted: impl Fn(u32, u32) -> bool) -> Option<usize> {
    words(before)
        .zip(words(after))
        .position(|(before, after)| is_wanted(before, after))
        .map(|i| i * 4)
}

/// The probe of the kernel's memory.
struct OffsetProbe<'a> {
    rings: &'a mut Rings,
    peek: &'a mut RawTracePoint,
    seen: Vec<Transition>,
}

impl OffsetProbe<'_> {
    /// Returns the address of the socket that made such a transition.
    fn find(&mut self, is_wanted: impl Fn(&Transition) -> bool) -> Result<u64, LoadError> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(transition) = self.seen.iter().find(|transition| is_wanted(transition)) {
                return Ok(transition.cookie);
            }
            if Instant::now() > end {
                let error = io::Error::other("no event arrived for netmon's own test sockets");
                return Err(refused(PROBE, &error));
            }
            let seen = &mut self.seen;
            self.rings.read(now(), EVENTS, |record| {
                seen.extend(record.ok().and_then(|record| record.transition().copied()));
            });
        }
    }

    /// Reads `length` bytes at `address`.
    fn at(&mut self, address: u64, length: usize) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::with_capacity(length);
        for at in (address..).step_by(4).take(length / 4) {
            let word = peek(self.peek, at).map_err(|error| refused(PEEK, &error))?;
            bytes.extend(word.to_ne_bytes());
        }
        Ok(bytes)
    }

    /// Returns the offset at which two sockets of this namespace point to it, and the offset of the
    /// inode number in the namespace.
    fn net(
        &mut self,
        one: &[u8],
        other: &[u8],
        inum: u32,
    ) -> Result<Option<(usize, usize)>, LoadError> {
        /// The lowest address of the kernel's half of memory.
        const KERNEL: u64 = u64::MAX / 2 + 1;
        let pointers = |bytes: &[u8]| -> Vec<u64> {
            let words = bytes[..COMMON].chunks_exact(8);
            words.map(|word| word.try_into().map_or(0, u64::from_ne_bytes)).collect()
        };
        for (i, (one, other)) in pointers(one).into_iter().zip(pointers(other)).enumerate() {
            if one == other && one >= KERNEL {
                let position = words(&self.at(one, NET)?).position(|word| word == inum);
                if let Some(position) = position {
                    return Ok(Some((i * 8, position * 4)));
                }
            }
        }
        Ok(None)
    }

    /// Returns the offset of a socket's error, which stays until a process reads it.
    fn error(&mut self) -> io::Result<Option<usize>> {
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match connect(&socket, &closed) {
            Err(Errno::INPROGRESS) => {}
            other => return Err(io::Error::other(format!("connect returned {other:?}"))),
        }
        let address = self
            .find(|t| t.remote_port == closed.port() && t.new_state == state::CLOSE)
            .map_err(io::Error::other)?;
        let before = self.at(address, SOCK).map_err(io::Error::other)?;
        // Reading the error clears it.
        let answer = socket_error(&socket)?;
        let after = self.at(address, SOCK).map_err(io::Error::other)?;
        Ok(answer.err().and_then(|error| {
            let error = error.raw_os_error().cast_unsigned();
            changed(&before, &after, |before, after| (before, after) == (error, 0))
        }))
    }
}
