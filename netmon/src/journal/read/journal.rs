//! A journal, host by host: which segments there are, what they cover, and the table at a moment.

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use super::{
    blocks::{self, Block},
    gaps::{Break, JournalGap, gaps_and_breaks},
    replay::{HostReplay, Replay},
};
use crate::{
    core::{connection::Connection, event::Anchor, table::ConnectionTable, time::TimeSpan},
    journal::{
        dir::Dir,
        intervals::{LATE, SILENT},
        layout::{self, HostDir, Segment},
        schema::Dataset,
    },
};

/// Why a journal cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("{0}: {1}; `netmon record` makes a journal, --journal says where it is")]
    None(String, io::Error),
    /// Only its owner and a group may read it.
    #[error("{0}: {1}; run it with sudo, or as a member of the group which that directory has")]
    Denied(String, io::Error),
    /// Nothing is recorded in it.
    #[error("{0} has no journal in it: `netmon record` makes one, --journal says where it is")]
    Empty(String),
    /// The host asked for is not there.
    #[error("{0} has no journal of {1}, but of {2}")]
    Host(String, String, String),
    /// The system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The journal of one host, or of many.
#[derive(Debug)]
pub struct Journal {
    hosts: Vec<HostJournal>,
}

/// Says how far reading a journal has come.
#[derive(Clone, Debug)]
pub struct ReadCounter(Vec<Arc<HostDir>>);

impl ReadCounter {
    /// Files that were opened so far.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.0.iter().map(|host| host.files_read.load(Ordering::Relaxed)).sum()
    }
}

/// One host's part of a journal.
#[derive(Clone, Debug)]
pub struct HostJournal {
    pub(in crate::journal) host: Arc<HostDir>,
    pub(in crate::journal) segments: Vec<Segment>,
}

impl Journal {
    /// Opens the journal in `path`, of the hosts that `wanted` lets pass.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(
        path: &Path,
        asked: Option<&str>,
        wanted: impl Fn(&str) -> bool,
    ) -> std::result::Result<Self, ReadError> {
        let name = || path.display().to_string();
        let denied = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => ReadError::Denied(name(), error),
            _ => ReadError::None(name(), error),
        };
        let dir = Arc::new(Dir::open(path).map_err(denied)?);
        let all = layout::hosts(&dir).map_err(denied)?;
        let mut hosts = Vec::new();
        for host in all.iter().filter(|host| wanted(host)) {
            let host = Arc::new(HostDir::new(Arc::clone(&dir), host));
            let segments = host.segments().map_err(denied)?;
            if !segments.is_empty() {
                hosts.push(HostJournal { host, segments });
            }
        }
        match (&*all, &*hosts) {
            ([], _) => Err(ReadError::Empty(name())),
            (_, []) if all.iter().any(|host| wanted(host)) => Err(ReadError::Empty(name())),
            (_, []) => {
                let asked = asked.unwrap_or_default().to_owned();
                Err(ReadError::Host(name(), asked, all.join(", ")))
            }
            _ => Ok(Self { hosts }),
        }
    }

    /// The hosts that were recorded.
    #[must_use]
    pub fn hosts(&self) -> &[HostJournal] {
        &self.hosts
    }

    /// The time that it covers by `now`, gaps included.
    #[must_use]
    pub fn span(&self, now: i64) -> TimeSpan {
        let mut all: Option<TimeSpan> = None;
        for host in &self.hosts {
            let span = host.span(now);
            all = Some(all.map_or(span, |all| TimeSpan {
                from: all.from.min(span.from),
                to: all.to.max(span.to),
            }));
        }
        all.unwrap_or(TimeSpan { from: now, to: now })
    }

    /// The events of a stretch of time, with the tables at its beginning.
    #[must_use]
    pub fn replay(&self, span: TimeSpan) -> Replay {
        let hosts = self.hosts.iter();
        Replay::new(hosts.map(|host| (Arc::clone(host.name()), host.replay(span))), span)
    }

    /// Counts the files that are read, for whoever waits.
    #[must_use]
    pub fn read_counter(&self) -> ReadCounter {
        ReadCounter(self.hosts.iter().map(|host| Arc::clone(&host.host)).collect())
    }

    /// Returns whether somebody writes to it now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.hosts.iter().any(HostJournal::is_live)
    }
}

