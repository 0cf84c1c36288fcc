//! What is shown: pure functions from changes to bytes, and where the bytes go.
//!
//! Views consume changes of the table and know nothing of where events come from. They must never
//! import `kernel`.

mod cells;
pub mod doctor;
pub mod history;
pub mod json;
pub mod json_rows;
pub mod lines;
pub mod lookup;
pub mod netstat;
mod object;
mod output;
pub mod rows;
mod short;
pub mod summary;
mod time;
pub mod tui;

pub use output::Sink;
