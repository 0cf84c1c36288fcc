//! What is shown: pure functions from changes to bytes, and where the bytes go.
//!
//! Views consume changes of the table and know nothing of where events come from. They must never
//! import `kernel`.

pub mod changes;
pub mod doctor;
pub mod listing;
mod text;
pub mod tui;

pub use text::output::Sink;
