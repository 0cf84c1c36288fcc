//! The live kernel as a source of events: loads the program, reads its ring, completes its records.
//!
//! Owns all of aya, every system call that asks about sockets, and BTF. It must never print, and
//! never import `view` or `journal`.

mod assemble;
mod clock;
mod decode;
mod details;
mod diag;
pub mod diagnose;
mod dump;
mod heartbeat;
mod hooks;
mod identity;
mod iter;
mod layout;
mod live;
mod load;
mod losses;
mod measure;
mod merge;
mod minisocket;
mod netns;
mod offline;
mod peek;
pub mod price;
pub mod privilege;
pub mod proc;
mod reconcile;
mod refusal;
mod rings;
pub mod selftest;
mod tracefs;

pub use decode::{Malformed, Record, decode};
pub use details::inspect;
pub use dump::{Dump, Want, has_few_sockets};
pub use hooks::{Report, Status};
pub use live::Live;
pub use load::{Options, Tier, Without};
pub use netns::{Namespace, name_of, named_namespaces, own_netns_cookie};
pub use offline::Offline;
pub use proc::process_started;
pub use refusal::LoadError;
