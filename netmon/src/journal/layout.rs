//! Where the files of a journal are, and what they are called.
//!
//! ```text
//! DIR/DATASET/date=2026-11-23/host=web1/START.parquet     segments that are done
//! DIR/_live/host=web1/DATASET-START.arrows                the segment that is being written
//! DIR/_live/host=web1/DATASET-START.sums                  checksums of it
//! DIR/_live/host=web1/lock                                one recorder at a time
//! ```
//!
//! A segment is a checkpoint of the whole table and what happened after it: a file for each
//! dataset, named by when it starts (UTC). Engines pass over names that begin with `_`, so each
//! `DIR/DATASET` is a table to them.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

use super::{dir::Dir, error::Malformed, schema::Dataset};

const LIVE: &str = "_live";
/// A start as a name has it: sorts as time does.
const START: &str = "%Y%m%dT%H%M%S%.6fZ";
/// Nanoseconds between two starts that have different names.
pub(super) const START_STEP: i64 = 1_000;

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A dataset of a segment that is done.
    Parquet,
    /// A dataset of the segment that is being written.
    Stream,
    /// Checksums of a stream.
    Sums,
    /// A file that is not complete yet: nobody reads it.
    Partial,
    /// A stream that could be read only in part: it is kept for whoever knows more.
    Damaged,
}

impl FileKind {
    const ALL: [Self; 5] = [Self::Parquet, Self::Stream, Self::Sums, Self::Partial, Self::Damaged];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Stream => "arrows",
            Self::Sums => "sums",
            Self::Partial => "partial",
            Self::Damaged => "damaged",
        }
    }
}

/// A segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Nanoseconds since 1970, UTC; whole microseconds.
    pub(super) start: i64,
    /// It is done, and Parquet.
    pub(super) closed: bool,
}

/// One host's part of a journal.
#[derive(Debug)]
pub(super) struct HostDir {
    pub(super) dir: Arc<Dir>,
    host: Arc<str>,
    /// Held as long as this records.
    pub(super) lock: Option<File>,
    /// Files that were read of it so far.
    pub(super) files_read: AtomicU64,
    /// What was said of files that are left out: each is said once.
    left_out: Mutex<HashSet<String>>,
}

