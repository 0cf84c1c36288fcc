//! netmon: netstat that remembers.
//!
//! - `core`: connections, their table and filters.
//! - `kernel`: live connections, traced and dumped.
//! - `journal`: recordings of the table's changes, on disk.
//! - `view`: output for people and programs.
//! - `session`: the loop between a source and a view.
//! - `cli`: the command line.
//!
//! ARCHITECTURE.md shows which modules may depend on which.

pub mod cli;
pub mod core;
pub mod journal;
pub mod kernel;
pub mod session;
pub mod view;
