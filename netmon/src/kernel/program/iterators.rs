//! The BPF iterators that the object has: each walks a table of the kernel.

/// A table that can be walked.
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
    /// The program of the object.
    pub(in crate::kernel) const fn program(self) -> &'static str {
        match self {
            Self::Tcp => "dump_tcp",
            Self::Udp => "dump_udp",
            Self::Files => "dump_held",
        }
    }

    /// The kernel's name of the iterator.
    pub(in crate::kernel) const fn target(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Files => "task_file",
        }
    }
}
