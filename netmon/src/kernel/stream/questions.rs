//! Questions of the assembler, asked of the running kernel.

use aya::Ebpf;
use netmon_common::Offsets;

use super::{assembler::KernelQueries, capture::Capture};
use crate::{
    core::{id::SocketId, time::Mono},
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
    /// A file for the answers.
    pub(super) capture: Option<&'a mut Capture>,
    /// There was a question.
    pub(super) is_asked: bool,
}

impl KernelQueries for Questions<'_> {
    fn local_port(&mut self, sock: u64, cookie: SocketId) -> Option<u16> {
        self.is_asked = true;
        let peek = self.ebpf.program_mut(PEEK)?.try_into().ok()?;
        let answer = local_port(peek, self.offsets, sock, cookie);
        let port = answer.unwrap_or_else(|error| {
            log::warn!("cannot ask for a local port: {error}");
            None
        });
        if let Some(capture) = &mut self.capture {
            capture.port(cookie, port);
        }
        port
    }

    fn minisockets(&mut self, queries: &[SockQuery]) -> (Vec<BucketState>, Mono) {
        self.is_asked = true;
        let (states, time) = (self.diag.minisockets(queries), now());
        if let Some(capture) = &mut self.capture {
            let cookies = queries.iter().map(|query| query.cookie);
            capture.buckets(cookies.zip(states.iter().copied()), time);
        }
        (states, time)
    }
}
