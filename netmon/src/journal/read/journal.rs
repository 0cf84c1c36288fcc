//! A journal, host by host: its segments, the time that they cover, and the table at a moment.

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use super::{
    blocks::{self, Block},
    gaps::{Break, JournalGap, gaps_and_breaks},
    replay::HostReplay,
    source::Replay,
};
use crate::{
    core::{
        connection::Connection,
        entry::Entry,
        loss::Loss,
        table::ConnectionTable,
        time::{Anchor, Mono, TimeSpan, Wall},
    },
    enclosure::{enclose, enclosed},
    journal::{
        dir::Dir,
        intervals::{LATE, SILENT, wall_now},
        layout::{self, HostDir, Segment},
        schema::Dataset,
    },
};

/// The reason why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no journal.
    #[error("{0}: {1}; `netmon record` makes a journal, --journal names its directory")]
    None(String, io::Error),
    /// Only the owner and the group of the journal may read it.
    #[error("{0}: {1}; run netmon with sudo, or as a member of the group of the directory")]
    Denied(String, io::Error),
    /// The directory has no recording.
    #[error("{0} has no journal: `netmon record` makes one, --journal names its directory")]
    Empty(String),
    /// The journal does not have the host.
    #[error("{0} has no journal of {1}, but of {2}")]
    Host(String, String, String),
    /// The system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The journal of one host, or of many.
#[derive(Debug)]
pub struct Journal {
    dir: Arc<Dir>,
    hosts: Vec<HostJournal>,
}

/// Counts the files that were read from a journal.
#[derive(Clone, Debug)]
pub struct ReadCounter(Vec<Arc<HostDir>>);

impl ReadCounter {
    /// Returns the number of files that were opened so far.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.0.iter().map(|host| host.files_read.load(Ordering::Relaxed)).sum()
    }
}

/// The part of a journal that belongs to one host.
#[derive(Clone, Debug)]
pub struct HostJournal {
    pub(in crate::journal) host: Arc<HostDir>,
    pub(in crate::journal) segments: Vec<Segment>,
}

impl Journal {
    /// Opens the journal in `path`, with the hosts for which `wanted` returns true.
    ///
    /// # Errors
    /// Returns an error when there is no journal, this user may not read it, or it has none of
    /// these hosts.
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
            _ => Ok(Self { dir, hosts }),
        }
    }

    /// Closes everything to this thread, for good, that reading the journal does not take.
    pub(crate) fn enclose(&self) {
        enclose(self.dir.to_read());
    }

    /// Runs `read` on a thread that may open nothing but the journal, and returns the result.
    pub(crate) fn enclosed<T: Send>(&self, read: impl FnMut() -> T + Send) -> T {
        enclosed(self.dir.to_read(), read)
    }

    /// Returns the hosts that were recorded.
    #[must_use]
    pub fn hosts(&self) -> &[HostJournal] {
        &self.hosts
    }

    /// Returns the time that the journal covers up to `now`, gaps included.
    #[must_use]
    pub fn span(&self, now: Wall) -> TimeSpan {
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

    /// Returns the events of a stretch of time, with the tables at its beginning.
    #[must_use]
    pub fn replay(&self, span: TimeSpan) -> Replay {
        let hosts = self.hosts.iter();
        Replay::new(hosts.map(|host| (Arc::clone(host.name()), host.replay_with_gaps(span))), span)
    }

    /// Returns a counter of the files that are read, to show progress.
    #[must_use]
    pub fn read_counter(&self) -> ReadCounter {
        ReadCounter(self.hosts.iter().map(|host| Arc::clone(&host.host)).collect())
    }

    /// Returns whether a recorder writes to the journal now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.hosts.iter().any(HostJournal::is_live)
    }
}

impl HostJournal {
    /// Runs `read` as [`Journal::enclosed`] does.
    pub(crate) fn enclosed<T: Send>(&self, read: impl FnMut() -> T + Send) -> T {
        enclosed(self.host.dir.to_read(), read)
    }

