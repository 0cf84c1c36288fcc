//! netmon's knowledge, without a clock or async: states, events, the table, names.
//!
//! Everything here is a pure function of its input, except `services` and `network`, which read
//! names in `/etc` of the host. Must never import `kernel`, `journal`, `session`, `view` or `cli`,
//! and must never ask the time.

pub(crate) mod arguments;
pub(crate) mod cgroup;
pub(crate) mod cgroups;
pub(crate) mod change;
pub(crate) mod connection;
pub(crate) mod entry;
pub(crate) mod errno;
pub(crate) mod escape;
pub(crate) mod event;
pub(crate) mod filter;
pub(crate) mod finding;
pub(crate) mod id;
pub(crate) mod loss;
pub(crate) mod network;
pub(crate) mod prefetch;
pub(crate) mod process;
pub(crate) mod processes;
pub(crate) mod program;
pub(crate) mod services;
pub(crate) mod socket;
pub(crate) mod table;
pub(crate) mod table_diff;
pub(crate) mod tcp;
pub(crate) mod time;
pub(crate) mod units;
pub(crate) mod verdict;
