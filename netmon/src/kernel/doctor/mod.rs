//! The examination of a host before anything is recorded on it.

mod expected;
pub(crate) mod findings;
pub(crate) mod self_test;
pub(crate) mod syscall_cost;
