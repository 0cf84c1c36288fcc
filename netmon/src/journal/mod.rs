//! The journal: what the table did, kept as Parquet, and done again.
//!
//! `schema` is what a file has, `write` the recorder and its threads, `read` everything that asks a
//! journal. They share where files are (`layout`, `dir`), and why one cannot be read (`error`).

mod dir;
mod error;
mod intervals;
mod layout;
mod read;
mod schema;
mod status;
mod write;

pub use error::Malformed;
pub use read::{
    Checked, Ended, ExportFormat, HostJournal, Journal, JournalGap, Problem, ReadCounter,
    ReadError, Replay, ReplayItem, community_id, entries_of,
};
pub use schema::Dataset;
pub use status::{Health, RecorderHandle};
pub use write::{HostNames, NamedNamespace, OpenError, Recorder, RecorderOptions, Retention};

#[cfg(test)]
mod tests;
