//! Asks rtnetlink for a whole table.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The size of the buffer. The kernel's answers come in messages of up to 32 KiB.
const ANSWER: usize = 64 * 1024;
/// The length of a header, `struct nlmsghdr` (include/uapi/linux/netlink.h), bytes.
const HEADER: usize = 16;
/// Tries at most, where the table changes while the kernel lists it (`NLM_F_DUMP_INTR`).
const TRIES: usize = 3;

/// A row of a table of rtnetlink. (`RouteNetlinkMessage` has the rows of every table. The code for
/// all of them would be a fiftieth of the program.)
pub(super) trait Row: Sized {
    /// The name of the table, for people.
    const TABLE: &str;
    /// The type of the message that asks for every row, `RTM_GET*`.
    const QUESTION: u16;
    /// The type of an answer, `RTM_NEW*` (include/uapi/linux/rtnetlink.h).
    const ANSWER: u16;
    /// The length of the structure that a message begins with, bytes. Its first byte is the family.
    const PREFIX: usize;

    /// Reads an answer without its `struct nlmsghdr`.
    ///
    /// # Errors
    /// The answer is too short, or an attribute has an unknown form.
    fn parse(answer: &[u8]) -> Result<Self, DecodeError>;
}

/// The message that asks for every row of a family; family 0 is any.
struct Question {
    kind: u16,
    length: usize,
    family: u8,
}

impl NetlinkSerializable for Question {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.length
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        buffer[0] = self.family;
    }
}

/// An answer; none if the message is of another type.
struct Answer<R>(Option<R>);

impl<R: Row> NetlinkDeserializable for Answer<R> {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let is_row = header.message_type == R::ANSWER;
        Ok(Self(is_row.then(|| R::parse(payload)).transpose()?))
    }
}

/// Returns every row of a family; family 0 is any.
///
/// # Errors
/// The kernel's answer. A kernel that is not permitted to answer, for example without AF_NETLINK in
/// a sandbox, gives the error of opening the socket.
pub(super) fn dump<R: Row>(family: u8) -> io::Result<Vec<R>> {
    let mut rows = Vec::new();
    for _ in 0..TRIES {
        rows.clear();
        let is_torn = ask(family, &mut rows)?;
        if !is_torn {
            return Ok(rows);
        }
    }
    log::warn!(
        "the {} changed during each of {TRIES} listings: a row may be missing, or be there twice",
        R::TABLE
    );
    Ok(rows)
}

/// Adds each answer to `rows`. Returns whether the table changed meanwhile.
fn ask<R: Row>(family: u8, rows: &mut Vec<R>) -> io::Result<bool> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // The kernel answers while it takes the request: an answer that is not there never comes.
    socket.set_non_blocking(true)?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let question = Question { kind: R::QUESTION, length: R::PREFIX, family };
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
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
            match NetlinkMessage::<Answer<R>>::deserialize(rest) {
                Ok(answer) => {
                    is_torn |= answer.header.flags & NLM_F_DUMP_INTR != 0;
                    match answer.payload {
                        NetlinkPayload::InnerMessage(Answer(row)) => rows.extend(row),
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
