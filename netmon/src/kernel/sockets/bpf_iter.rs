//! Reads the kernel's tables through BPF iterators: the sockets, and the processes that hold them.

use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    num::NonZeroU64,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use aya::{Ebpf, programs::iter::IterLink};
use netmon_common::{self as wire, AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, has, kind};
use rustix::time::{ClockId, clock_getres};

use super::sock_diag_dump::INFINITE;
use crate::{
    core::{
        id::{Binding, HolderKey, SocketId, Tuple},
        process::SocketHolders,
        socket::{Protocol, Socket, TcpInfo, Timer, TimerKind},
        tcp::TcpState,
    },
    kernel::{
        host::{netns::Namespace, shortage::spawn_scoped},
        program::iterators::{BpfIter, link},
        ring::record::{MalformedRecord, address},
    },
};

/// The most pages that the kernel returns in one read (`bpf_seq_read`, kernel/bpf/bpf_iter.c). For
/// a smaller buffer the kernel would cut records.
const BLOCK_PAGES: usize = 8;
/// Blocks read ahead of their decoding: enough to keep both threads busy, few enough to keep in
/// memory.
const READ_AHEAD: usize = 16;

/// A table of the kernel that is being read.
pub(in crate::kernel) struct IterFile {
    file: File,
    tick: Duration,
}

/// Opens the iterator `walk` for the namespace.
pub(in crate::kernel) fn open(
    ebpf: &mut Ebpf,
    walk: BpfIter,
    namespace: &Namespace,
) -> io::Result<IterFile> {
    IterFile::open(link(ebpf, walk)?, namespace)
}

impl IterFile {
    /// Makes the iterator's file.
    pub(in crate::kernel) fn open(link: IterLink, namespace: &Namespace) -> io::Result<Self> {
        // The iterator walks the namespace of the thread that makes its file.
        let file = namespace.run(|| link.into_file().map_err(io::Error::other))?;
        Ok(Self { file, tick: tick() })
    }

