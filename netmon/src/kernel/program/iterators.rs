//! The BPF iterators of the object. Each walks a table of the kernel.

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
    /// Returns the name of the program in the object.
    pub(in crate::kernel) const fn program(self) -> &'static str {
        match self {
            Self::Tcp => "dump_tcp",
            Self::Udp => "dump_udp",
            Self::Files => "dump_held",
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
