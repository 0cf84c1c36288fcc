//! The live kernel as a source of events: loads the program, reads its ring, completes its records.
//!
//! Owns all of aya, every system call that asks about sockets, and BTF. It must never print, and
//! never import `view` or `journal`.

mod assemble;
mod clock;
mod decode;
mod details;
mod diag;
mod dump;
mod iter;
mod layout;
mod live;
mod load;
mod merge;
mod minisocket;
mod netns;
pub mod privilege;
pub mod proc;
mod reconcile;
mod rings;

pub use decode::{Malformed, Record, decode};
pub use dump::{Dump, Want, has_few_sockets};
pub use live::Live;
pub use load::{LoadError, Options};
pub use netns::{Namespace, name_of};
