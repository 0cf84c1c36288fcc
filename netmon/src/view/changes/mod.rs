//! Changes as lines or as JSON: transitions, and connections that ended.

pub mod history;
pub mod json;
pub mod lines;
