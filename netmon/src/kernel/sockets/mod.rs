//! The existing sockets, as walks, BPF iterators, sock_diag and `/proc` list them.

pub(super) mod bpf_iter;
pub(super) mod dump;
pub(crate) mod proc;
pub(super) mod sock_diag;
pub(super) mod sock_diag_dump;
pub(super) mod traffic;
mod unix_diag;
pub(super) mod walk;
