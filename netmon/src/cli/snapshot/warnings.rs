//! Warnings of a listing, each shown once.

use std::{collections::HashSet, io};

use crate::cli::io::stderr::report;

/// The warnings that were printed, which `-c` does not repeat with each listing.
#[derive(Default)]
pub(super) struct Warnings(HashSet<&'static str>);

impl Warnings {
    pub(super) fn once(&mut self, about: &'static str, text: &str) {
        if self.0.insert(about) {
            report(text);
        }
    }
}

/// Returns the warning for unix sockets that come from `/proc/net/unix`.
pub(super) fn unix_from_proc(error: &io::Error) -> String {
    format!(
        "the kernel does not list unix sockets through sock_diag ({error}), so that they come from \
         /proc/net/unix, where any process can forge a socket by a name with a line break: load \
         the module unix_diag, or permit AF_NETLINK"
    )
}