/// The hosts of a journal, by name.
pub(super) fn hosts(dir: &Dir) -> io::Result<Vec<Arc<str>>> {
    let mut parents = vec![LIVE.to_owned()];
    for dataset in Dataset::ALL {
        let dates = dir.names(dataset.name())?.into_iter();
        parents.extend(dates.map(|date| format!("{}/{date}", dataset.name())));
    }
    let mut hosts = Vec::new();
    for parent in parents {
        let names = dir.names(&parent)?.into_iter();
        hosts.extend(names.filter_map(|name| Some(Arc::from(name.strip_prefix("host=")?))));
    }
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

impl HostDir {
    pub(super) fn new(dir: Arc<Dir>, host: &str) -> Self {
        // Of a host's name only what a path and a partition can hold.
        let host = host.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "_");
        Self {
            dir,
            host: host.into(),
            lock: None,
            files_read: AtomicU64::new(0),
            left_out: Mutex::default(),
        }
    }

    /// Names a file that is left out because of `error`, if it has not been named yet.
    pub(super) fn leave_out(&self, path: &str, error: &Malformed) {
        let message = format!("{path} is left out: {error}");
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if left_out.insert(message.clone()) {
            log::warn!("{message}");
        }
    }

    pub(super) fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// The directory of what is being written.
    pub(super) fn live(&self) -> String {
        format!("{LIVE}/host={}", self.host)
    }

    pub(super) fn lock_path(&self) -> String {
        format!("{}/lock", self.live())
    }

    /// The directory of a dataset's segments of the day on which one starts.
    pub(super) fn partition(&self, dataset: Dataset, start: i64) -> String {
        format!("{}/{}/host={}", dataset.name(), at(start, "date=%Y-%m-%d"), self.host)
    }

    pub(super) fn path(&self, dataset: Dataset, start: i64, kind: FileKind) -> String {
        let (start_name, suffix) = (at(start, START), kind.suffix());
        match kind {
            FileKind::Parquet => {
                format!("{}/{start_name}.{suffix}", self.partition(dataset, start))
            }
            _ => format!("{}/{}-{start_name}.{suffix}", self.live(), dataset.name()),
        }
    }

    /// The file of a dataset of a segment.
    pub(super) fn file(&self, segment: Segment, dataset: Dataset) -> String {
        let kind = if segment.closed { FileKind::Parquet } else { FileKind::Stream };
        self.path(dataset, segment.start, kind)
    }

    /// Every segment, the oldest first. One that is done, but whose streams are still there, counts
    /// as done.
    pub(super) fn segments(&self) -> io::Result<Vec<Segment>> {
        let mut closed = BTreeMap::new();
        // One that is done meanwhile is found twice then, rather than not at all.
        for (dataset, start, kind) in self.live_files()? {
            if (dataset, kind) == (Dataset::Events, FileKind::Stream) {
                closed.insert(start, false);
            }
        }
        // Without its events a segment can still be known by another dataset.
        for dataset in [Dataset::Checkpoints, Dataset::Connections, Dataset::Events] {
            for date in self.dir.names(dataset.name())? {
                let partition = format!("{}/{date}/host={}", dataset.name(), self.host);
                for name in self.dir.names(&partition)? {
                    let Some(start) = name.strip_suffix(".parquet").and_then(start_of) else {
                        continue;
                    };
                    // What lies in another day's directory was put there by somebody else.
                    if self.partition(dataset, start) != partition {
                        continue;
                    }
                    let is_closed = closed.entry(start).or_insert(true);
                    *is_closed |= dataset == Dataset::Events;
                }
            }
        }
        Ok(closed.into_iter().map(|(start, closed)| Segment { start, closed }).collect())
    }

    /// The files in `_live`: dataset, start and kind of each.
    pub(super) fn live_files(&self) -> io::Result<Vec<(Dataset, i64, FileKind)>> {
        let names = self.dir.names(&self.live())?;
        Ok(names.iter().filter_map(|name| parts(name)).collect())
    }

    /// Removes the streams of a segment, the events last: as long as they are there, so is the
    /// segment.
    pub(super) fn remove_streams(&self, start: i64) -> io::Result<()> {
        for dataset in Dataset::ALL {
            for kind in [FileKind::Partial, FileKind::Sums, FileKind::Stream] {
                self.dir.remove(&self.path(dataset, start, kind))?;
            }
        }
        Ok(())
    }

    /// Removes all files of a segment, and the directories in which nothing is left.
    pub(super) fn remove(&self, start: i64) -> io::Result<()> {
        self.remove_streams(start)?;
        for dataset in Dataset::ALL {
            self.dir.remove(&self.path(dataset, start, FileKind::Parquet))?;
            let partition = self.partition(dataset, start);
            self.dir.remove_empty_dir(&partition);
            if let Some((date, _)) = partition.rsplit_once('/') {
                self.dir.remove_empty_dir(date);
            }
        }
        Ok(())
    }

    /// Removes what a recorder has left that was ended in the midst: files that were not complete,
    /// and streams of segments that never began or are done.
    pub(super) fn tidy(&self) -> io::Result<()> {
        let segments = self.segments()?;
        for (dataset, start, kind) in self.live_files()? {
            let is_live = segments.contains(&Segment { start, closed: false });
            let is_kept = kind == FileKind::Damaged
                || is_live && matches!(kind, FileKind::Stream | FileKind::Sums);
            if !is_kept {
                self.dir.remove(&self.path(dataset, start, kind))?;
            }
        }
        Ok(())
    }
}

/// Reads the name of a file in `_live`: which dataset, when the segment starts, which kind of file.
fn parts(name: &str) -> Option<(Dataset, i64, FileKind)> {
    let (dataset, rest) = name.split_once('-')?;
    let (start, suffix) = rest.rsplit_once('.')?;
    let dataset = Dataset::ALL.into_iter().find(|known| known.name() == dataset)?;
    let kind = FileKind::ALL.into_iter().find(|known| known.suffix() == suffix)?;
    Some((dataset, start_of(start)?, kind))
}

