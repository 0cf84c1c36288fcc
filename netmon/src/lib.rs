//! netmon: netstat that remembers.
//!
//! `core` knows what a connection is; `kernel` watches the live ones; `view` shows them; `session`
//! is the loop between; `cli` is the command line. See ARCHITECTURE.md for how they may depend on
//! one another.

pub mod cli;
pub mod core;
pub mod journal;
pub mod kernel;
pub mod session;
pub mod view;
