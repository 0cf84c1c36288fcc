//! Bytes of text, JSON and moments, without an allocation for each.

pub(super) mod clock;
pub(super) mod host;
pub(super) mod json_object;
pub(super) mod layout;
pub(super) mod netns;
pub(super) mod output;
pub(super) mod owners;
pub(super) mod stack_text;
pub(super) mod width;
