//! Questions of the assembler, asked of the running kernel.

use aya::Ebpf;
use netmon_common::Offsets;

use super::assembler::KernelQueries;
use crate::{
    core::id::is_own,
    kernel::{
        host::clock::now,
        program::peek::{PEEK, local_port},
        sockets::sock_diag::{BucketState, Diag, SockQuery},
    },
};

/// Asks the kernel for information that no record brought.
pub(super) struct Questions<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) offsets: &'a Offsets,
    pub(super) diag: &'a mut Diag,
}

impl KernelQueries for Questions<'_> {
    fn local_port(&mut self, sock: u64, cookie: u64) -> Option<u16> {
        let peek = self.ebpf.program_mut(PEEK)?.try_into().ok()?;
        let answer = local_port(peek, self.offsets, sock, (!is_own(cookie)).then_some(cookie));
        answer.unwrap_or_else(|error| {
            log::warn!("cannot ask for a local port: {error}");
            None
        })
    }

    fn minisockets(&mut self, queries: &[SockQuery]) -> (Vec<BucketState>, u64) {
        (self.diag.minisockets(queries), now())
    }
}
