//! The live kernel as a source of events: loads the programs, reads their rings, completes their
//! records.
//!
//! Owns all use of aya, every system call that asks about sockets, and BTF. Must never print, and
//! must never import `view` or `journal`.

pub mod doctor;
pub mod host;
mod program;
mod ring;
pub mod sockets;
mod stream;

pub use host::netns::{Namespace, name_of, named_namespaces, own_netns_cookie};
pub use program::{
    attach::Tier,
    error::LoadError,
    hooks::{HookReport, HookStatus},
    object::{Options, Without},
};
pub use ring::record::{MalformedRecord, Record, decode};
pub use sockets::{
    dump::{Dump, DumpRequest, has_few_sockets},
    proc::process_started,
    sock_diag_dump::inspect,
};
pub use stream::{live::Live, offline::OfflineAssembler};
