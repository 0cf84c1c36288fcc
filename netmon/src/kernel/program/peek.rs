//! Reads the kernel's memory on request, through a program that is attached to nothing.

use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun};
use netmon_common::Offsets;

use super::{
    error::{LoadError, refused},
    object::Programs,
};
use crate::core::id::SocketId;

/// The program that reads the kernel's memory; attached to nothing, run on request.
pub(in crate::kernel) const PEEK: &str = "peek";

/// Loads the program.
pub(super) fn load_peek(programs: &mut Programs<'_>) -> Result<(), LoadError> {
    let peek: &mut RawTracePoint = programs.get(PEEK)?;
    peek.load().map_err(|error| refused(PEEK, &error))
}

/// Returns the four bytes at `address`; 0 if they cannot be read.
pub(in crate::kernel) fn peek(
    program: &mut RawTracePoint,
    address: u64,
) -> Result<u32, ProgramError> {
    let mut options = RawTracePointRunOptions::new();
    options.args[0] = address;
    program.test_run(options).map(|result| result.return_value)
}

/// Returns the local port of the connecting socket at address `sock`, if that socket still has this
/// cookie. The kernel never gives a cookie twice. So the check before and after the read proves
/// that the port was read from that socket.
///
/// Without a cookie, the caller must know that the address still belongs to the socket.
pub(in crate::kernel) fn local_port(
    program: &mut RawTracePoint,
    offsets: &Offsets,
    sock: u64,
    cookie: SocketId,
) -> Result<Option<u16>, ProgramError> {
    let is_same = |program: &mut RawTracePoint| match cookie.cookie() {
        None => Ok(true),
        Some(cookie) => {
            let at = sock + u64::from(offsets.skc_cookie);
            let low = u64::from(peek(program, at)?);
            Ok::<_, ProgramError>(u64::from(peek(program, at + 4)?) << 32 | low == cookie)
        }
    };
    if !is_same(program)? {
        return Ok(None);
    }
    let [low, high, ..] = peek(program, sock + u64::from(offsets.skc_num))?.to_ne_bytes();
    let port = u16::from_ne_bytes([low, high]);
    Ok(if port != 0 && is_same(program)? { Some(port) } else { None })
}
