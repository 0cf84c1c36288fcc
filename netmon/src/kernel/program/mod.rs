//! The programs in the kernel: loading them, fitting them to the kernel's types, attaching them.

pub(super) mod attach;
pub(super) mod btf_types;
pub(super) mod error;
pub(super) mod hook_catalog;
pub(super) mod hooks;
pub(super) mod iterators;
pub(super) mod object;
pub(super) mod offsets_btf;
pub(super) mod offsets_probed;
pub(super) mod peek;
pub(super) mod tracefs;
pub(super) mod walk;
