//! Changes as lines or as JSON: transitions, and connections that ended.

pub(crate) mod appearance;
pub(super) mod cells;
pub(crate) mod history;
pub(crate) mod json;
pub(crate) mod lines;
pub(in crate::view) mod owner_fields;
pub(super) mod why;
