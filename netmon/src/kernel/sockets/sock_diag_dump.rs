//! Adds to the sockets of `/proc/net` the details that sock_diag gives to every user: devices,
//! backlogs, cookies, cgroups, and the measurements of TCP.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::SocketAddr,
    num::NonZeroU64,
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla as _,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId as DiagSocket, StateFlags, nlas},
};
use netlink_sys::Socket as Netlink;

use super::sock_diag::{self, SockQuery, connect};
use crate::{
    core::{
        id::{SocketId, Tuple},
        socket::{Protocol, Socket, TcpInfo},
    },
    kernel::host::netns::Namespace,
};

/// The size of the buffer. The kernel's answers come in messages of up to 32 KiB.
const ANSWER: usize = 64 * 1024;
/// `INET_DIAG_CGROUP_ID` (include/uapi/linux/inet_diag.h), which the parser leaves as bytes.
const CGROUP_ID: u16 = 21;
/// `TCP_INFINITE_SSTHRESH` (include/net/tcp.h).
pub(super) const INFINITE: u32 = 0x7fff_ffff;

/// `INET_DIAG_REQ_BYTECODE`, an attribute of requests, with `INET_DIAG_BC_JMP` and
/// `INET_DIAG_BC_DEV_COND`.
const REQUEST_BYTECODE: u16 = 1;
const JUMP: u8 = 1;
const DEVICE_CONDITION: u8 = 9;

/// A socket as both sources name it: protocol, both ends, inode.
type Key = (Protocol, SocketAddr, SocketAddr, Option<NonZeroU64>);

/// The details that sock_diag adds.
#[derive(Default)]
pub(super) struct Details(HashMap<Key, SocketDetail>);

struct SocketDetail {
    interface: u32,
    v6only: Option<bool>,
    cookie: Option<SocketId>,
    cgroup: Option<NonZeroU64>,
    send_q: u32,
    info: Option<Box<TcpInfo>>,
    /// Another socket with the same key: bound to another device, and without an inode.
    next: Option<Box<Self>>,
}

/// The sockets that a question is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    All,
    Listeners,
    /// Sockets that are bound to a device.
    Bound,
}

impl Details {
    /// Asks about the sockets of `protocol` in the namespace of `socket`: about every socket if
    /// `all`, otherwise about those that `/proc` does not tell apart. Adds nothing if the kernel
    /// has no sock_diag.
    pub(in crate::kernel) fn ask(
        socket: io::Result<Netlink>,
        protocol: Protocol,
        all: bool,
        info: bool,
    ) -> Self {
        let mut details = Self::default();
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                log::debug!("sock_diag: {error}");
                return details;
            }
        };
        let number = match protocol {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
            // For raw sockets sock_diag has less than `/proc`.
            Protocol::Raw => return details,
        };
        // Any UDP socket may wait at an address of IPv4 and IPv6. A host has few.
        let questions: &[Asked] = match protocol {
            Protocol::Tcp if !all => &[Asked::Listeners, Asked::Bound],
            _ => &[Asked::All],
        };
        for family in [AF_INET, AF_INET6] {
            for asked in questions {
                let request = InetRequest {
                    family,
                    protocol: number,
                    extensions: if info { ExtensionFlags::INFO } else { ExtensionFlags::empty() },
                    states: match asked {
                        Asked::Listeners => StateFlags::LISTEN,
                        Asked::Bound => StateFlags::all().difference(StateFlags::LISTEN),
                        Asked::All => StateFlags::all(),
                    },
                    socket_id: if family == AF_INET {
                        DiagSocket::new_v4()
                    } else {
                        DiagSocket::new_v6()
                    },
                };
                let code = if *asked == Asked::Bound { &bound_to_a_device()[..] } else { &[] };
                let request = SockDiagMessage::InetRequest(request);
                let result = ask_with(&socket, request, NLM_F_DUMP, code, |answer| {
                    if let SockDiagMessage::InetResponse(response) = answer {
                        details.add(protocol, response);
                    }
                    Ok(())
                });
                if let Err(error) = result {
                    log::debug!("sock_diag: {error}");
                    // The rest of an answer must not pass for the answer to another question.
                    return details;
                }
            }
        }
        details
    }

    /// Adds the details of `socket` to it.
    pub(in crate::kernel) fn complete(&mut self, socket: &mut Socket) {
        let key = (socket.protocol, socket.tuple.local, socket.tuple.remote, socket.inode);
        let Some(detail) = self.0.remove(&key) else { return };
        socket.tuple.interface = detail.interface;
        socket.binding.v6only = detail.v6only;
        socket.cookie = detail.cookie;
        socket.cgroup = detail.cgroup;
        socket.send_q = socket.send_q.or(Some(detail.send_q));
        socket.info = detail.info;
        if let Some(next) = detail.next {
            self.0.insert(key, *next);
        }
    }

    fn add(&mut self, protocol: Protocol, response: &InetResponse) {
        let id = &response.header.socket_id;
        let end = |address: std::net::IpAddr, port| SocketAddr::new(address.to_canonical(), port);
        let key = (
            protocol,
            end(id.source_address, id.source_port),
            end(id.destination_address, id.destination_port),
            NonZeroU64::new(response.header.inode.into()),
        );
        let mut detail = SocketDetail {
            interface: id.interface_id,
            v6only: None,
            cookie: SocketId::new(u64::from_ne_bytes(id.cookie)),
            cgroup: None,
            send_q: response.header.send_queue,
            info: None,
            next: None,
        };
        for attribute in &response.nlas {
            match attribute {
                // A listener's figures are of connections that it never had.
                nlas::Nla::TcpInfo(info)
                    if response.header.state != netmon_common::state::LISTEN =>
                {
                    detail.info = Some(Box::new(decode(info)));
                }
                nlas::Nla::SkV6Only(v6only) => detail.v6only = Some(*v6only),
                nlas::Nla::Other(other) if other.kind() == CGROUP_ID => {
                    let mut bytes = [0; 8];
                    if other.value_len() == bytes.len() {
                        other.emit_value(&mut bytes);
                        detail.cgroup = NonZeroU64::new(u64::from_ne_bytes(bytes));
                    }
                }
                _ => {}
            }
        }
        match self.0.entry(key) {
            Entry::Vacant(free) => _ = free.insert(detail),
            // Both sources have such sockets in the same order, that of the kernel's table.
            Entry::Occupied(mut first) => {
                let mut last = &mut first.get_mut().next;
                while let Some(detail) = last {
                    last = &mut detail.next;
                }
                *last = Some(Box::new(detail));
            }
        }
    }
}

