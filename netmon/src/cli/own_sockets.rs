//! The sockets of netmon's own network namespace, from `/proc`, for commands that need no others.

use std::io;

use netmon_common::KernelFilter;

use crate::{
    core::socket::{Protocol, Socket},
    kernel::{Dump, DumpRequest, Namespace},
};

/// Returns the reader of these protocols' sockets, and of their owners.
pub(super) fn own_dump(protocols: &[Protocol]) -> Dump {
    Dump::through_proc(DumpRequest {
        protocols: protocols.to_vec(),
        info: false,
        identity: false,
        programs: None,
        owners: true,
        filter: KernelFilter::ANY,
        everywhere: false,
    })
}

/// Hands each socket to `each`. Returns the number of malformed entries.
///
/// # Errors
/// The error of reading, or of `each`.
pub(super) fn own_sockets(
    dump: &mut Dump,
    each: impl FnMut(Socket) -> io::Result<()>,
) -> io::Result<usize> {
    dump.sockets(&Namespace::current()?, each)
}
