//! Asks the kernel about single sockets by sock_diag, as `ss` does, many in one message.

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
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use crate::{
    core::{event::Tuple, id::is_own, tcp::TcpState},
    kernel::host::netns::Namespace,
};

/// Namespaces whose socket is open at once; beyond it all are closed and opened anew as needed.
const MAX_NAMESPACES: usize = 64;
/// An open socket keeps its namespace alive, and a failure need not last: neither is kept for longer.
const KEPT: Duration = Duration::from_secs(2);
/// `INET_DIAG_NOCOOKIE`, twice: whatever is there (include/uapi/linux/inet_diag.h).
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// Requests in one message: each is 72 bytes, and its answer up to 100.
const BATCH: usize = 64;

/// What the kernel holds of a socket that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum BucketState {
    /// A minisocket in TIME_WAIT.
    TimeWait,
    /// A minisocket that still waits for the peer's FIN.
    Waiting,
    /// Nothing.
    Gone,
    /// It could not be asked.
    Unknown,
}

/// Which socket is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct SockQuery {
    pub(in crate::kernel) tuple: Tuple,
    pub(in crate::kernel) cookie: u64,
    /// The interface that it is bound to: the kernel finds it under that only. 0 for none.
    pub(in crate::kernel) interface: u16,
}

/// sock_diag sockets, one for each namespace that was asked about.
#[derive(Default)]
pub(in crate::kernel) struct Diag {
    /// With the time of the last use, or of the failure to open one.
    sockets: HashMap<u32, (Instant, Option<Socket>)>,
}

impl Diag {
    /// The state of the socket with each tuple and cookie, in the order asked.
    pub(in crate::kernel) fn minisockets(&mut self, asked: &[SockQuery]) -> Vec<BucketState> {
        let mut found = vec![BucketState::Unknown; asked.len()];
        let mut order: Vec<usize> = (0..asked.len()).collect();
        order.sort_by_key(|&i| asked[i].tuple.netns);
        for group in order.chunk_by(|&a, &b| asked[a].tuple.netns == asked[b].tuple.netns) {
            let netns = asked[group[0]].tuple.netns;
            for batch in group.chunks(BATCH) {
                let Some(socket) = self.socket(netns) else { break };
                if let Err(error) = ask(socket, asked, batch, &mut found) {
                    log::debug!("sock_diag: {error}");
                    // Late answers would be taken for those to the next questions.
                    self.sockets.remove(&netns);
                }
            }
        }
        found
    }

    /// Lets go of what was not used lately.
    pub(in crate::kernel) fn sweep(&mut self) {
        self.sockets.retain(|_, (used, _)| used.elapsed() < KEPT);
    }

    fn socket(&mut self, inum: u32) -> Option<&Socket> {
        self.sweep();
        if self.sockets.len() >= MAX_NAMESPACES && !self.sockets.contains_key(&inum) {
            self.sockets.clear();
        }
        let (used, socket) = self.sockets.entry(inum).or_insert_with(|| {
            let opened = Namespace::with_inum(inum).and_then(|netns| netns.run(connect));
            if let Err(error) = &opened {
                log::debug!("network namespace {inum}: {error}");
            }
            (Instant::now(), opened.ok())
        });
        if socket.is_some() {
            *used = Instant::now();
        }
        socket.as_ref()
    }
}

/// A sock_diag socket of the namespace that the thread is in: it stays with it.
pub(in crate::kernel) fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    // The kernel answers while it takes the request, so an answer that is not there never comes.
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn ask(
    socket: &Socket,
    asked: &[SockQuery],
    batch: &[usize],
    found: &mut [BucketState],
) -> io::Result<()> {
    let mut message = Vec::new();
    for &i in batch {
        append(&mut message, asked[i], u32::try_from(i).unwrap_or(u32::MAX));
    }
    socket.send(&message, 0)?;
    let mut answered = 0;
    let mut buffer = Vec::with_capacity(16 * 1024);
    while answered < batch.len() {
        buffer.clear();
        if socket.recv(&mut buffer, 0)? == 0 {
            break;
        }
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            if let Some(slot) = found.get_mut(message.header.sequence_number as usize) {
                *slot = judge(&message.payload);
                answered += 1;
            }
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(16)..).unwrap_or_default();
        }
    }
    Ok(())
}

/// The kernel finds the socket by its tuple and compares the cookie (`inet_diag_find_one_icsk`):
/// ENOENT when there is none, ESTALE when the tuple belongs to another one now.
fn judge(payload: &NetlinkPayload<SockDiagMessage>) -> BucketState {
    match payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
            match TcpState::from_number(response.header.state) {
                Some(TcpState::TimeWait) => BucketState::TimeWait,
                Some(TcpState::FinWait2) => BucketState::Waiting,
                // Another connection in its place or, where no cookie was compared, a listener.
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

/// What is asked about a socket.
pub(in crate::kernel) fn request(question: SockQuery, extensions: ExtensionFlags) -> InetRequest {
    let SockQuery { tuple, cookie, interface } = question;
    let family = match tuple.local {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    };
    InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions,
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: tuple.local.port(),
            destination_port: tuple.remote.port(),
            source_address: tuple.local.ip(),
            destination_address: tuple.remote.ip(),
            interface_id: u32::from(interface),
            cookie: if is_own(cookie) { NO_COOKIE } else { cookie.to_ne_bytes() },
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
