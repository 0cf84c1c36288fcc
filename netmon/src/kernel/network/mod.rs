//! The network besides its sockets: routes and devices from rtnetlink, and the rest from `/proc`.
//!
//! Every function reads the network namespace of the calling thread. A line or a message that
//! netmon does not understand is passed over.

mod interfaces;
mod netlink;
mod proc;
mod routes;

pub(crate) use interfaces::interfaces;
pub(crate) use proc::{counters, groups, has_table, ipv6_entries};
pub(crate) use routes::routes;
