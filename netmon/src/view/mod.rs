//! The output of netmon: functions from changes, rows and diagnoses to bytes, and the [`Sink`] of
//! the bytes.
//!
//! `changes` and `tui` consume changes of the table, `listing` takes one row for each socket,
//! `net_tools` and `network` take routes, devices and counters, `doctor` takes a diagnosis, and
//! `language` has the texts of listings. None of these modules knows the source of its input, and
//! none may import `kernel`.

pub(crate) mod changes;
pub(crate) mod doctor;
pub(crate) mod language;
#[cfg(test)]
mod line_widths;
pub(crate) mod listing;
pub(crate) mod net_tools;
pub(crate) mod network;
mod own_lines;
mod palette;
pub(crate) mod summary;
mod text;
pub(crate) mod tui;

pub(crate) use text::{netns::NetnsNames, output::Sink};
