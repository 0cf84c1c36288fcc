//! The live kernel as a source of events: loads the programs, reads their rings, completes their
//! records.
//!
//! Owns all use of aya, every system call that asks about sockets, and BTF. Must never print, and
//! must never import `view` or `journal`.

pub(crate) mod doctor;
pub(crate) mod host;
pub(crate) mod network;
mod program;
mod ring;
pub(crate) mod sockets;
mod stream;

pub(crate) use host::{
    cgroups::{cgroup_at, cgroups},
    namespaces::Namespaces,
    netns::{Namespace, own_netns_cookie},
    netns_names::{named_namespaces, netns_names, netns_text},
    shortage::Shortage,
};
pub(crate) use program::{
    attach::check_host,
    error::LoadError,
    object::{Options, Without},
};
pub use ring::offline::OfflineRings;
pub(crate) use ring::rings::default_size;
pub(crate) use sockets::{
    dump::{Dump, DumpRequest, ProgramRequest, has_few_files, has_few_sockets},
    proc::process_started,
    sock_diag::Diag,
    sock_diag_dump::inspect,
};
pub(crate) use stream::live::Live;
pub use stream::offline::{MalformedCapture, OfflineAssembler, events_of_capture};
