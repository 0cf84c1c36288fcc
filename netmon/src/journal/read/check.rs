//! Checks that a journal is whole: compares every checksum, and looks for each segment that another
//! segment names.

use std::sync::{Arc, atomic::Ordering};

use super::{
    blocks::{self, path_of},
    ipc_reader::IpcReader,
    journal::{HostJournal, Journal},
    parquet_file::ParquetFile,
};
use crate::journal::{
    error::Malformed,
    layout::{FileKind, Segment},
    schema::{Dataset, FOOTER_SUM_KEY, PREVIOUS_KEY},
};

/// A problem of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the file that has the problem.
    pub path: Arc<str>,
    /// The description, as a sentence.
    pub text: String,
}

/// Counts of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The number of segments, of all hosts.
    pub segments: u64,
    /// The number of files.
    pub files: u64,
    /// The number of problems.
    pub problems: u64,
}

impl Journal {
    /// Compares every file with its checksums, and each segment with the metadata of the next
    /// segment. Calls `report` for each problem.
    pub fn check(&self, mut report: impl FnMut(&Problem)) -> Checked {
        let mut checked = Checked::default();
        for host in self.hosts() {
            let mut check = HostCheck { host, checked: &mut checked, report: &mut report };
            let mut before = None;
            for segment in &host.segments {
                check.checked.segments += 1;
                before = Some(check.segment(*segment, before.as_ref()));
            }
            check.report_damaged();
        }
        checked
    }
}

struct HostCheck<'a> {
    host: &'a HostJournal,
    checked: &'a mut Checked,
    report: &'a mut dyn FnMut(&Problem),
}

/// A segment, and the checksum of its events' footer, if its events have one.
struct CheckedSegment {
    segment: Segment,
    footer_sum: Option<String>,
}

impl HostCheck<'_> {
    fn problem(&mut self, segment: Segment, dataset: Dataset, text: String) {
        self.checked.problems += 1;
        (self.report)(&Problem { path: path_of(&self.host.host, segment, dataset), text });
    }

    fn segment(&mut self, segment: Segment, before: Option<&CheckedSegment>) -> CheckedSegment {
        let mut checked = CheckedSegment { segment, footer_sum: None };
        for dataset in Dataset::ALL {
            self.checked.files += 1;
            self.host.host.files_read.fetch_add(1, Ordering::Relaxed);
            let result = if segment.closed {
                blocks::file(&self.host.host, segment.start, dataset).and_then(|file| {
                    if dataset == Dataset::Events {
                        checked.footer_sum = file.key(FOOTER_SUM_KEY).map(str::to_owned);
                        self.compare(segment, &file, before);
                    }
                    file.check()
                })
            } else {
                self.stream(segment, dataset)
            };
            if let Err(error) = result {
                self.problem(segment, dataset, error.to_string());
            }
        }
        checked
    }

    /// Compares the previous segment that a file names with the segment that exists.
    fn compare(&mut self, segment: Segment, file: &ParquetFile, before: Option<&CheckedSegment>) {
        let Some(previous) = file.key(PREVIOUS_KEY).filter(|previous| !previous.is_empty()) else {
            return;
        };
        let (start, sum) = previous.split_once(' ').unwrap_or((previous, ""));
        // The oldest segments are removed first: the oldest segment that exists may name a removed
        // segment.
        let Some(before) = before else { return };
        if start.parse() != Ok(before.segment.start.as_nanos()) {
            let text = format!("the segment before it, of {}, is missing", name_of(start));
            return self.problem(segment, Dataset::Events, text);
        }
        if let Some(known) = &before.footer_sum
            && !sum.is_empty()
            && known != sum
        {
            let text = "it was exchanged since the segment after it was written".to_owned();
            self.problem(before.segment, Dataset::Events, text);
        }
    }

    fn stream(&mut self, segment: Segment, dataset: Dataset) -> Result<(), Malformed> {
        let mut reader = match IpcReader::open(&self.host.host, dataset, segment.start) {
            Ok(reader) => reader,
            // The stream has only just begun.
            Err(error) if error.is_cut_short() => return Ok(()),
            Err(error) => return Err(error),
        };
        for batch in reader.by_ref() {
            if let Err(error) = batch {
                self.problem(segment, dataset, error.to_string());
            }
        }
        Ok(())
    }

    /// Reports the streams that could be read only in part and were kept.
    fn report_damaged(&mut self) {
        let host = Arc::clone(&self.host.host);
        for (dataset, start, kind) in host.live_files().unwrap_or_default() {
            if kind == FileKind::Damaged {
                let path = host.dir.path_of(&host.path(dataset, start, kind));
                self.checked.problems += 1;
                (self.report)(&Problem {
                    path: path.display().to_string().into(),
                    text: "it could be read only in part when its segment was done, and was kept"
                        .to_owned(),
                });
            }
        }
    }
}

/// Returns a start in nanoseconds as text.
fn name_of(start: &str) -> String {
    let moment = start
        .parse()
        .ok()
        .and_then(|nanos: i64| jiff::Timestamp::from_nanosecond(nanos.into()).ok());
    moment.map_or_else(|| start.to_owned(), |moment| moment.to_string())
}
