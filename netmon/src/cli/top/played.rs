//! The past that was played, so that a step costs little: the tables of several moments, and the
//! entries between these.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context, bail};

use crate::{
    cli::args::journal::{JournalArgs, now},
    core::{
        entry::Entry,
        filter::Filter,
        loss::Gap,
        time::{Anchor, TimeSpan, Wall},
    },
    journal::{HostJournal, JournalGap, Playback, ReplayItem},
    view::tui::{Jump, PastFrame, TIMELINE_PARTS, Timeline},
};

/// The least number of entries between two kept frames. Some ten milliseconds to play.
const STEP: usize = 10_000;
/// The most rows in all kept frames, some 300 bytes each.
const ROWS: usize = 400_000;
/// The most entries between kept frames, some 500 bytes each.
const ENTRIES: usize = 200_000;
/// Gaps are looked for in the minute around a moment, since the next moment is often near.
const NEAR: Duration = Duration::from_secs(30);

/// The journal as it was opened, and the part of it that was played.
pub(super) struct PlayedPast {
    journal: HostJournal,
    coverage: TimeSpan,
    filter: Filter,
    /// Kept frames in the order of time, each with the entries that follow.
    kept: VecDeque<KeptFrame>,
    /// The entries after the last kept frame that were not played yet.
    rest: Playback,
    ahead: Option<(Anchor, Entry)>,
    /// The frame after the last entry that was played.
    last: PastFrame,
    gaps: Option<(TimeSpan, Vec<JournalGap>)>,
}

struct KeptFrame {
    frame: PastFrame,
    /// The wall time of the last entry before the frame.
    reached: Wall,
    entries: Vec<(Anchor, ReplayItem)>,
}

/// Answers questions about the past.
pub(super) struct PastReader<'a> {
    args: &'a JournalArgs,
    played: Option<PlayedPast>,
}

impl<'a> PastReader<'a> {
    pub(super) fn new(args: &'a JournalArgs) -> Self {
        Self { args, played: None }
    }

    /// Returns the moment that a jump from another moment leads to.
    pub(super) fn frame(
        &mut self,
        from: Wall,
        jump: Jump,
        filter: &Filter,
    ) -> anyhow::Result<PastFrame> {
        if let Some(played) = self.played.as_mut().filter(|played| played.filter == *filter) {
            let journal = played.journal.clone();
            let frame = journal.enclosed(|| {
                let at = played.target(from, jump)?;
                played.frame_at(at)
            });
            if let Some(frame) = frame {
                return Ok(frame);
            }
        }
        // Opened anew, since a recorder that runs writes meanwhile. The thread that answers is not
        // enclosed: it asks other programs for names.
        let journal = self.args.open_one()?;
        let args = self.args;
        let (played, frame) = journal.enclosed(|| {
            let coverage = journal.span(now());
            let at = moment(args, &journal, coverage, from, jump)?;
            let mut played = PlayedPast::new(journal.clone(), coverage, filter.clone(), at);
            let frame = played.frame_at(at).context("nothing was recorded then")?;
            anyhow::Ok((played, frame))
        })?;
        self.played = Some(played);
        Ok(frame)
    }

    /// Returns the changes and gaps of a stretch of time.
    pub(super) fn timeline(&self, span: TimeSpan) -> Option<Timeline> {
        let journal = &self.played.as_ref()?.journal;
        Some(journal.enclosed(|| {
            let gaps = journal.gaps(span).into_iter().map(|gap| gap.span).collect();
            Timeline { span, counts: journal.changes_by_time(span, TIMELINE_PARTS), gaps }
        }))
    }
}

/// Returns the moment that a jump leads to, which the journal covers.
fn moment(
    args: &JournalArgs,
    journal: &HostJournal,
    coverage: TimeSpan,
    from: Wall,
    jump: Jump,
) -> anyhow::Result<Wall> {
    let at = match jump {
        Jump::Seconds(seconds) => by_seconds(from, seconds),
        Jump::To(moment) => moment,
        Jump::Last => coverage.to,
        Jump::Next => {
            let span = TimeSpan { from, to: coverage.to };
            let mut changes = journal.play(span).filter(|(_, entry)| entry.cookie().is_some());
            let next = changes.find(|(moment, _)| moment.wall > from);
            next.context("nothing happened after this, or nothing was recorded")?.0.wall
        }
        Jump::Previous => journal
            .last_change_before(from)
            .context("nothing happened before this, or nothing was recorded")?,
    };
    if at < coverage.from {
        bail!("the journal begins at {}", args.show(coverage.from));
    }
    if at > coverage.to {
        bail!("the journal ends at {}", args.show(coverage.to));
    }
    Ok(at)
}

fn by_seconds(from: Wall, seconds: i64) -> Wall {
    let time = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { from - time } else { from + time }
}

impl PlayedPast {
    /// Begins with the segment that has the moment `at`.
    fn new(journal: HostJournal, coverage: TimeSpan, filter: Filter, at: Wall) -> Self {
        let rest = journal.play(TimeSpan { from: at, to: coverage.to });
        let last = PastFrame::new(at, filter.clone());
        let kept = VecDeque::new();
        Self { journal, coverage, filter, kept, rest, ahead: None, last, gaps: None }
    }

