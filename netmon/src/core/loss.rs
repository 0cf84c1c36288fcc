//! Losses: events that are missing from the stream, and why.

use super::time::Mono;

/// Why events were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The ring buffer was full.
    RingFull,
    /// The kernel skipped the program because it was running on that CPU already.
    Recursion,
    /// The record could not be understood: the object does not match this program.
    Malformed,
    /// The kernel could not keep how an accepted connection began: its LISTEN -> SYN_RECV is not
    /// shown, and its owner not known.
    Storage,
    /// Records of processes were lost: an owner may have no program, or the one before. No event of
    /// a connection is missing.
    Processes,
    /// The journal could not be written, or not as fast as events came.
    Unwritten,
    /// The hooks were silent, as if somebody had taken them out: how many there were is unknown.
    Unhooked,
    /// No recorder was running: the number of events is unknown.
    NotRecorded,
    /// A segment of the journal is missing or cannot be read: how many events it had is unknown.
    Missing,
}

impl Loss {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::RingFull,
        Self::Recursion,
        Self::Malformed,
        Self::Storage,
        Self::Processes,
        Self::Unwritten,
        Self::Unhooked,
        Self::NotRecorded,
        Self::Missing,
    ];

    /// The word for it in the output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::Recursion => "recursion",
            Self::Malformed => "malformed",
            Self::Storage => "storage",
            Self::Processes => "processes",
            Self::Unwritten => "unwritten",
            Self::Unhooked => "unhooked",
            Self::NotRecorded => "not_recorded",
            Self::Missing => "missing",
        }
    }
}

/// Events that are missing from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// None were missing up to here.
    pub from: Mono,
    /// When it was noticed.
    pub time: Mono,
    /// How many.
    pub count: u64,
    /// Why.
    pub loss: Loss,
}
