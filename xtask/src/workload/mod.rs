//! Workloads: connections that come and go, of many kinds, or that stay.

pub(crate) mod churn;
pub(crate) mod hold;
pub(crate) mod mix;