    /// Returns the next records, as many as the kernel returns at once; none at the end.
    pub(in crate::kernel) fn block(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut block = vec![0; BLOCK_PAGES * rustix::param::page_size()];
        loop {
            match self.file.read(&mut block) {
                Ok(0) => return Ok(None),
                Ok(length) => {
                    block.truncate(length);
                    return Ok(Some(block));
                }
                // EAGAIN: the kernel passed over a million objects without a wanted one
                // (`MAX_ITER_OBJECTS`, kernel/bpf/bpf_iter.c). The next read continues from there.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands the sockets of `block` to `each`. Returns the number of sockets of an unknown kind.
    pub(in crate::kernel) fn decode(
        &self,
        block: &[u8],
        each: &mut impl FnMut(Socket) -> io::Result<()>,
    ) -> io::Result<usize> {
        decode_block(block, self.tick, each)
    }

    /// Hands every socket of the table to `each`. Returns the number of sockets of an unknown kind.
    pub(in crate::kernel) fn sockets(
        self,
        mut each: impl FnMut(Socket) -> io::Result<()>,
    ) -> io::Result<usize> {
        let tick = self.tick;
        let mut unknown = 0;
        self.read(|blocks| {
            for block in blocks {
                unknown += decode_block(&block?, tick, &mut each)?;
            }
            Ok(())
        })?;
        Ok(unknown)
    }

    /// Returns every process that holds a socket, in every namespace. In a dump for a stream, also
    /// returns the cookies of the sockets that failed, with the error.
    pub(in crate::kernel) fn owners(self) -> io::Result<(SocketHolders, Vec<(SocketId, u8)>)> {
        let mut owners = SocketHolders::default();
        let mut failures = Vec::new();
        self.read(|blocks| {
            for block in blocks {
                let mut records = Records(&block?);
                loop {
                    if records.0.first() == Some(&kind::FAILED) {
                        let record = records.next_of::<wire::FailedSocket>(kind::FAILED)?;
                        let failed = |record: wire::FailedSocket| {
                            Some((SocketId::new(record.cookie)?, record.errno))
                        };
                        failures.extend(record.and_then(failed));
                        continue;
                    }
                    let Some(held) = records.next_of::<wire::HeldSocket>(kind::HELD)? else {
                        break;
                    };
                    let end = held.comm.iter().position(|b| *b == 0).unwrap_or(held.comm.len());
                    let by_inode = NonZeroU64::new(held.inode).map(HolderKey::of_inode);
                    let by_cookie = SocketId::new(held.cookie).map(HolderKey::of_socket);
                    for key in [by_inode, by_cookie].into_iter().flatten() {
                        owners.add(key, held.pid, held.host_pid, &held.comm[..end]);
                    }
                }
            }
            Ok(())
        })?;
        Ok((owners, failures))
    }

    /// Reads on a separate thread, so that decoding and reading overlap.
    fn read(
        mut self,
        take: impl FnOnce(Receiver<io::Result<Vec<u8>>>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (to, blocks) = sync_channel(READ_AHEAD);
        thread::scope(|scope| {
            spawn_scoped(scope, move || {
                while let Some(result) = self.block().transpose() {
                    let is_error = result.is_err();
                    // The receiver is dropped when the listing ends early.
                    if to.send(result).is_err() || is_error {
                        return;
                    }
                }
            })?;
            take(blocks)
        })
    }
}

/// Returns the kernel's tick.
pub(super) fn tick() -> Duration {
    // The coarse clocks advance with the tick, so their resolution is one.
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    Duration::from_nanos(resolution.tv_nsec.unsigned_abs())
}

fn decode_block(
    block: &[u8],
    tick: Duration,
    each: &mut impl FnMut(Socket) -> io::Result<()>,
) -> io::Result<usize> {
    let mut unknown = 0;
    let mut records = Records(block);
    while let Some(socket) = records.next_of::<wire::Socket>(kind::SOCKET)? {
        let info = if socket.has & has::INFO == 0 {
            None
        } else {
            records.next_of::<wire::Info>(kind::INFO)?
        };
        let info = info.map(|info| Box::new(decode_info(&info, tick)));
        match decode(&socket, info, tick) {
            Some(socket) => each(socket)?,
            None => {
                log::debug!("a socket of an unknown kind: {socket:?}");
                unknown += 1;
            }
        }
    }
    Ok(unknown)
}

/// The records of a block. A record that the end of the block cuts off is malformed.
struct Records<'a>(&'a [u8]);

impl Records<'_> {
    fn next_of<T: bytemuck::AnyBitPattern>(&mut self, kind: u8) -> io::Result<Option<T>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let Some((record, rest)) = self.0.split_at_checked(size_of::<T>()) else {
            return Err(malformed(self));
        };
        if record[0] != kind {
            return Err(malformed(self));
        }
        self.0 = rest;
        Ok(Some(bytemuck::pod_read_unaligned(record)))
    }
}

fn malformed(records: &Records<'_>) -> io::Error {
    let rest = records.0;
    io::Error::other(MalformedRecord { length: rest.len(), kind: rest.first().copied() })
}

pub(super) fn decode(
    record: &wire::Socket,
    info: Option<Box<TcpInfo>>,
    tick: Duration,
) -> Option<Socket> {
    let protocol = match u16::from(record.protocol) {
        IPPROTO_TCP => Protocol::Tcp,
        IPPROTO_UDP => Protocol::Udp,
        _ => return None,
    };
    if !matches!(record.family, AF_INET | AF_INET6) {
        return None;
    }
    let kind = match record.timer {
        wire::timer::ON => Some(TimerKind::On),
        wire::timer::KEEPALIVE => Some(TimerKind::Keepalive),
        wire::timer::TIME_WAIT => Some(TimerKind::TimeWait),
        wire::timer::PROBE => Some(TimerKind::Probe),
        _ => None,
    };
    let v6only = match record.has & (has::V6ONLY | has::DUAL_STACK) {
        has::V6ONLY => Some(true),
        has::DUAL_STACK => Some(false),
        _ => None,
    };
    let left = tick * u32::try_from(record.ticks).unwrap_or(0);
    let end = |bytes, port| SocketAddr::new(address(record.family, bytes), port);
    Some(Socket {
        protocol,
        ipv6: record.family == AF_INET6,
        tuple: Tuple {
            netns: record.netns,
            interface: record.interface,
            local: end(record.local_addr, record.local_port),
            remote: end(record.remote_addr, record.remote_port),
        },
        binding: Binding { device: None, v6only },
        state: TcpState::from_number(record.state)?,
        cookie: SocketId::new(record.cookie),
        recv_q: Some(record.recv_q),
        send_q: Some(record.send_q),
        uid: (record.has & has::UID != 0).then_some(record.uid),
        inode: NonZeroU64::new(record.inode.into()),
        cgroup: NonZeroU64::new(record.cgroup),
        timer: kind.map(|kind| Timer { kind, left }),
        retransmits: u32::from(record.retransmits),
        probes: u32::from(record.probes),
        info,
        row: None,
    })
}

/// Computes the figures as `tcp_get_info` and `tcp_compute_delivery_rate` (net/ipv4/tcp.c) do.
fn decode_info(record: &wire::Info, tick: Duration) -> TcpInfo {
    let delivered = u64::from(record.rate_delivered) * u64::from(record.mss_cache) * 1_000_000;
    TcpInfo {
        rtt_us: Some(record.srtt_us >> 3).filter(|rtt| *rtt != 0),
        rttvar_us: record.mdev_us >> 2,
        rto_us: u32::try_from((tick * record.rto).as_micros()).unwrap_or(u32::MAX),
        mss: record.mss_cache,
        cwnd: record.snd_cwnd,
        ssthresh: Some(record.snd_ssthresh).filter(|ssthresh| *ssthresh < INFINITE),
        unacked: record.packets_out,
        retrans_out: record.retrans_out,
        retransmits: record.total_retrans,
        bytes_sent: record.bytes_sent,
        bytes_retrans: record.bytes_retrans,
        bytes_acked: record.bytes_acked,
        bytes_received: record.bytes_received,
        delivery_rate: delivered.checked_div(u64::from(record.rate_interval_us)),
    }
}
