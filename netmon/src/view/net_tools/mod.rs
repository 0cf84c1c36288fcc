//! The output of net-tools' netstat: its headings, columns, order and words, on which habits and
//! programs rely.
//!
//! Every function writes to a buffer. `docs/netstat.md` lists the differences from net-tools.

mod interfaces;
mod names;
mod routes;
mod sentences;
mod sockets;
mod statistics;

pub(crate) use interfaces::{InterfaceForm, put_interfaces};
pub(crate) use names::AddressNames;
pub(crate) use routes::{
    RouteColumns, put_cache_heading, put_groups, put_ipv4_routes, put_ipv6_routes,
};
pub(in crate::view) use sentences::{Form, sentence};
pub(crate) use sockets::{SocketColumns, SocketKind, SocketTable};
pub(crate) use statistics::{ChosenProtocols, put_statistics};
