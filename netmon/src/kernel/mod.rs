//! The live kernel as a source of events: loads the program, reads its ring, completes its records.
//!
//! Owns all of aya, every system call that asks about sockets, and BTF. It must never print, and
//! never import `view` or `journal`.

mod assemble;
mod decode;
mod diag;
mod layout;
mod live;
mod load;
mod minisocket;
mod netns;
mod privilege;

pub use decode::{Malformed, Record, decode};
pub use live::Live;
pub use load::{LoadError, Options};
