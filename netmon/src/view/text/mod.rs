//! Bytes of text, JSON and moments, without an allocation for each.

pub(super) mod clock;
pub(super) mod host;
pub(super) mod json_object;
pub(super) mod output;
mod stack_text;
