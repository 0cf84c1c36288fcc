//! Listings of routes, devices and counters: as tables for people, or as JSON Lines.

mod json;
mod text;

use std::io;

use crate::core::network::{NetworkRow, RowChange};

pub(crate) use json::NetworkJson;
pub(crate) use text::NetworkText;

/// A form of listing.
pub(crate) trait NetworkView {
    /// Begins a listing, at a moment of wall time.
    fn begin(&mut self, time: jiff::Timestamp);

    /// Takes a row of a network namespace; after the first listing, with the change since the
    /// listing before.
    ///
    /// # Errors
    /// The error of the output.
    fn row(&mut self, netns: u32, row: &NetworkRow, change: Option<&RowChange>) -> io::Result<()>;

    /// Ends a listing, and writes it out.
    ///
    /// # Errors
    /// The error of the output.
    fn finish(&mut self) -> io::Result<()>;
}
