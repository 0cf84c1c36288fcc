//! netmon: netstat that remembers.
//!
//! - `core`: connections, their table and filters.
//! - `kernel`: live connections, traced and dumped.
//! - `journal`: recordings of the table's changes, on disk.
//! - `view`: output for people and programs.
//! - `session`: the loop between a source and a view.
//! - `cli`: the command line.
//! - `enclosure`: closes to a thread what its work does not take.
//!
//! netmon is a program, and its library no API: `testing` has the items that tests, benches and
//! fuzz targets take. ARCHITECTURE.md shows which modules may depend on which.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "netmon is built for x86-64 and aarch64 (little-endian Linux): its kernel program is tested on \
     these alone"
);

mod cli;
mod core;
mod enclosure;
mod journal;
mod kernel;
mod session;
#[doc(hidden)]
pub mod testing;
mod view;

pub use cli::main;
