//! The places and names of a journal's files.
//!
//! ```text
//! DIR/DATASET/date=2026-11-23/host=web1/START.parquet     segments that are done
//! DIR/_live/host=web1/DATASET-START.arrows                the segment that is being written
//! DIR/_live/host=web1/DATASET-START.sums                  checksums of it
//! DIR/_live/host=web1/lock                                one recorder at a time
//! ```
//!
//! A segment is a checkpoint of the whole table and the events after the checkpoint. A segment has
//! one file for each dataset, named by the start of the segment (UTC). Query engines skip names
//! that begin with `_`, so such an engine takes each `DIR/DATASET` as a table.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use jiff::{fmt::strtime, tz::TimeZone};

use super::{dir::Dir, error::Malformed, schema::Dataset};
use crate::core::time::Wall;

const LIVE: &str = "_live";
/// The format of a start in a name. Such names sort by time.
const START: &str = "%Y%m%dT%H%M%S%.6fZ";
/// The distance between two starts that have different names.
pub(super) const START_STEP: Duration = Duration::from_micros(1);

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A dataset of a segment that is done.
    Parquet,
    /// A dataset of the segment that is being written.
    Stream,
    /// Checksums of a stream.
    Sums,
    /// A file that is not complete yet. No reader opens such a file.
    Partial,
    /// A stream of which only a part could be read, kept for a program that can read more of it.
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

/// A segment in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The start, in whole microseconds.
    pub(super) start: Wall,
    /// The segment is done, and its files are Parquet.
    pub(super) closed: bool,
}

/// The part of a journal that belongs to one host.
#[derive(Debug)]
pub(super) struct HostDir {
    pub(super) dir: Arc<Dir>,
    host: Arc<str>,
    /// The lock, held while this process records.
    pub(super) lock: Option<File>,
    /// The number of files that were read so far.
    pub(super) files_read: AtomicU64,
    /// The messages about files that are left out, so that each message is logged once.
    left_out: Mutex<HashSet<String>>,
}

/// Returns the names of the hosts of a journal, sorted.
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
        // A path and the name of a partition can hold only these characters.
        let host = host.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "_");
        Self {
            dir,
            host: host.into(),
            lock: None,
            files_read: AtomicU64::new(0),
            left_out: Mutex::default(),
        }
    }

    /// Logs that a file is left out because of `error`, unless the same message was logged before.
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

    /// Returns the directory of the segment that is being written.
    pub(super) fn live(&self) -> String {
        format!("{LIVE}/host={}", self.host)
    }

    pub(super) fn lock_path(&self) -> String {
        format!("{}/lock", self.live())
    }

    /// Returns the directory of a dataset for the day on which a segment starts.
    pub(super) fn partition(&self, dataset: Dataset, start: Wall) -> String {
        format!("{}/{}/host={}", dataset.name(), at(start, "date=%Y-%m-%d"), self.host)
    }

    pub(super) fn path(&self, dataset: Dataset, start: Wall, kind: FileKind) -> String {
        let (start_name, suffix) = (at(start, START), kind.suffix());
        match kind {
            FileKind::Parquet => {
                format!("{}/{start_name}.{suffix}", self.partition(dataset, start))
            }
            _ => format!("{}/{}-{start_name}.{suffix}", self.live(), dataset.name()),
        }
    }

    /// Returns the path of a segment's file of a dataset.
    pub(super) fn file(&self, segment: Segment, dataset: Dataset) -> String {
        let kind = if segment.closed { FileKind::Parquet } else { FileKind::Stream };
        self.path(dataset, segment.start, kind)
    }

    /// Returns every segment, the oldest first. A segment that is done counts as done even while
    /// its streams still exist.
    pub(super) fn segments(&self) -> io::Result<Vec<Segment>> {
        let mut closed = BTreeMap::new();
        // Streams come first: a segment that becomes Parquet meanwhile is then found twice, rather
        // than not at all.
        for (dataset, start, kind) in self.live_files()? {
            if (dataset, kind) == (Dataset::Events, FileKind::Stream) {
                closed.insert(start, false);
            }
        }
        // A segment without its events can still be known by another dataset.
        for dataset in [Dataset::Checkpoints, Dataset::Connections, Dataset::Events] {
            for date in self.dir.names(dataset.name())? {
                let partition = format!("{}/{date}/host={}", dataset.name(), self.host);
                for name in self.dir.names(&partition)? {
                    let Some(start) = name.strip_suffix(".parquet").and_then(start_of) else {
                        continue;
                    };
                    // netmon puts no file into the directory of another day.
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

    /// Returns the dataset, the start and the kind of each file in `_live`.
    pub(super) fn live_files(&self) -> io::Result<Vec<(Dataset, Wall, FileKind)>> {
        let names = self.dir.names(&self.live())?;
        Ok(names.iter().filter_map(|name| parts(name)).collect())
    }

    /// Removes the streams of a segment, the events last: the segment exists as long as its events.
    pub(super) fn remove_streams(&self, start: Wall) -> io::Result<()> {
        for dataset in Dataset::ALL {
            for kind in [FileKind::Partial, FileKind::Sums, FileKind::Stream] {
                self.dir.remove(&self.path(dataset, start, kind))?;
            }
        }
        Ok(())
    }

    /// Removes all files of a segment, and the directories that become empty.
    pub(super) fn remove(&self, start: Wall) -> io::Result<()> {
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

    /// Removes the leftovers of a recorder that was killed: incomplete files, and streams of
    /// segments that never began or are done.
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

/// Parses the name of a file in `_live`: the dataset, the start of the segment and the kind of the
/// file.
fn parts(name: &str) -> Option<(Dataset, Wall, FileKind)> {
    let (dataset, rest) = name.split_once('-')?;
    let (start, suffix) = rest.rsplit_once('.')?;
    let dataset = Dataset::ALL.into_iter().find(|known| known.name() == dataset)?;
    let kind = FileKind::ALL.into_iter().find(|known| known.suffix() == suffix)?;
    Some((dataset, start_of(start)?, kind))
}

/// Parses the start in a name.
fn start_of(name: &str) -> Option<Wall> {
    let parsed = strtime::parse(START, name).ok()?.to_datetime().ok()?;
    let moment = parsed.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Wall::from_timestamp(moment)
}

fn at(moment: Wall, format: &str) -> String {
    moment.timestamp().strftime(format).to_string()
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
    fn tidying_removes_unbegun_segments_and_finished_streams() {
        let directory = HostPart::new("tidy");
        let dir = Arc::new(Dir::create(&directory.0).expect("a directory"));
        let host = HostDir::new(dir, "web");
        let touch = |path: &str| {
            host.dir.make_dirs(path.rsplit_once('/').expect("a parent").0).expect("a directory");
            host.dir.create_new(path).expect("a file");
        };
        let [first, second, third, unbegun] = [1, 2, 3, 4].map(Wall::from_micros);
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

    /// Links are not followed below the directory, and only regular files are read.
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
