//! Asks rtnetlink for a whole table.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The size of the buffer. The kernel's answers come in messages of up to 32 KiB.
const ANSWER: usize = 64 * 1024;
/// The length of a header, `struct nlmsghdr` (include/uapi/linux/netlink.h), bytes.
const HEADER: usize = 16;
/// Tries at most, where the table changes while the kernel lists it (`NLM_F_DUMP_INTR`).
const TRIES: usize = 3;

/// Returns every message that answers the request.
///
/// # Errors
/// The kernel's answer. A kernel that is not permitted to answer, for example without AF_NETLINK in
/// a sandbox, gives the error of opening the socket.
pub(super) fn dump(request: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut answers = Vec::new();
    for _ in 0..TRIES {
        answers.clear();
        let is_torn = ask(request, |answer| answers.push(answer))?;
        if !is_torn {
            break;
        }
    }
    Ok(answers)
}

/// Hands each answer to `each`. Returns whether the table changed meanwhile.
fn ask(
    request: &RouteNetlinkMessage,
    mut each: impl FnMut(RouteNetlinkMessage),
) -> io::Result<bool> {
    /// `NLM_F_DUMP_INTR` (include/uapi/linux/netlink.h).
    const TORN: u16 = 0x10;
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // The kernel answers while it takes the request: an answer that is not there never comes.
    socket.set_non_blocking(true)?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut packet = NetlinkMessage::new(header, request.clone().into());
    packet.finalize();
    let mut message = vec![0; packet.buffer_len()];
    packet.serialize(&mut message);
    socket.send(&message, 0)?;
    let mut buffer = Vec::with_capacity(ANSWER);
    let mut is_torn = false;
    loop {
        buffer.clear();
        if socket.recv(&mut buffer, 0)? == 0 {
            return Ok(is_torn);
        }
        let mut rest = buffer.as_slice();
        while let Some(length) = length_of(rest) {
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
                Ok(answer) => {
                    is_torn |= answer.header.flags & TORN != 0;
                    match answer.payload {
                        NetlinkPayload::InnerMessage(answer) => each(answer),
                        NetlinkPayload::Done(_) => return Ok(is_torn),
                        NetlinkPayload::Error(error) => return Err(error.to_io()),
                        _ => {}
                    }
                }
                // A newer kernel may have attributes of another form: the rest is listed.
                Err(error) => log::debug!("rtnetlink: {error}"),
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// Returns the length of the first message with its padding; none if no message is left.
fn length_of(rest: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
    (rest.len() >= HEADER).then(|| length.max(HEADER).next_multiple_of(4))
}
