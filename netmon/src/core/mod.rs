//! netmon's knowledge, without a clock or async: states, events, the table, names.
//!
//! Everything here is a pure function of its input, except `services`, which reads `/etc/services`
//! of the host. Must never import `kernel`, `journal`, `session`, `view` or `cli`, and must never
//! ask the time.

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
