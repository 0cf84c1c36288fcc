//! The examination of a host before anything is recorded on it.

mod expected;
pub mod findings;
pub mod self_test;
pub mod syscall_cost;
