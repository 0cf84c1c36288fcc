//! Reads the kernel's memory on request, by a program that is attached to nothing.

use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun};
use netmon_common::Offsets;

use super::{
    error::{LoadError, refused},
    object::Programs,
};

/// Run on request, attached to nothing: reads the kernel's memory.
pub(in crate::kernel) const PEEK: &str = "peek";

/// Loads the program that reads.
pub(super) fn load_peek(programs: &mut Programs<'_>) -> Result<(), LoadError> {
    let peek: &mut RawTracePoint = programs.get(PEEK)?;
    peek.load().map_err(|error| refused(PEEK, &error))
}

/// The four bytes at `address`; 0 where there is nothing to be read.
pub(in crate::kernel) fn peek(
    program: &mut RawTracePoint,
    address: u64,
) -> Result<u32, ProgramError> {
    let mut options = RawTracePointRunOptions::new();
    options.args[0] = address;
    program.test_run(options).map(|result| result.return_value)
}

/// The local port of the connecting socket at address `sock`, if it still is the one with this cookie, which
/// the kernel never gives twice: it says before and after whether it was that socket which was read.
///
/// Without a cookie the address must be known to be that of the socket still.
pub(in crate::kernel) fn local_port(
    program: &mut RawTracePoint,
    offsets: &Offsets,
    sock: u64,
    cookie: Option<u64>,
) -> Result<Option<u16>, ProgramError> {
    let is_it = |program: &mut RawTracePoint| match cookie {
        None => Ok(true),
        Some(cookie) => {
            let at = sock + u64::from(offsets.skc_cookie);
            let low = u64::from(peek(program, at)?);
            Ok::<_, ProgramError>(u64::from(peek(program, at + 4)?) << 32 | low == cookie)
        }
    };
    if !is_it(program)? {
        return Ok(None);
    }
    let [low, high, ..] = peek(program, sock + u64::from(offsets.skc_num))?.to_ne_bytes();
    let port = u16::from_ne_bytes([low, high]);
    Ok(if port != 0 && is_it(program)? { Some(port) } else { None })
}
