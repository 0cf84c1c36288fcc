//! Asks the kernel about single sockets through sock_diag, as `ss` does, many in one message.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId as DiagSocket, StateFlags},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use crate::{
    core::{
        id::{SocketId, Tuple},
        tcp::TcpState,
    },
    kernel::host::netns::Namespace,
};

/// The most namespaces with an open socket. Beyond this limit netmon closes all, and opens each
/// again as needed.
const MAX_NAMESPACES: usize = 64;
/// The time to keep an unused socket, which keeps its namespace alive, or a failure, which need not
/// last.
const KEPT: Duration = Duration::from_secs(2);
/// `INET_DIAG_NOCOOKIE`, twice: any socket matches (include/uapi/linux/inet_diag.h).
pub(super) const NO_COOKIE: [u8; 8] = [0xff; 8];
/// The most requests in one message. A request has 72 bytes, its answer up to 100.
const BATCH: usize = 64;

/// The state in which the kernel holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum BucketState {
    /// The socket is a TIME_WAIT bucket in TIME_WAIT.
    TimeWait,
    /// The socket is a TIME_WAIT bucket in FIN_WAIT2, which waits for the peer's FIN.
    Waiting,
    /// The kernel has no such socket.
    Gone,
    /// The kernel did not answer.
    Unknown,
}

/// A question about one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct SockQuery {
    /// The place, with the device that the socket is bound to: the kernel finds it there alone.
    pub(in crate::kernel) tuple: Tuple,
    pub(in crate::kernel) cookie: SocketId,
}

/// The sock_diag sockets, one for each namespace in question.
#[derive(Default)]
pub(crate) struct Diag {
    /// By inode number: the time of the last use, or of the failure to open a socket.
    sockets: HashMap<u32, (Instant, Option<Socket>)>,
}

impl Diag {
    /// Returns the state of each socket, in the order of the questions.
    pub(in crate::kernel) fn minisockets(&mut self, queries: &[SockQuery]) -> Vec<BucketState> {
        let mut states = vec![BucketState::Unknown; queries.len()];
        let mut order: Vec<usize> = (0..queries.len()).collect();
        order.sort_by_key(|&i| queries[i].tuple.netns);
        for group in order.chunk_by(|&a, &b| queries[a].tuple.netns == queries[b].tuple.netns) {
            let netns = queries[group[0]].tuple.netns;
            for batch in group.chunks(BATCH) {
                let Some(socket) = self.socket(netns) else { break };
                if let Err(error) = ask(socket, queries, batch, &mut states) {
                    log::debug!("sock_diag: {error}");
                    // Late answers would be taken for answers to the next questions.
                    self.close(netns);
                }
            }
        }
        states
    }

    /// Closes the sockets that were not used lately.
    pub(crate) fn sweep(&mut self) {
        self.sockets.retain(|_, (used, _)| used.elapsed() < KEPT);
    }

    /// Returns whether any socket is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// Closes the socket of a namespace.
    pub(super) fn close(&mut self, netns: u32) {
        self.sockets.remove(&netns);
    }

    pub(super) fn socket(&mut self, inum: u32) -> Option<&Socket> {
        self.sweep();
        if self.sockets.len() >= MAX_NAMESPACES && !self.sockets.contains_key(&inum) {
            self.sockets.clear();
        }
        let (used, socket) = self.sockets.entry(inum).or_insert_with(|| {
            let connection = Namespace::with_inum(inum).and_then(|netns| netns.run(connect));
            if let Err(error) = &connection {
                log::debug!("network namespace {inum}: {error}");
            }
            (Instant::now(), connection.ok())
        });
        if socket.is_some() {
            *used = Instant::now();
        }
        socket.as_ref()
    }
}

/// Opens a sock_diag socket in the thread's namespace. The socket stays in that namespace.
pub(in crate::kernel) fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    // The kernel answers while it takes the request: an answer that is not there never comes.
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn ask(
    socket: &Socket,
    queries: &[SockQuery],
    batch: &[usize],
    states: &mut [BucketState],
) -> io::Result<()> {
    let mut message = Vec::new();
    for &i in batch {
        append(&mut message, queries[i], u32::try_from(i).unwrap_or(u32::MAX));
    }
    socket.send(&message, 0)?;
    let mut answers = 0;
    let mut buffer = Vec::with_capacity(16 * 1024);
    while answers < batch.len() {
        buffer.clear();
        if socket.recv(&mut buffer, 0)? == 0 {
            break;
        }
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            if let Some(slot) = states.get_mut(message.header.sequence_number as usize) {
                *slot = judge(&message.payload);
                answers += 1;
            }
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(16)..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Returns the state that an answer reports. The kernel finds the socket by its tuple and compares
/// the cookie (`inet_diag_find_one_icsk`): ENOENT if there is no socket, ESTALE if the tuple
/// belongs to another socket now.
fn judge(payload: &NetlinkPayload<SockDiagMessage>) -> BucketState {
    match payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
            match TcpState::from_number(response.header.state) {
                Some(TcpState::TimeWait) => BucketState::TimeWait,
                Some(TcpState::FinWait2) => BucketState::Waiting,
                // Another connection has the tuple, or a listener where no cookie was compared.
                Some(_) => BucketState::Gone,
                None => BucketState::Unknown,
            }
        }
        NetlinkPayload::Error(error)
            if matches!(-error.raw_code(), libc::ENOENT | libc::ESTALE) =>
        {
            BucketState::Gone
        }
        _ => BucketState::Unknown,
    }
}

/// Returns the request for a question.
pub(in crate::kernel) fn request(question: SockQuery, extensions: ExtensionFlags) -> InetRequest {
    let SockQuery { tuple, cookie } = question;
    let family = match tuple.local {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    };
    InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions,
        states: StateFlags::all(),
        socket_id: DiagSocket {
            source_port: tuple.local.port(),
            destination_port: tuple.remote.port(),
            source_address: tuple.local.ip(),
            destination_address: tuple.remote.ip(),
            interface_id: tuple.interface,
            cookie: cookie.cookie().map_or(NO_COOKIE, u64::to_ne_bytes),
        },
    }
}

fn append(message: &mut Vec<u8>, question: SockQuery, sequence: u32) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = sequence;
    let request = request(question, ExtensionFlags::empty());
    let mut packet = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    packet.finalize();
    let start = message.len();
    message.resize(start + packet.buffer_len(), 0);
    packet.serialize(&mut message[start..]);
}