    /// Returns the moment that a jump leads to, if that moment is known without a look at the
    /// journal.
    fn target(&mut self, from: Wall, jump: Jump) -> Option<Wall> {
        let at = match jump {
            Jump::Seconds(seconds) => by_seconds(from, seconds),
            Jump::To(moment) => moment,
            // More may have been recorded meanwhile.
            Jump::Last => return None,
            Jump::Next => self.next_change_after(from)?,
            Jump::Previous => self.last_change_before(from)?,
        };
        // What was not played is played from the beginning of a segment on, if that is nearer.
        let is_near = self.reached().is_some_and(|end| self.journal.beginning_of(at) <= end);
        (at <= self.coverage.to && is_near).then_some(at)
    }

    /// Returns the wall time of the last entry that was played.
    fn reached(&self) -> Option<Wall> {
        let kept = self.kept.back()?;
        Some(kept.entries.last().map_or(kept.reached, |(moment, _)| moment.wall))
    }

    fn changes(&self) -> impl DoubleEndedIterator<Item = Wall> {
        let entries = self.kept.iter().flat_map(|kept| &kept.entries);
        entries.filter(|(_, item)| is_change(item)).map(|(moment, _)| moment.wall)
    }

    fn last_change_before(&self, moment: Wall) -> Option<Wall> {
        self.changes().rev().find(|time| *time < moment)
    }

    fn next_change_after(&mut self, moment: Wall) -> Option<Wall> {
        if self.kept.front().is_none_or(|kept| kept.reached > moment) {
            return None;
        }
        if let Some(time) = self.changes().find(|time| *time > moment) {
            return Some(time);
        }
        loop {
            let (next, entry) = self.ahead.take().or_else(|| self.rest.next())?;
            let is_found = next.wall > moment && entry.cookie().is_some();
            if is_found {
                self.ahead = Some((next, entry));
                return Some(next.wall);
            }
            self.play(next, entry);
        }
    }

    /// Returns the frame of a moment; none if the moment is before all that was kept.
    fn frame_at(&mut self, at: Wall) -> Option<PastFrame> {
        self.last.head_for(at);
        while let Some((moment, entry)) = self.ahead.take().or_else(|| self.rest.next()) {
            if moment.wall > at {
                self.ahead = Some((moment, entry));
                break;
            }
            self.play(moment, entry);
        }
        let mut frame = if self.reached().is_some_and(|end| end <= at) {
            self.last.clone()
        } else {
            let kept = self.kept.iter().rev().find(|kept| kept.reached <= at)?;
            let mut frame = kept.frame.clone();
            frame.head_for(at);
            for (moment, item) in kept.entries.iter().take_while(|(moment, _)| moment.wall <= at) {
                frame.seen_at(*moment);
                frame.take(item);
            }
            frame
        };
        frame.head_for(at);
        frame.arrive();
        frame.coverage = self.coverage;
        frame.gaps = self.gaps_at(at);
        Some(frame)
    }

    /// Plays an entry, and keeps the entry or the frame after the entry.
    fn play(&mut self, moment: Anchor, entry: Entry) {
        let is_checkpoint = matches!(entry, Entry::Checkpoint { .. });
        let item = ReplayItem::Entry(entry);
        self.last.seen_at(moment);
        self.last.take(&item);
        let step = STEP.max(self.last.tables.current.len() / 2);
        match self.kept.back_mut() {
            // A checkpoint has a whole table: the frame after the checkpoint has the same.
            Some(kept) if !is_checkpoint && kept.entries.len() < step => {
                kept.entries.push((moment, item));
            }
            _ => {
                let frame = self.last.clone();
                self.kept.push_back(KeptFrame { frame, reached: moment.wall, entries: Vec::new() });
                self.forget();
            }
        }
    }

    /// Forgets the first frames if there are too many.
    fn forget(&mut self) {
        let sizes = self.kept.iter();
        let sizes = sizes.map(|kept| (kept.frame.tables.current.len(), kept.entries.len()));
        let (mut rows, mut entries) =
            sizes.fold((0, 0), |all, kept| (all.0 + kept.0, all.1 + kept.1));
        // One frame stays before the last, which has no entries yet.
        while self.kept.len() > 2
            && (rows > ROWS || entries > ENTRIES)
            && let Some(first) = self.kept.pop_front()
        {
            rows -= first.frame.tables.current.len();
            entries -= first.entries.len();
        }
    }

    fn gaps_at(&mut self, at: Wall) -> Vec<Gap> {
        let gaps = match &self.gaps {
            Some((span, gaps)) if span.contains(at) => gaps,
            _ => {
                let span = TimeSpan { from: at - NEAR, to: at + NEAR };
                let gaps = self.journal.gaps(span);
                &self.gaps.insert((span, gaps)).1
            }
        };
        gaps.iter().filter(|gap| gap.span.contains(at)).map(|gap| gap.gap).collect()
    }
}

fn is_change(item: &ReplayItem) -> bool {
    matches!(item, ReplayItem::Entry(entry) if entry.cookie().is_some())
}

#[cfg(test)]
mod tests;
