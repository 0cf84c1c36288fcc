//! What netmon knows, without a clock, I/O or async: states, events, the table, names.
//!
//! Everything here is a pure function of the events it is given. It must never import `kernel` or
//! `view`, and never ask the time.

pub mod connection;
pub mod entry;
pub mod errno;
pub mod escape;
pub mod event;
pub mod filter;
pub mod finding;
pub mod id;
pub mod process;
pub mod services;
pub mod socket;
pub mod table;
pub mod table_diff;
pub mod tcp;
pub mod time;
pub mod verdict;
