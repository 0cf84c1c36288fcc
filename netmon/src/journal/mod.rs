//! The journal: the changes of the table, kept as Parquet and replayed.
//!
//! `schema` describes the columns of a file, `write` is the recorder with its threads, and `read`
//! answers every question about a journal. All three share the paths of the files (`layout`, `dir`)
//! and the errors of reading (`error`).

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
