//! Lists unix sockets through sock_diag, as `ss -x` does.
//!
//! sock_diag gives each name with its length. `/proc/net/unix` prints names as they are, so that a
//! name with a line break makes a line of its own: the line of a socket that does not exist, with
//! an inode number, and so an owner, of the process's choice. `/proc` adds only the counts of
//! references, which sock_diag does not have.

use std::{collections::HashMap, io, num::NonZeroU64};

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{TCP_ESTABLISHED, TCP_LISTEN},
    unix::{ShowFlags, StateFlags, UnixRequest, UnixResponse, nlas::UnixDiagName},
};

use super::{
    proc,
    sock_diag::{NO_COOKIE, connect},
    sock_diag_dump::ask,
};
use crate::{
    core::{id::SocketId, socket::UnixSocket},
    kernel::host::netns::Namespace,
};

/// Hands every unix socket of the namespace to `each`. Returns the error of sock_diag if the kernel
/// refused before the first socket, for example without `CONFIG_UNIX_DIAG`.
///
/// # Errors
/// The error of reading later on, or of `each`.
pub(super) fn read(
    namespace: &Namespace,
    mut each: impl FnMut(UnixSocket) -> io::Result<()>,
) -> io::Result<Option<io::Error>> {
    let request = UnixRequest {
        // The kernel compares the states of TCP (`unix_diag_dump`, net/unix/diag.c), most of which
        // the crate does not name.
        state_flags: StateFlags::from_bits_retain(u32::MAX),
        inode: 0,
        // UDIAG_SHOW_ICONS stays away: the inodes of a long queue do not fit the kernel's message,
        // and the dump would end there without an error.
        show_flags: ShowFlags::NAME | ShowFlags::PEER | ShowFlags::RQLEN,
        cookie: NO_COOKIE,
    };
    let references = references(namespace);
    let mut begun = false;
    let result = namespace.run(connect).and_then(|socket| {
        ask(&socket, SockDiagMessage::UnixRequest(request), NLM_F_DUMP, |answer| {
            begun = true;
            let SockDiagMessage::UnixResponse(response) = answer else { return Ok(()) };
            let waiting = response.number_of_pending_connection().unwrap_or(0);
            let mut socket = socket_of(response, namespace.inum);
            socket.references = socket.inode.and_then(|inode| *references.get(&inode)?);
            let queued = UnixSocket::waiting_for_accept(&socket);
            each(socket)?;
            (0..waiting).try_for_each(|_| each(queued.clone()))
        })
    });
    match result {
        Err(error) if !begun => Ok(Some(error)),
        result => result.map(|()| None),
    }
}

/// Returns the count of references of each inode number in `/proc/net/unix`; none for a number that
/// several lines have, since a process can forge lines but not remove the kernel's.
fn references(namespace: &Namespace) -> HashMap<NonZeroU64, Option<u32>> {
    let mut references = HashMap::new();
    let result = namespace.run(proc::open_unix).and_then(|table| {
        proc::read_unix(table, namespace.inum, |socket| {
            if let Some(inode) = socket.inode {
                let known = references.entry(inode);
                known.and_modify(|count| *count = None).or_insert(socket.references);
            }
            Ok(())
        })
    });
    if let Err(error) = result {
        log::debug!("/proc/net/unix: {error}");
    }
    references
}

fn socket_of(response: &UnixResponse, netns: u32) -> UnixSocket {
    let header = &response.header;
    let (path, is_abstract) = match response.name() {
        Some(UnixDiagName::Pathname(path)) => (Some(path.as_encoded_bytes().into()), false),
        Some(UnixDiagName::Abstract(name)) => (Some([b"@", &**name].concat().into()), true),
        None => (None, false),
    };
    UnixSocket {
        netns,
        cookie: SocketId::new(u64::from_ne_bytes(header.cookie)),
        references: None,
        listening: header.state == TCP_LISTEN,
        kind: header.kind.into(),
        // As `unix_seq_show` (net/unix/af_unix.c) derives it; sock_diag has no socket that no
        // process can hold.
        state: if header.state == TCP_ESTABLISHED {
            UnixSocket::CONNECTED
        } else {
            UnixSocket::UNCONNECTED
        },
        inode: NonZeroU64::new(header.inode.into()),
        peer: response.peer().and_then(|inode| NonZeroU64::new(inode.into())),
        path,
        is_abstract,
    }
}
