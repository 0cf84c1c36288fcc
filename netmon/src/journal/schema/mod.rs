//! The schema of a journal. Each group of columns has a builder and a reader, and each dataset
//! consists of such groups.
//!
//! docs/journal.md describes every column; `tests/it/journal_docs.rs` compares that page with this
//! schema.

mod cgroup;
mod checkpoints;
pub(super) mod column;
mod connections;
mod encoding;
mod ending;
mod events;
mod gaps;
mod holder;
mod moment;
mod namespaces;
mod party;
mod place;
mod process;
mod processes;
mod shared;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};

use super::error::{Malformed, Result};
use crate::core::time::Wall;

pub(super) use self::{
    checkpoints::{CheckpointBuilder, CheckpointReader},
    connections::{ConnectionBuilder, ConnectionReader},
    encoding::writer_properties,
    events::{EventBuilder, EventReader},
    gaps::GapReader,
    moment::OrderReader,
    namespaces::{NamespaceBuilder, NamespaceRow},
    party::PartyReader,
    processes::{ProcessBuilder, ProcessRow},
};

/// The version of the schema that this program writes and reads.
pub(super) const VERSION: &str = "2";
/// The metadata key of a file for the version of the schema.
pub(super) const VERSION_KEY: &str = "netmon.version";

/// The metadata key of a stream or file for the predecessor of the segment: its start, or one of
/// the two words below.
pub(super) const FOLLOWS_KEY: &str = "netmon.follows";
/// The value without a predecessor: a recorder began.
pub(super) const FOLLOWS_NOTHING: &str = "nothing";
/// The value after a gap: the recorder could not write.
pub(super) const FOLLOWS_GAP: &str = "gap";
/// The metadata key for the time by which the wall clock was ahead of the monotonic clock when the
/// segment began, ns.
pub(super) const CLOCK_OFFSET_KEY: &str = "netmon.clock_offset";
/// The metadata key for the inode number of the recorder's own network namespace.
pub(super) const NETNS_KEY: &str = "netmon.netns";
/// The metadata key of a file for the checksums of its column chunks and Bloom filters.
pub(super) const CHECKSUMS_KEY: &str = "netmon.checksums";
/// The metadata key of a file for the checksum of its footer.
pub(super) const FOOTER_SUM_KEY: &str = "netmon.footer_sum";
/// The metadata key of a file for the previous segment: its start, and the checksum of its footer.
pub(super) const PREVIOUS_KEY: &str = "netmon.previous";
/// Metadata that a Parquet file takes over from its stream.
pub(super) const TAKEN_OVER: [&str; 3] = [FOLLOWS_KEY, CLOCK_OFFSET_KEY, NETNS_KEY];

/// The predecessor of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Follows {
    /// No segment: a recorder began with an empty table.
    Nothing,
    /// A gap: the recorder could not write.
    #[default]
    Gap,
    /// The segment with this start, without a break.
    Segment(Wall),
}

impl Follows {
    /// Returns the value in the metadata.
    pub(super) fn text(self) -> String {
        match self {
            Self::Nothing => FOLLOWS_NOTHING.to_owned(),
            Self::Gap => FOLLOWS_GAP.to_owned(),
            Self::Segment(start) => start.as_nanos().to_string(),
        }
    }
}

/// The datasets of a journal: each is a directory, and a table for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// Every change of the table.
    Events,
    /// The whole table, at the beginning of each segment.
    Checkpoints,
    /// Connections that ended.
    Connections,
    /// Processes, each described when a segment first met it.
    Processes,
    /// Network namespaces, each described when a segment first met it.
    Namespaces,
}

impl Dataset {
    /// Every dataset, in the order in which the files of a segment are written and removed: a
    /// segment is complete once it has its events.
    pub const ALL: [Self; 5] =
        [Self::Checkpoints, Self::Connections, Self::Processes, Self::Namespaces, Self::Events];

    /// Returns the name of the dataset's directory.
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

    /// Returns the columns of the dataset, in order.
    ///
    /// # Errors
    /// Never returns an error: the signature is that of Arrow's functions.
    pub fn schema(self) -> std::result::Result<Arc<Schema>, ArrowError> {
        Ok(self.empty()?.schema())
    }

    /// Returns a batch without rows.
    pub(super) fn empty(self) -> std::result::Result<RecordBatch, ArrowError> {
        let boot = Arc::from("");
        let names = &mut NoNames;
        match self {
            Self::Events => EventBuilder::new(&boot).finish(names),
            Self::Checkpoints => CheckpointBuilder::new(&boot).finish(names),
            Self::Connections => ConnectionBuilder::new(&boot).finish(names),
            Self::Processes => ProcessBuilder::new().finish(names),
            Self::Namespaces => NamespaceBuilder::default().finish(),
        }
    }
}

/// Names the users and namespaces of the recorded host, for the columns beside the numbers.
pub(super) trait NumberNames {
    /// Returns the name of a user.
    fn user(&mut self, uid: u32) -> Option<Arc<str>>;
    /// Returns the name of a network namespace, by its inode number.
    fn netns(&mut self, inum: u32) -> Option<Arc<str>>;
}

/// Knows no names.
pub(super) struct NoNames;

impl NumberNames for NoNames {
    fn user(&mut self, _: u32) -> Option<Arc<str>> {
        None
    }

    fn netns(&mut self, _: u32) -> Option<Arc<str>> {
        None
    }
}

/// Checks the version in the metadata of a file. Fails for a version that this program cannot read.
pub(super) fn check_version(version: Option<&str>) -> Result<()> {
    match version {
        Some(VERSION) => Ok(()),
        Some(version) => Err(Malformed::Version { found: version.to_owned(), read: VERSION }),
        None => Err(Malformed::Foreign),
    }
}
