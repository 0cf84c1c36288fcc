//! Workloads: connections that come and go, of many kinds, or that stay; and processes.

pub(crate) mod churn;
pub(crate) mod hold;
pub(crate) mod mix;
pub(crate) mod spawn;