impl HostJournal {
    /// The name of the host.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        self.host.host()
    }

    /// Inode number of the network namespace in which its recorder was last.
    #[must_use]
    pub fn recorder_netns(&self) -> Option<u32> {
        let mut segments = self.segments.iter().rev();
        segments.find_map(|segment| {
            blocks::blocks(&self.host, *segment, Dataset::Checkpoints).ok()?.beginning.netns
        })
    }

    /// The time that it covers by `now`, gaps included. While a recorder is running it extends past
    /// the newest row, up to the longest silence that a healthy recorder can have.
    #[must_use]
    pub fn span(&self, now: i64) -> TimeSpan {
        let from = self.segments.first().map_or(0, |segment| segment.start);
        let last = last_moment(&self.host, &self.segments).unwrap_or(from);
        let silent = now.min(last.saturating_add(SILENT));
        let to = if self.is_live() { last.max(silent) } else { last };
        TimeSpan { from, to }
    }

    /// Returns whether somebody writes to it now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        // Only its owner may open the lock; for others the age of what is written has to do.
        match self.host.dir.lock_state(&self.host.lock_path()) {
            Some(is_locked) => is_locked,
            None => self.segments.iter().any(|segment| !segment.closed && self.is_fresh(*segment)),
        }
    }

    fn is_fresh(&self, segment: Segment) -> bool {
        let file = self.host.dir.read(&self.host.file(segment, Dataset::Events));
        let written = file.and_then(|file| Ok(file.metadata()?.modified()?));
        let silent = Duration::from_nanos(SILENT.unsigned_abs());
        written.is_ok_and(|written| {
            SystemTime::now().duration_since(written).is_ok_and(|age| age <= silent)
        })
    }

    /// The segments that may have rows of a stretch of time.
    pub(super) fn segments_of(&self, span: TimeSpan) -> impl Iterator<Item = Segment> {
        let first = self.segments.partition_point(|segment| segment.start <= span.from);
        let segments = self.segments[first.saturating_sub(1)..].iter().copied();
        segments.take_while(move |segment| segment.start <= span.to.saturating_add(LATE))
    }

    /// The gaps of a stretch of time, by when they were noticed.
    #[must_use]
    pub fn gaps(&self, span: TimeSpan) -> Vec<JournalGap> {
        self.gaps_and_breaks(span).0
    }

    /// The gaps of a stretch of time, and where its segments do not meet.
    pub(super) fn gaps_and_breaks(&self, span: TimeSpan) -> (Vec<JournalGap>, Vec<Break>) {
        let segments: Vec<Segment> = self.segments_of(span).collect();
        gaps_and_breaks(&self.host, &segments, span)
    }

    /// Events of a stretch of time, with the table at its beginning.
    pub(super) fn replay(&self, span: TimeSpan) -> HostReplay {
        HostReplay::new(Arc::clone(&self.host), self.segments_of(span).collect(), span)
    }

    /// The table as it was at a moment, that moment on both clocks, and what is missing from the
    /// journal there.
    ///
    /// Files that cannot be read are named and left out.
    #[must_use]
    pub fn table_at(&self, moment: i64) -> (ConnectionTable, Anchor, Vec<JournalGap>) {
        let mut replay = self.replay(TimeSpan { from: moment, to: moment });
        let (table, anchor) = replay.skip();
        (table, anchor, self.gaps_at(moment))
    }

    /// The gaps in which a moment lies.
    #[must_use]
    pub fn gaps_at(&self, moment: i64) -> Vec<JournalGap> {
        // What is missing is reported later, at the latest when the next segment begins.
        let next = self.segments.iter().find(|segment| segment.start > moment);
        let to = next.map_or(moment, |next| next.start).saturating_add(LATE);
        let mut gaps = self.gaps(TimeSpan { from: moment, to });
        gaps.retain(|gap| gap.span.contains(moment));
        gaps
    }
}

/// The wall time of the last that is recorded, ns; nothing where nothing is.
fn last_moment(host: &HostDir, segments: &[Segment]) -> Option<i64> {
    for segment in segments.iter().rev() {
        match blocks::blocks(host, *segment, Dataset::Events) {
            Ok(found) => {
                let last = found.blocks.iter().map(|block: &Block| block.most).max();
                if let Some(last) = last {
                    return Some(last.saturating_mul(1_000));
                }
            }
            Err(error) => host.leave_out(&blocks::path_of(host, *segment, Dataset::Events), &error),
        }
    }
    None
}

/// The moment up to which the recording before has come, ns since 1970, and the table then.
pub(in crate::journal) fn last_table(host: &HostDir) -> io::Result<(Option<i64>, Vec<Connection>)> {
    let segments = host.segments()?;
    let Some(last) = last_moment(host, &segments) else { return Ok((None, Vec::new())) };
    let host = Arc::new(HostDir::new(Arc::clone(&host.dir), host.host()));
    let journal = HostJournal { host, segments };
    let mut replay = journal.replay(TimeSpan { from: last, to: last });
    let (table, _) = replay.skip();
    Ok((Some(last), table.rows().cloned().collect()))
}
