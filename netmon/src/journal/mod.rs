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

pub(crate) use read::{
    ExportFormat, HistoryItem, HostJournal, JournalGap, Playback, ReadCounter, ReadError,
    ReplayItem, community_id,
};
pub use read::{Journal, entries_of};
pub use schema::Dataset;
pub(crate) use status::Health;
pub use status::RecorderHandle;
pub(crate) use write::OpenError;
pub use write::{HostNames, NamedNamespace, Recorder, RecorderOptions, Retention};

#[cfg(test)]
mod tests;
