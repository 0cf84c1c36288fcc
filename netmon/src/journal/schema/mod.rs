//! The schema of a journal: each column group with its builder and its reader, each dataset made of
//! them.
//!
//! docs/journal.md describes every column; `tests/journal_docs.rs` compares the two.

mod checkpoints;
pub(super) mod column;
mod connections;
mod encoding;
mod ending;
mod events;
mod moment;
mod namespaces;
mod party;
mod place;
mod processes;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};

use super::error::{Malformed, Result};

pub(super) use self::{
    checkpoints::{CheckpointBuilder, CheckpointReader},
    connections::{ConnectionBuilder, ConnectionReader},
    encoding::writer_properties,
    events::{EventBuilder, EventReader, GapReader},
    moment::OrderReader,
    namespaces::{NamespaceBuilder, NamespaceRow},
    processes::{ProcessBuilder, ProcessRow},
};

/// The version that this program writes and reads.
pub(super) const VERSION: &str = "2";
/// Key of a file's metadata that names the version of its schema.
pub(super) const VERSION_KEY: &str = "netmon.version";

/// Key of a stream's or file's metadata that says what was before the segment: its start, or one of
/// the words.
pub(super) const FOLLOWS_KEY: &str = "netmon.follows";
/// Nothing was before it: a recorder began.
pub(super) const FOLLOWS_NOTHING: &str = "nothing";
/// Something is missing before it: the recorder could not write.
pub(super) const FOLLOWS_GAP: &str = "gap";
/// Key of the metadata with what wall time was ahead of the monotonic clock when the segment began,
/// ns.
pub(super) const CLOCK_OFFSET_KEY: &str = "netmon.clock_offset";
/// Key of the metadata with the inode number of the recorder's own network namespace.
pub(super) const NETNS_KEY: &str = "netmon.netns";
/// Key of a file's metadata with the checksums of its column chunks and Bloom filters.
pub(super) const CHECKSUMS_KEY: &str = "netmon.checksums";
/// Key of a file's metadata with the checksum of its footer.
pub(super) const FOOTER_SUM_KEY: &str = "netmon.footer_sum";
/// Key of a file's metadata that names the segment before: its start, and the checksum of its
/// footer.
pub(super) const PREVIOUS_KEY: &str = "netmon.previous";
/// Metadata that a file takes over from the stream that it was.
pub(super) const TAKEN_OVER: [&str; 3] = [FOLLOWS_KEY, CLOCK_OFFSET_KEY, NETNS_KEY];

/// The predecessor of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Follows {
    /// A recorder began: the table was empty.
    Nothing,
    /// Something is missing, as the recorder could not write.
    #[default]
    Gap,
    /// The segment that starts then, ns since 1970, without a break.
    Segment(i64),
}

impl Follows {
    /// The word for it in the metadata.
    pub(super) fn text(self) -> String {
        match self {
            Self::Nothing => FOLLOWS_NOTHING.to_owned(),
            Self::Gap => FOLLOWS_GAP.to_owned(),
            Self::Segment(start) => start.to_string(),
        }
    }
}

/// The datasets of a journal: each is a directory, and a table for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// Everything that happened.
    Events,
    /// The whole table, at the beginning of each segment.
    Checkpoints,
    /// Connections that ended.
    Connections,
    /// Processes, as each was first met in a segment.
    Processes,
    /// Network namespaces, as each was first met in a segment.
    Namespaces,
}

impl Dataset {
    /// Every dataset, in the order in which a segment's files come and go: with its events a
    /// segment is whole.
    pub const ALL: [Self; 5] =
        [Self::Checkpoints, Self::Connections, Self::Processes, Self::Namespaces, Self::Events];

    /// The name of its directory.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Checkpoints => "checkpoints",
            Self::Connections => "connections",
            Self::Processes => "processes",
            Self::Namespaces => "namespaces",
        }
    }

    /// Its columns, in order.
    ///
    /// # Errors
    /// Never: Arrow cannot know that.
    pub fn schema(self) -> std::result::Result<Arc<Schema>, ArrowError> {
        Ok(self.empty()?.schema())
    }

    /// A batch without rows.
    pub(super) fn empty(self) -> std::result::Result<RecordBatch, ArrowError> {
        let boot = Arc::from("");
        let names = &mut NoNames;
        match self {
            Self::Events => EventBuilder::new(&boot).finish(names),
            Self::Checkpoints => CheckpointBuilder::new(&boot).finish(names),
            Self::Connections => ConnectionBuilder::new(&boot).finish(names),
            Self::Processes => ProcessBuilder::default().finish(),
            Self::Namespaces => NamespaceBuilder::default().finish(),
        }
    }
}

/// Says what numbers are called on the host that is recorded, for the names beside them.
pub(super) trait NumberNames {
    /// The name of a user.
    fn user(&mut self, uid: u32) -> Option<Arc<str>>;
    /// The name of a network namespace, by its inode number.
    fn netns(&mut self, inum: u32) -> Option<Arc<str>>;
    /// The path of a cgroup.
    fn cgroup(&mut self, id: u64) -> Option<Arc<str>>;
}

/// No number has a name.
pub(super) struct NoNames;

impl NumberNames for NoNames {
    fn user(&mut self, _: u32) -> Option<Arc<str>> {
        None
    }

    fn netns(&mut self, _: u32) -> Option<Arc<str>> {
        None
    }

    fn cgroup(&mut self, _: u64) -> Option<Arc<str>> {
        None
    }
}

/// Fails for a file that this version cannot read, by what its metadata says.
pub(super) fn check_version(version: Option<&str>) -> Result<()> {
    match version {
        Some(VERSION) => Ok(()),
        Some(version) => Err(Malformed::Version { found: version.to_owned(), read: VERSION }),
        None => Err(Malformed::Foreign),
    }
}
