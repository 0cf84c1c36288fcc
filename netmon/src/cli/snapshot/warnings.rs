//! Warnings of a listing, each shown once.

use std::collections::HashSet;

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