    /// Returns the name of the host.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        self.host.host()
    }

    /// Returns the inode number of the network namespace in which the last recorder ran.
    #[must_use]
    pub fn recorder_netns(&self) -> Option<u32> {
        let mut segments = self.segments.iter().rev();
        segments.find_map(|segment| {
            blocks::blocks(&self.host, *segment, Dataset::Checkpoints).ok()?.beginning.netns
        })
    }

    /// Returns the time that the journal covers up to `now`, gaps included. While a recorder is
    /// running, the time extends past the newest row, up to the longest silence of a healthy
    /// recorder.
    #[must_use]
    pub fn span(&self, now: Wall) -> TimeSpan {
        let from = self.segments.first().map_or(Wall::EPOCH, |segment| segment.start);
        let last = last_moment(&self.host, &self.segments).unwrap_or(from);
        let silent = now.min(last + SILENT);
        let to = if self.is_live() { last.max(silent) } else { last };
        TimeSpan { from, to }
    }

    /// Returns whether a recorder writes to the journal now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        // Only the owner may open the lock. For other users the age of the newest file decides.
        match self.host.dir.lock_state(&self.host.lock_path()) {
            Some(is_locked) => is_locked,
            None => self.segments.iter().any(|segment| !segment.closed && self.is_fresh(*segment)),
        }
    }

    fn is_fresh(&self, segment: Segment) -> bool {
        let file = self.host.dir.read(&self.host.file(segment, Dataset::Events));
        let written = file.and_then(|file| Ok(file.metadata()?.modified()?));
        written.is_ok_and(|written| {
            SystemTime::now().duration_since(written).is_ok_and(|age| age <= SILENT)
        })
    }

    /// Returns the segments that may have rows of a stretch of time.
    pub(super) fn segments_of(&self, span: TimeSpan) -> impl Iterator<Item = Segment> {
        let first = self.segments.partition_point(|segment| segment.start <= span.from);
        let segments = self.segments[first.saturating_sub(1)..].iter().copied();
        segments.take_while(move |segment| segment.start <= span.to + LATE)
    }

    /// Returns the gaps of which any part lies in a stretch of time, in the order in which they
    /// were noticed, also those that were noticed after the stretch.
    #[must_use]
    pub fn gaps(&self, span: TimeSpan) -> Vec<JournalGap> {
        self.gaps_and_breaks(span).0
    }

    /// Returns the gaps of a stretch of time as [`Self::gaps`] does, and the pairs of segments in
    /// it that do not meet.
    pub(super) fn gaps_and_breaks(&self, span: TimeSpan) -> (Vec<JournalGap>, Vec<Break>) {
        // A gap is reported later, at the latest when the next segment begins.
        let next = self.segments.iter().find(|segment| segment.start > span.to);
        let to = next.map_or(span.to, |next| next.start) + LATE;
        let wider = TimeSpan { to, ..span };
        let segments: Vec<Segment> = self.segments_of(wider).collect();
        let (mut gaps, mut breaks) = gaps_and_breaks(&self.host, &segments, wider, span.to);
        gaps.retain(|gap| gap.span.from <= span.to && gap.span.to >= span.from);
        breaks.retain(|pair| pair.after.start <= span.to + LATE);
        (gaps, breaks)
    }

    /// Returns the events of a stretch of time, with the table at its beginning.
    pub(super) fn replay(&self, span: TimeSpan) -> HostReplay {
        HostReplay::new(Arc::clone(&self.host), self.segments_of(span).collect(), span)
    }

    /// Returns the events of a stretch of time as [`Self::replay`] does, with the gaps that were
    /// noticed after the stretch.
    fn replay_with_gaps(&self, span: TimeSpan) -> HostReplay {
        // Such a gap reaches over the end. Those before are events of the stretch.
        let mut gaps = self.gaps_at(span.to);
        // A block that cannot be read is reported by the replay.
        let is_block =
            |gap: &JournalGap| gap.gap.loss == Loss::Missing && gap.moment.monotonic == Mono::BOOT;
        gaps.retain(|gap| gap.moment.wall > span.to && !is_block(gap));
        self.replay(span).then(gaps.into_iter().map(|gap| (gap.moment, Entry::Gap(gap.gap))))
    }

    /// Returns the table at a moment, that moment on both clocks, and the gaps in which the moment
    /// lies.
    ///
    /// Files that cannot be read are logged and left out.
    #[must_use]
    pub fn table_at(&self, moment: Wall) -> (ConnectionTable, Anchor, Vec<JournalGap>) {
        let mut replay = self.replay(TimeSpan { from: moment, to: moment });
        let (table, anchor) = replay.skip();
        (table, anchor, self.gaps_at(moment))
    }

    /// Returns the gaps in which a moment lies.
    #[must_use]
    pub fn gaps_at(&self, moment: Wall) -> Vec<JournalGap> {
        self.gaps(TimeSpan { from: moment, to: moment })
    }
}

/// Returns the wall time of the newest row; nothing without rows.
fn last_moment(host: &HostDir, segments: &[Segment]) -> Option<Wall> {
    for segment in segments.iter().rev() {
        match blocks::blocks(host, *segment, Dataset::Events) {
            Ok(events) => {
                let last = events.blocks.iter().map(|block: &Block| block.most).max();
                if let Some(last) = last {
                    return Some(last);
                }
            }
            Err(error) => host.leave_out(&blocks::path_of(host, *segment, Dataset::Events), &error),
        }
    }
    None
}

/// Returns the moment at which the last recording ended, and the table at that
/// moment.
pub(in crate::journal) fn last_table(
    host: &HostDir,
) -> io::Result<(Option<Wall>, Vec<Connection>)> {
    let mut segments = host.segments()?;
    // Segments of the future were written before the clock was set back.
    let now = wall_now();
    if segments.iter().any(|segment| segment.start <= now) {
        segments.retain(|segment| segment.start <= now);
    }
    let Some(last) = last_moment(host, &segments) else { return Ok((None, Vec::new())) };
    let host = Arc::new(HostDir::new(Arc::clone(&host.dir), host.host()));
    let journal = HostJournal { host, segments };
    let mut replay = journal.replay(TimeSpan { from: last, to: last });
    let (table, _) = replay.skip();
    Ok((Some(last), table.rows().cloned().collect()))
}