/// The start that a name says, ns since 1970.
fn start_of(name: &str) -> Option<i64> {
    let parsed = strtime::parse(START, name).ok()?.to_datetime().ok()?;
    let moment = parsed.to_zoned(TimeZone::UTC).ok()?.timestamp();
    i64::try_from(moment.as_nanosecond()).ok()
}

fn at(nanoseconds: i64, format: &str) -> String {
    let moment = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
    moment.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct HostPart(PathBuf);

    impl HostPart {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("netmon-{name}-{}", std::process::id()));
            Self(path)
        }
    }

    impl Drop for HostPart {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_never_began_and_what_is_done_goes() {
        let directory = HostPart::new("tidy");
        let dir = Arc::new(Dir::create(&directory.0).expect("a directory"));
        let host = HostDir::new(dir, "web");
        let touch = |path: &str| {
            host.dir.make_dirs(path.rsplit_once('/').expect("a parent").0).expect("a directory");
            host.dir.create_new(path).expect("a file");
        };
        let (first, second, third) = (START_STEP, 2 * START_STEP, 3 * START_STEP);
        for dataset in Dataset::ALL {
            for (start, kind) in [
                (first, FileKind::Stream),
                (second, FileKind::Stream),
                (second, FileKind::Parquet),
                (third, FileKind::Partial),
            ] {
                touch(&host.path(dataset, start, kind));
            }
        }
        // A segment without events never began.
        let unbegun = 4 * START_STEP;
        touch(&host.path(Dataset::Checkpoints, unbegun, FileKind::Stream));
        touch(&host.path(Dataset::Events, unbegun, FileKind::Damaged));
        touch(&host.lock_path());
        host.tidy().expect("tidied");
        let segments = host.segments().expect("segments");
        let segment = |start, closed| Segment { start, closed };
        assert_eq!(segments, [segment(first, false), segment(second, true)]);
        let mut left = host.dir.names(&host.live()).expect("names");
        left.sort();
        assert_eq!(left.len(), Dataset::ALL.len() + 2, "{left:?}");
        assert!(left.contains(&"lock".to_owned()));
        host.remove(second).expect("removed");
        assert_eq!(host.segments().expect("segments"), [segment(first, false)]);
        assert!(host.dir.names("events").expect("names").is_empty());
        assert_eq!(hosts(&host.dir).expect("hosts"), [Arc::from("web")]);
    }

    /// Nothing below the directory is reached by a link, and nothing but a regular file is read.
    #[test]
    fn links_pipes_and_directories_are_no_files() {
        let directory = HostPart::new("links");
        let dir = Dir::create(&directory.0.join("journal")).expect("a directory");
        let outside = directory.0.join("outside");
        std::fs::create_dir(&outside).expect("a directory");
        std::fs::write(outside.join("file"), "theirs").expect("a file");
        let link = |to: &std::path::Path, name: &str| {
            std::os::unix::fs::symlink(to, dir.path_of(name)).expect("a link");
        };
        link(&outside, "away");
        link(&outside.join("file"), "file");
        link(&outside.join("new"), "new");
        assert!(matches!(dir.read("file"), Err(Malformed::NoFile)));
        assert!(dir.read("away/file").is_err());
        assert!(dir.create_new("away/new").is_err());
        assert!(dir.create_new("new").is_err());
        assert!(dir.lock_file("file").is_err());
        assert!(dir.make_dirs("away/more").is_err());
        assert!(dir.remove("away/file").is_err());
        assert!(dir.names("away").expect("names").is_empty());
        let pipe = dir.path_of("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a pipe");
        assert!(matches!(dir.read("pipe"), Err(Malformed::NoFile)));
        assert_eq!(std::fs::read(outside.join("file")).expect("a file"), b"theirs");
        assert_eq!(std::fs::read_dir(&outside).expect("names").count(), 1);
    }

    use super::super::error::Malformed;
}
