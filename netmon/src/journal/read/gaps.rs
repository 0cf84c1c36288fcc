//! Gaps of a journal: the gaps that its recorder reported, and the gaps between segments that do
//! not meet.

use std::{num::NonZeroUsize, sync::Arc, thread};

use super::blocks::{Beginning, Block, Blocks, read_blocks};
use crate::{
    core::{
        loss::{Gap, Loss},
        time::{Anchor, Mono, TimeSpan, Wall},
    },
    journal::{
        error::Result,
        intervals::{LATE, SILENT},
        layout::{HostDir, Segment},
        schema::{Dataset, GapReader},
    },
};

/// A stretch of time from which events are missing in a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalGap {
    /// The host whose events are missing.
    pub host: Arc<str>,
    /// The stretch of time in which events are missing.
    pub span: TimeSpan,
    /// The moment at which the gap was noticed, on both clocks.
    pub moment: Anchor,
    /// The number of missing events, and the reason.
    pub gap: Gap,
}

/// Two consecutive segments that do not meet. Connections of the first segment that the second
/// segment does not have ended between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Break {
    pub(super) before: Segment,
    pub(super) after: Segment,
}

/// Returns the gaps of a stretch of time, in the order in which they were noticed, and the pairs of
/// segments that do not meet. A hole after the last segment that can be read ends at `until`.
pub(super) fn gaps_and_breaks(
    host: &HostDir,
    segments: &[Segment],
    span: TimeSpan,
    until: Wall,
) -> (Vec<JournalGap>, Vec<Break>) {
    let mut finder = GapFinder { host: host.host(), span, gaps: Vec::new(), breaks: Vec::new() };
    let mut before: Option<(Segment, Wall)> = None;
    let mut was_unreadable = false;
    for (segment, facts) in segments.iter().zip(facts_of(host, segments, span)) {
        let Some(SegmentFacts { beginning, reported, end, is_damaged }) = facts else {
            was_unreadable = true;
            before.get_or_insert((*segment, segment.start));
            continue;
        };
        let clock = beginning.clock.unwrap_or_default();
        if let Some((last, end)) = before {
            let is_silent = segment.start.since(end) > SILENT;
            let is_unexplained = || is_silent && reported.is_empty();
            let joint = beginning.joint(last.start, was_unreadable, is_unexplained);
            if joint.is_hole {
                finder.hole(TimeSpan { from: end, to: segment.start }, clock);
            }
            if joint.is_break {
                finder.breaks.push(Break { before: last, after: *segment });
            }
        }
        reported.into_iter().for_each(|(span, moment, gap)| finder.push(span, moment, gap));
        was_unreadable = is_damaged;
        before = Some((*segment, end));
    }
    if let Some((_, end)) = before.filter(|_| was_unreadable) {
        finder.hole(TimeSpan { from: end, to: until.max(end) }, Anchor::default());
    }
    let GapFinder { mut gaps, breaks, .. } = finder;
    gaps.sort_by_key(|gap| (gap.span.to, gap.span.from));
    gaps.dedup();
    (gaps, breaks)
}

/// Reads the facts by which gaps are found, for each segment that can be read. Opens files on all
/// cores.
fn facts_of(host: &HostDir, segments: &[Segment], span: TimeSpan) -> Vec<Option<SegmentFacts>> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = segments.len().div_ceil(cores).max(LEAST_SHARE);
    let read = |segments: &[Segment]| -> Vec<Option<SegmentFacts>> {
        segments.iter().map(|segment| facts(host, *segment, span)).collect()
    };
    thread::scope(|scope| {
        let parts = segments.chunks(share).map(|part| scope.spawn(move || read(part)));
        let parts: Vec<_> = parts.collect();
        // A panic over a file is caught by the reader of the file, so no thread panics.
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

fn facts(host: &HostDir, segment: Segment, span: TimeSpan) -> Option<SegmentFacts> {
    let Blocks { blocks, beginning, errors } = read_blocks(host, segment, Dataset::Events).ok()?;
    let most = blocks.iter().map(|block| block.most).max();
    let end = most.unwrap_or(segment.start);
    let reported = reported(host, &blocks, span);
    let (end, is_damaged) = (end.max(segment.start), !errors.is_empty());
    Some(SegmentFacts { beginning, reported, end, is_damaged })
}

/// The least number of segments for which a thread is started.
const LEAST_SHARE: usize = 64;

/// The facts of a segment by which gaps are found.
struct SegmentFacts {
    beginning: Beginning,
    reported: Vec<(TimeSpan, Anchor, Gap)>,
    /// The last moment of the segment.
    end: Wall,
    /// A part of the segment could not be read.
    is_damaged: bool,
}

/// Returns the gaps that a segment's rows report, and a gap for each block that cannot be read.
fn reported(host: &HostDir, blocks: &[Block], span: TimeSpan) -> Vec<(TimeSpan, Anchor, Gap)> {
    let late = TimeSpan { to: span.to + LATE, ..span };
    let mut reported = Vec::new();
    for block in blocks {
        if !block.may_be_in(late) {
            continue;
        }
        let gaps = match gaps_of(block) {
            Ok(gaps) => gaps,
            Err(error) => {
                host.leave_out(&block.path, &error);
                let gap = Gap { from: Mono::BOOT, time: Mono::BOOT, count: 0, loss: Loss::Missing };
                let moment = Anchor { monotonic: Mono::BOOT, wall: block.most };
                vec![(moment, gap)]
            }
        };
        for (moment, gap) in gaps {
            let from = match gap.loss {
                Loss::Missing => block.least,
                _ => moment.wall_time(gap.from),
            };
            reported.push((TimeSpan { from, to: moment.wall }, moment, gap));
        }
    }
    reported
}

/// Returns the gaps that the rows of a block report.
pub(super) fn gaps_of(block: &Block) -> Result<Vec<(Anchor, Gap)>> {
    if !block.may_have(GapReader::TESTED) {
        return Ok(Vec::new());
    }
    let rows = block.load_rows_with(GapReader::TESTED, &GapReader::COLUMNS)?;
    Ok(GapReader::new(&rows)?.gaps())
}

struct GapFinder<'a> {
    host: &'a Arc<str>,
    span: TimeSpan,
    gaps: Vec<JournalGap>,
    breaks: Vec<Break>,
}

impl GapFinder<'_> {
    /// Adds a gap for the rows that are missing in a stretch of time. `clock` ties the clocks.
    fn hole(&mut self, span: TimeSpan, clock: Anchor) {
        let TimeSpan { from, to } = span;
        let clock = |wall| clock.monotonic_time(wall);
        let gap = Gap { from: clock(from), time: clock(to), count: 0, loss: Loss::Missing };
        self.push(span, Anchor { monotonic: clock(to), wall: to }, gap);
    }

    fn push(&mut self, span: TimeSpan, moment: Anchor, gap: Gap) {
        if span.to >= self.span.from && span.from <= self.span.to {
            self.gaps.push(JournalGap { host: Arc::clone(self.host), span, moment, gap });
        }
    }
}
