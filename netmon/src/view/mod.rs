//! What is shown: pure functions from changes to bytes, and where the bytes go.
//!
//! Views consume changes of the table and know nothing of where events come from. They must never
//! import `kernel`.

pub mod json;
pub mod lines;
mod output;
mod time;
