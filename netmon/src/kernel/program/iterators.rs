//! The BPF iterators of the object. Each walks a table of the kernel.

use std::io;

use aya::{
    Ebpf,
    programs::{Iter, ProgramError, iter::IterLink},
};

use super::object::program;

/// A table that an iterator can walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum BpfIter {
    /// TCP sockets of a namespace.
    Tcp,
    /// UDP sockets of a namespace.
    Udp,
    /// Open files of every process.
    Files,
}

impl BpfIter {
    /// Returns the names of the programs in the object: a kernel that refuses one may take another.
    pub(in crate::kernel) const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => &["dump_tcp"],
            Self::Udp => &["dump_udp"],
            Self::Files => &["dump_held", "dump_held_as_is"],
        }
    }

    /// Returns the kernel's name of the iterator.
    pub(in crate::kernel) const fn target(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Files => "task_file",
        }
    }
}

/// The error of an iterator that cannot be attached.
#[derive(Debug, thiserror::Error)]
#[error("cannot attach iter/{target}: {error}")]
struct LinkError {
    target: &'static str,
    #[source]
    error: ProgramError,
}

/// Returns the link of an iterator, from which a file is made in the namespace to walk.
///
/// # Errors
/// The kernel's answer, with its causes.
pub(in crate::kernel) fn link(ebpf: &mut Ebpf, walk: BpfIter) -> io::Result<IterLink> {
    let is_loaded = |name: &&&str| ebpf.program(name).is_some_and(|program| program.fd().is_ok());
    let names = walk.programs();
    let name = names.iter().find(is_loaded).unwrap_or(&names[0]);
    let program: &mut Iter = program(ebpf, name).map_err(io::Error::other)?;
    let link = program.attach().and_then(|link| program.take_link(link));
    link.map_err(|error| io::Error::other(LinkError { target: walk.target(), error }))
}
