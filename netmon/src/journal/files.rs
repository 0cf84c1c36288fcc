//! Where the files of a journal are, and what they are called.
//!
//! ```text
//! DIR/host=NAME/lock                                              one recorder at a time
//! DIR/host=NAME/live/events-START.arrows                          the segment that is being written
//! DIR/host=NAME/date=2026-11-23/hour=05/events-START.parquet      those that are done
//! ```
//!
//! A segment is a checkpoint of the whole table and what happened after it: three files, one for each
//! dataset, named by when it starts (UTC).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

/// The three datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// What happened.
    Events,
    /// The whole table, at the beginning of each segment.
    Checkpoints,
    /// Connections that ended.
    Connections,
}

impl Dataset {
    /// In the order in which files come and go: with its events a segment is whole.
    pub(super) const ALL: [Self; 3] = [Self::Checkpoints, Self::Connections, Self::Events];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Checkpoints => "checkpoints",
            Self::Connections => "connections",
        }
    }
}

/// Where one host's part of a journal is.
#[derive(Clone, Debug)]
pub(super) struct Home(pub(super) PathBuf);

const LIVE: &str = "live";
const STREAM: &str = "arrows";
const CLOSED: &str = "parquet";
/// Of a file that is not complete yet: nobody reads it.
const PARTIAL: &str = "partial";
/// A start as a name says it: sorts as time does.
const START: &str = "%Y%m%dT%H%M%S%.9fZ";

/// A segment that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Nanoseconds since 1970, UTC.
    pub(super) start: i64,
    /// Whether it is done, and Parquet.
    pub(super) closed: bool,
    /// The directory of its files.
    directory: PathBuf,
}

impl Segment {
    pub(super) fn path(&self, dataset: Dataset) -> PathBuf {
        let kind = if self.closed { CLOSED } else { STREAM };
        self.directory.join(name(dataset, self.start, kind))
    }

    /// The path under which a file of it is written until it is complete.
    pub(super) fn partial(&self, dataset: Dataset) -> PathBuf {
        self.directory.join(name(dataset, self.start, PARTIAL))
    }

    /// Removes its files, the events last: as long as they are there, so is the segment.
    pub(super) fn remove(&self) -> io::Result<()> {
        for dataset in Dataset::ALL {
            remove(&self.partial(dataset))?;
            remove(&self.path(dataset))?;
        }
        Ok(())
    }
}