/// Returns the attribute of a request for sockets that are bound to any device.
///
/// Its program has two instructions, each a `struct inet_diag_bc_op`: a comparison with the device
/// 0, and a jump. A program that comes to its end accepts the socket, and one that jumps beyond its
/// end rejects the socket (`inet_diag_bc_run`, net/ipv4/inet_diag.c).
fn bound_to_a_device() -> [u8; 16] {
    let ([l0, l1], [c0, c1]) = (16_u16.to_ne_bytes(), REQUEST_BYTECODE.to_ne_bytes());
    // Not bound: on to the jump. Bound: to the end.
    let (to_jump, [e0, e1]) = (8, 12_u16.to_ne_bytes());
    // A jump takes the second way, beyond the end.
    let (unused, [b0, b1]) = (4, 8_u16.to_ne_bytes());
    [l0, l1, c0, c1, DEVICE_CONDITION, to_jump, e0, e1, 0, 0, 0, 0, JUMP, unused, b0, b1]
}

/// Returns the kernel's figures of the TCP socket with that cookie, if it exists: Recv-Q, Send-Q,
/// and the measurements of TCP, which listeners do not have.
#[must_use]
pub(crate) fn inspect(tuple: &Tuple, cookie: SocketId) -> Option<(u32, u32, Option<TcpInfo>)> {
    let question = SockQuery { tuple: *tuple, cookie };
    let request = SockDiagMessage::InetRequest(sock_diag::request(question, ExtensionFlags::INFO));
    let mut figures = None;
    let result = Namespace::with_inum(tuple.netns)
        .and_then(|namespace| namespace.run(connect))
        .and_then(|socket| {
            ask(&socket, request, 0, |answer| {
                if let SockDiagMessage::InetResponse(response) = answer {
                    figures = Some(figures_of(response));
                }
                Ok(())
            })
        });
    if let Err(error) = result {
        log::debug!("sock_diag: {error}");
    }
    figures
}

pub(super) fn figures_of(answer: &InetResponse) -> (u32, u32, Option<TcpInfo>) {
    let is_listener = answer.header.state == netmon_common::state::LISTEN;
    let info = answer.nlas.iter().find_map(|attribute| match attribute {
        nlas::Nla::TcpInfo(info) if !is_listener => Some(decode(info)),
        _ => None,
    });
    (answer.header.recv_queue, answer.header.send_queue, info)
}

fn decode(info: &nlas::TcpInfo) -> TcpInfo {
    TcpInfo {
        rtt_us: Some(info.rtt).filter(|rtt| *rtt != 0),
        rttvar_us: info.rttvar,
        rto_us: info.rto,
        mss: info.snd_mss,
        cwnd: info.snd_cwnd,
        ssthresh: Some(info.snd_ssthresh).filter(|ssthresh| *ssthresh < INFINITE),
        unacked: info.unacked,
        retrans_out: info.retrans,
        retransmits: info.total_retrans,
        bytes_sent: info.bytes_sent,
        bytes_retrans: info.bytes_retrans,
        bytes_acked: info.bytes_acked,
        bytes_received: info.bytes_received,
        delivery_rate: Some(info.delivery_rate).filter(|rate| *rate != 0),
    }
}

/// Asks one question and hands every answer to `each`: a single one, or with `NLM_F_DUMP` in
/// `flags` all that the kernel has.
///
/// # Errors
/// The error of the kernel's answer, or of `each`.
pub(super) fn ask(
    socket: &Netlink,
    request: SockDiagMessage,
    flags: u16,
    each: impl FnMut(&SockDiagMessage) -> io::Result<()>,
) -> io::Result<()> {
    ask_with(socket, request, flags, &[], each)
}

/// Does the same as [`ask`], with an attribute that the request's type does not have.
fn ask_with(
    socket: &Netlink,
    request: SockDiagMessage,
    flags: u16,
    attribute: &[u8],
    mut each: impl FnMut(&SockDiagMessage) -> io::Result<()>,
) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut packet = NetlinkMessage::new(header, request.into());
    packet.finalize();
    let mut message = vec![0; packet.buffer_len()];
    packet.serialize(&mut message);
    message.extend_from_slice(attribute);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    // `nlmsg_len` comes first (include/uapi/linux/netlink.h).
    message[..4].copy_from_slice(&length.to_ne_bytes());
    socket.send(&message, 0)?;
    let mut buffer = Vec::with_capacity(ANSWER);
    loop {
        buffer.clear();
        // The kernel continues its answer while netmon reads: there is nothing to wait for.
        if socket.recv(&mut buffer, 0)? == 0 {
            return Ok(());
        }
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let answer =
                NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match &answer.payload {
                NetlinkPayload::InnerMessage(answer) => each(answer)?,
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            let length = (answer.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(16)..).unwrap_or_default();
        }
        if flags & NLM_F_DUMP == 0 {
            return Ok(());
        }
    }
}
