//! What can be found out about a host before anything is recorded on it.

pub mod findings;
pub mod self_test;
pub mod syscall_cost;
