//! The output of netmon: functions from changes, rows and diagnoses to bytes, and the [`Sink`] of
//! the bytes.
//!
//! `changes` and `tui` consume changes of the table, `listing` takes one row for each socket, and
//! `doctor` takes a diagnosis. None of these modules knows the source of its input, and none may
//! import `kernel`.

pub mod changes;
pub mod doctor;
pub mod listing;
mod text;
pub mod tui;

pub use text::output::Sink;
