//! Reads a journal: as the table at a moment, as connections that ended, and what it covers.

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use super::{
    arrays::column,
    batches::Batches,
    decode::{self, Finished, Malformed},
    files::{Dataset, Home, Segment},
    groups,
    recorder::ALIVE,
    replay::Replay,
};
use crate::core::{
    event::{Anchor, Event, Gap},
    filter::Filter,
    table::ConnectionTable,
};
use arrow_array::{RecordBatch, TimestampNanosecondArray};
use bytes::Bytes;
use rustc_hash::FxHashSet;

/// An event may come to its segment this much later than it was, ns: connects are held until they have a
/// port, and what is inferred waits.
pub(super) const LATE: i64 = 1_000_000_000;
/// A recorder that runs writes at least so often, ns, and a busy disk takes its time.
const SILENT: i64 = ALIVE.cast_signed() + 5_000_000_000;

/// Why a journal cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("{0}: {1}; `netmon record` makes a journal, --journal says where it is")]
    None(String, io::Error),
    /// Only root and a group may read it.
    #[error("{0}: {1}; run it with sudo, or as a member of the group which that directory has")]
    Denied(String, io::Error),
    /// Nothing is recorded in it.
    #[error("{0} has no journal in it: `netmon record` makes one, --journal says where it is")]
    Empty(String),
    /// Several hosts' journals are there.
    #[error("{0} has the journals of several hosts, {1}: choose one with --host")]
    Hosts(String, String),
    /// The one asked for is not there.
    #[error("{0} has no journal of {1}, but of {2}")]
    Host(String, String, String),
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: String,
    },
    /// The system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A stretch of wall time, ns since 1970, UTC; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub from: i64,
    /// Where it ends.
    pub to: i64,
}

/// One host's journal.
#[derive(Clone, Debug)]
pub struct Journal {
    pub(super) segments: Vec<Segment>,
    home: Home,
}