impl Home {
    pub(super) fn of(journal: &Path, host: &str) -> Self {
        // Of a host's name only what a path and a partition can hold.
        let host = host.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "_");
        Self(journal.join(format!("host={host}")))
    }

    /// The hosts of a journal; `journal` itself where it is the directory of one.
    pub(super) fn all(journal: &Path) -> io::Result<Vec<Self>> {
        if is_host(journal) {
            return Ok(vec![Self(journal.to_owned())]);
        }
        let mut homes = Vec::new();
        for entry in fs::read_dir(journal)? {
            let path = entry?.path();
            if is_host(&path) && path.is_dir() {
                homes.push(Self(path));
            }
        }
        homes.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(homes)
    }

    pub(super) fn host(&self) -> &str {
        let name = self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("host=").unwrap_or(name)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// A segment that is written.
    pub(super) fn live(&self, start: i64) -> Segment {
        Segment { start, closed: false, directory: self.0.join(LIVE) }
    }

    /// The same when it is done.
    pub(super) fn closed(&self, start: i64) -> Segment {
        let hour = at(start, "date=%Y-%m-%d/hour=%H");
        Segment { start, closed: true, directory: self.0.join(hour) }
    }

    /// Every segment, the oldest first; what is done and still there as it was written, once.
    pub(super) fn segments(&self) -> io::Result<Vec<Segment>> {
        // One that is done meanwhile is found twice then, rather than not at all.
        let mut segments: Vec<_> =
            starts(&self.0.join(LIVE), STREAM)?.map(|start| self.live(start)).collect();
        for date in entries(&self.0)? {
            if !date.file_name().is_some_and(|name| name.to_string_lossy().starts_with("date=")) {
                continue;
            }
            for hour in entries(&date)? {
                let found = starts(&hour, CLOSED)?;
                let directory = |start| Segment { start, closed: true, directory: hour.clone() };
                segments.extend(found.map(directory));
            }
        }
        segments.sort_by_key(|segment| (segment.start, !segment.closed));
        segments.dedup_by_key(|segment| segment.start);
        Ok(segments)
    }

    /// Removes what a recorder that was ended in the midst has left: files of segments that never began, and
    /// those of one that is done.
    pub(super) fn tidy(&self) -> io::Result<()> {
        let segments = self.segments()?;
        for path in entries(&self.0.join(LIVE))? {
            let Some((start, kind)) = start_of(&path) else { continue };
            let found = segments.binary_search_by_key(&start, |segment| segment.start);
            let is_used = found.is_ok_and(|at| !segments[at].closed) && kind == STREAM;
            if !is_used {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_host(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("host="))
}

/// What is in a directory; nothing where there is none.
pub(super) fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// The segments that have a file of events in a directory.
fn starts(directory: &Path, kind: &'static str) -> io::Result<impl Iterator<Item = i64>> {
    Ok(entries(directory)?.into_iter().filter_map(move |path| {
        let (start, is) = start_of(&path)?;
        let is_it = is == kind && path.file_name()?.to_str()?.starts_with("events-");
        is_it.then_some(start)
    }))
}

/// When the segment of a file starts, and of which kind the file is; nothing of one that is none of ours.
fn start_of(path: &Path) -> Option<(i64, &str)> {
    let (dataset, rest) = path.file_name()?.to_str()?.split_once('-')?;
    if !Dataset::ALL.iter().any(|known| known.name() == dataset) {
        return None;
    }
    let (start, kind) = rest.rsplit_once('.')?;
    let parsed = strtime::parse(START, start).ok()?.to_datetime().ok()?;
    let moment = parsed.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some((i64::try_from(moment.as_nanosecond()).ok()?, kind))
}

fn name(dataset: Dataset, start: i64, kind: &str) -> String {
    format!("{}-{}.{kind}", dataset.name(), at(start, START))
}

fn at(nanoseconds: i64, format: &str) -> String {
    let moment = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
    moment.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_began_and_what_is_done_goes() {
        let journal = std::env::temp_dir().join(format!("netmon-tidy-{}", std::process::id()));
        let home = Home::of(&journal, "web");
        let touch = |path: PathBuf| {
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, "").expect("a file");
        };
        let all = |segment: &Segment| Dataset::ALL.map(|dataset| segment.path(dataset));
        for segment in [home.live(1), home.live(2), home.closed(2)] {
            all(&segment).into_iter().for_each(touch);
        }
        touch(home.live(3).path(Dataset::Connections));
        touch(home.live(4).partial(Dataset::Checkpoints));
        touch(home.0.join(LIVE).join("events-mine.arrows"));
        home.tidy().expect("tidied");
        let mut left = entries(&home.0.join(LIVE)).expect("a directory");
        left.sort();
        let segments = home.segments().expect("segments");
        fs::remove_dir_all(&journal).expect("removed");
        let mut expected = all(&home.live(1)).to_vec();
        expected.push(home.0.join(LIVE).join("events-mine.arrows"));
        expected.sort();
        assert_eq!(left, expected);
        assert_eq!(segments, [home.live(1), home.closed(2)]);
    }

    #[test]
    fn names_are_read_as_they_were_written() {
        let home = Home::of(Path::new("/journal"), "web 1/x");
        assert_eq!(home.host(), "web_1_x");
        let start = 1_795_413_012_000_000_007;
        let live = home.live(start).path(Dataset::Events);
        assert_eq!(
            live.to_str(),
            Some("/journal/host=web_1_x/live/events-20261123T055012.000000007Z.arrows")
        );
        let closed = home.closed(start).path(Dataset::Connections);
        let name = "connections-20261123T055012.000000007Z.parquet";
        assert_eq!(closed, Path::new("/journal/host=web_1_x/date=2026-11-23/hour=05").join(name));
    }
}
