//! Changes as lines or as JSON: transitions, and connections that ended.

pub(crate) mod history;
pub(crate) mod json;
pub(crate) mod lines;