impl Journal {
    /// Opens the journal in `path`; `host` says whose, where there are several.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn open(path: &Path, host: Option<&str>) -> Result<Self, ReadError> {
        let name = || path.display().to_string();
        let denied = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => ReadError::Denied(name(), error),
            _ => ReadError::None(name(), error),
        };
        let homes = Home::all(path).map_err(denied)?;
        let hosts = || homes.iter().map(Home::host).collect::<Vec<_>>().join(", ");
        let home = match (host, &*homes) {
            (_, []) => return Err(ReadError::Empty(name())),
            (None, [home]) => home,
            (None, _) => return Err(ReadError::Hosts(name(), hosts())),
            (Some(host), _) => homes
                .iter()
                .find(|home| home.host() == host)
                .ok_or_else(|| ReadError::Host(name(), host.to_owned(), hosts()))?,
        };
        let segments = home.segments().map_err(denied)?;
        if segments.is_empty() {
            return Err(ReadError::Empty(name()));
        }
        Ok(Self { segments, home: home.clone() })
    }

    /// The host that was recorded.
    #[must_use]
    pub fn host(&self) -> &str {
        self.home.host()
    }

    /// What it covers by `now`, gaps included: while it is written, as long after the last that is in it as
    /// nothing may be.
    ///
    /// # Errors
    /// When the newest file cannot be read.
    pub fn span(&self, now: i64) -> Result<Span, ReadError> {
        let from = self.segments.first().map_or(0, |segment| segment.start);
        let last = last_moment(&self.home)?.unwrap_or(from);
        let silent = now.min(last.saturating_add(SILENT));
        let to = if self.is_live() { last.max(silent) } else { last };
        Ok(Span { from, to })
    }

    /// Whether somebody writes to it now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        File::open(self.home.lock()).is_ok_and(|lock| lock.try_lock_shared().is_err())
    }

    /// The events of a stretch of time, with the table at its beginning.
    #[must_use]
    pub fn replay(&self, span: Span) -> Replay {
        Replay::new(self.home.clone(), self.segments_of(span).cloned().collect(), span)
    }

    /// The segments that may have rows of a stretch of time.
    fn segments_of(&self, span: Span) -> impl Iterator<Item = &Segment> {
        let first = self.segments.partition_point(|segment| segment.start <= span.from);
        let segments = self.segments[first.saturating_sub(1)..].iter();
        segments.take_while(move |segment| segment.start <= span.to.saturating_add(LATE))
    }

    /// Hands over every connection that ended in a stretch of time, by time as far as each segment goes;
    /// not all that `filter` does not let pass.
    ///
    /// # Errors
    /// What `take` answered.
    pub fn finished<E>(
        &self,
        span: Span,
        filter: &Filter,
        mut take: impl FnMut(&Finished) -> Result<(), E>,
    ) -> Result<(), E> {
        let take = |mut finished: Vec<Finished>| {
            finished.sort_by_key(|finished| finished.moment.wall);
            let is_in =
                |finished: &&Finished| (span.from..=span.to).contains(&finished.moment.wall);
            finished.iter().filter(is_in).try_for_each(&mut take)
        };
        self.batches(Dataset::Connections, span, filter, decode::connections, take)
    }

    /// Hands over what `decode` makes of every batch of a dataset that may have rows of a stretch of time, and
    /// some which `filter` lets pass; files that cannot be read are named and left out.
    ///
    /// # Errors
    /// What `take` answered, which ends it.
    pub(super) fn batches<T, E>(
        &self,
        dataset: Dataset,
        span: Span,
        filter: &Filter,
        mut decode: impl FnMut(&RecordBatch) -> Result<T, Malformed>,
        mut take: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        for segment in self.segments_of(span) {
            let path = segment.path(dataset);
            let batches = match open(&self.home, segment, dataset, Some(span), filter) {
                Ok(batches) => batches,
                Err(error) => {
                    skip(&path, &error);
                    continue;
                }
            };
            for batch in batches {
                match batch.and_then(|batch| decode(&batch)) {
                    Ok(decoded) => take(decoded)?,
                    Err(error) => {
                        skip(&path, &error);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The table as it was at a moment, that moment on both clocks, and what is missing from the journal there.
    ///
    /// Files that cannot be read are named and left out.
    #[must_use]
    pub fn table_at(&self, moment: i64) -> (ConnectionTable, Anchor, Vec<Gap>) {
        let mut replay = self.replay(Span { from: moment, to: moment });
        let table = replay.skip();
        // What is missing is told after it, at the latest when the next segment begins.
        let next = self.segments.iter().find(|segment| segment.start > moment);
        let told = next.map_or(moment, |next| next.start).saturating_add(LATE);
        let mut later = replay.read_ahead();
        for segment in self.segments_of(Span { from: moment, to: told }) {
            match gaps(&self.home, segment, Span { from: moment, to: told }) {
                Ok(mut events) => later.append(&mut events),
                Err(error) => skip(&segment.path(Dataset::Events), &error),
            }
        }
        let gaps = later.iter().filter_map(|(told, event)| {
            let Event::Lost(gap) = event else { return None };
            let since = told.wall.wrapping_sub((gap.time.wrapping_sub(gap.from)).cast_signed());
            (since..=told.wall).contains(&moment).then_some(*gap)
        });
        let gaps = gaps.collect::<FxHashSet<_>>().into_iter().collect();
        (table, replay.beginning(), gaps)
    }
}

/// The events of a segment among which it says what is missing; of one that is being written, the first, with
/// which it begins.
fn gaps(home: &Home, segment: &Segment, span: Span) -> Result<Vec<(Anchor, Event)>, Malformed> {
    if !segment.closed {
        let batch = open(home, segment, Dataset::Events, None, &Filter::default())?.next();
        return batch.map_or(Ok(Vec::new()), |batch| decode::events(&batch?));
    }
    let file = File::open(segment.path(Dataset::Events))?;
    let mut events = Vec::new();
    for batch in groups::gaps(move || file.try_clone(), span)? {
        events.append(&mut decode::events(&batch?)?);
    }
    Ok(events)
}

/// The wall time of the last that is recorded, ns; nothing where nothing is.
pub(super) fn last_moment(home: &Home) -> io::Result<Option<i64>> {
    for segment in home.segments()?.iter().rev() {
        match last_in(home, segment) {
            Ok(None) => {}
            Ok(last) => return Ok(last),
            Err(error) => skip(&segment.path(Dataset::Events), &error),
        }
    }
    Ok(None)
}

fn last_in(home: &Home, segment: &Segment) -> Result<Option<i64>, Malformed> {
    if segment.closed {
        return groups::last(&File::open(segment.path(Dataset::Events))?);
    }
    let batches = open(home, segment, Dataset::Events, None, &Filter::default())?;
    Ok(batches.flatten().filter_map(|batch| last_of(&batch)).max())
}

/// Names a file that is left out, as far as it was not read yet.
pub(super) fn skip(path: &Path, error: &Malformed) {
    log::warn!("{} is left out: {error}", path.display());
}

pub(super) type Opened = Box<dyn Iterator<Item = Result<RecordBatch, Malformed>> + Send>;

/// The batches of a segment's dataset, those left out that cannot have a row of `span` which `filter` lets
/// pass.
pub(super) fn open(
    home: &Home,
    segment: &Segment,
    dataset: Dataset,
    span: Option<Span>,
    filter: &Filter,
) -> Result<Opened, Malformed> {
    let path = segment.path(dataset);
    let closed = |file: File| -> Result<Opened, Malformed> {
        Ok(Box::new(groups::batches(move || file.try_clone(), span, filter)?))
    };
    match File::open(&path) {
        Ok(file) if segment.closed => closed(file),
        Ok(file) => Ok(Box::new(Batches::new(BufReader::new(file))?)),
        // It was done meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !segment.closed => {
            closed(File::open(home.closed(segment.start).path(dataset))?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The events in a file of a journal that is in memory, whichever of the two kinds it is, in the order of
/// its rows.
///
/// # Errors
/// When it is neither, or corrupt; of a stream that ends early, what it had.
pub fn events_of(file: &Bytes) -> Result<Vec<(Anchor, Event)>, Malformed> {
    let mut events = Vec::new();
    if file.starts_with(b"PAR1") {
        let file = file.clone();
        for batch in groups::batches(move || Ok(file.clone()), None, &Filter::default())? {
            events.append(&mut decode::events(&batch?)?);
        }
    } else {
        for batch in Batches::new(&**file)? {
            events.append(&mut decode::events(&batch?)?);
        }
    }
    Ok(events)
}

/// The last moment of a batch.
fn last_of(batch: &RecordBatch) -> Option<i64> {
    let times: &TimestampNanosecondArray = column(batch, "time").ok()?;
    times.values().iter().max().copied()
}
