//! The figures of TCP sockets that change without an event: queues, bytes, round trip times.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId as DiagSocket, StateFlags},
};

use super::{
    sock_diag::{Diag, SockQuery, request},
    sock_diag_dump::{ask, figures_of},
};
use crate::core::{
    id::{SocketId, Tuple},
    socket::TcpInfo,
};

/// The kernel's figures of a socket: Recv-Q, Send-Q, and the measurements of TCP, which listeners
/// do not have.
pub(crate) type SocketFigures = (u32, u32, Option<TcpInfo>);

impl Diag {
    /// Hands the figures of every TCP socket of a namespace to `take`, but for TIME_WAIT buckets,
    /// which have none. Of a namespace that cannot be entered nothing is known.
    pub(crate) fn figures_in(&mut self, netns: u32, mut take: impl FnMut(SocketId, SocketFigures)) {
        for family in [AF_INET, AF_INET6] {
            let is_v4 = family == AF_INET;
            let request = InetRequest {
                family,
                protocol: IPPROTO_TCP,
                extensions: ExtensionFlags::INFO,
                states: StateFlags::all().difference(StateFlags::TIME_WAIT),
                socket_id: if is_v4 { DiagSocket::new_v4() } else { DiagSocket::new_v6() },
            };
            let Some(socket) = self.socket(netns) else { return };
            let asked = ask(socket, SockDiagMessage::InetRequest(request), NLM_F_DUMP, |answer| {
                if let SockDiagMessage::InetResponse(response) = answer
                    && let Some(cookie) = cookie_of(response)
                {
                    take(cookie, figures_of(response));
                }
                Ok(())
            });
            if let Err(error) = asked {
                log::debug!("sock_diag: {error}");
                self.close(netns);
                return;
            }
        }
    }

    /// Hands the figures of single sockets to `take`. Sockets that are not there are left out, and
    /// so are those of a namespace that cannot be entered.
    pub(crate) fn figures_of(
        &mut self,
        sockets: &[(Tuple, SocketId)],
        mut take: impl FnMut(SocketId, SocketFigures),
    ) {
        for (tuple, cookie) in sockets {
            let Some(socket) = self.socket(tuple.netns) else { continue };
            let question = SockQuery { tuple: *tuple, cookie: *cookie };
            let question = SockDiagMessage::InetRequest(request(question, ExtensionFlags::INFO));
            let asked = ask(socket, question, 0, |answer| {
                if let SockDiagMessage::InetResponse(response) = answer {
                    take(*cookie, figures_of(response));
                }
                Ok(())
            });
            if asked.is_err_and(|error| !is_absent(&error)) {
                // A late answer would be taken for the answer to the next question.
                self.close(tuple.netns);
            }
        }
    }
}

fn cookie_of(response: &InetResponse) -> Option<SocketId> {
    SocketId::new(u64::from_ne_bytes(response.header.socket_id.cookie))
}

/// Returns whether an error is the answer that the socket is not there, or that its place belongs
/// to another socket now.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
}
