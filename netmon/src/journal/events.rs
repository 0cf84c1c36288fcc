//! The dataset `events`: what happened, a row for each change of the table.

use arrow_array::{
    RecordBatch,
    types::{TimestampNanosecondType, UInt64Type},
};
use arrow_schema::ArrowError;

use super::{
    columns::{Columns, Counts, Flags, Moments, Numbers, Parties, Places, Texts, Words},
    item::Item,
};
use crate::core::{
    connection::{Connection, Resync},
    errno,
    event::{Anchor, Gap, Loss, Opening, Recorded, ResetSide, Transition},
    tcp::TcpState,
    verdict::Verdict,
};

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Transition,
    Connection,
    Expired,
    Owner,
    Anchor,
    Lost,
    Resync,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Transition,
        Self::Connection,
        Self::Expired,
        Self::Owner,
        Self::Anchor,
        Self::Lost,
        Self::Resync,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Transition => "transition",
            Self::Connection => "connection",
            Self::Expired => "expired",
            Self::Owner => "owner",
            Self::Anchor => "anchor",
            Self::Lost => "lost",
            Self::Resync => "resync",
        }
    }
}

/// `errno` as its name, or as a number where it has none.
pub(super) fn errno_text(errno: u8) -> String {
    errno::name(errno).map_or_else(|| errno.to_string(), ToOwned::to_owned)
}

/// Rows on their way into arrays.
pub(super) struct Events {
    moments: Moments,
    kind: Words,
    places: Places,
    old_state: Words,
    new_state: Words,
    parties: Parties,
    opens: Flags,
    listener: Numbers<UInt64Type>,
    verdict: Words,
    errno: Texts<u8>,
    reset: Words,
    counts: Counts,
    orphan: Flags,
    inferred: Flags,
    corrected: Flags,
    late: Flags,
    initial: Flags,
    reason: Words,
    from: Numbers<TimestampNanosecondType>,
    count: Numbers<UInt64Type>,
    found: Numbers<UInt64Type>,
    moved: Numbers<UInt64Type>,
    ended: Numbers<UInt64Type>,
    rows: usize,
}

impl Events {
    pub(super) fn new() -> Self {
        let states = || Words::of(TcpState::ALL.map(TcpState::name));
        Self {
            moments: Moments::default(),
            kind: Words::of(Kind::ALL.map(Kind::name)),
            places: Places::new(),
            old_state: states(),
            new_state: states(),
            parties: Parties::new(),
            opens: Flags::default(),
            listener: Numbers::default(),
            verdict: Words::of(Verdict::ALL.map(Verdict::name)),
            errno: Texts::new(),
            reset: Words::of(ResetSide::ALL.map(ResetSide::name)),
            counts: Counts::default(),
            orphan: Flags::default(),
            inferred: Flags::default(),
            corrected: Flags::default(),
            late: Flags::default(),
            initial: Flags::default(),
            reason: Words::of(Loss::ALL.map(Loss::name)),
            from: Numbers::default(),
            count: Numbers::default(),
            found: Numbers::default(),
            moved: Numbers::default(),
            ended: Numbers::default(),
            rows: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn push(&mut self, anchor: Anchor, item: &Item) {
        self.rows += 1;
        match item {
            Item::Step(recorded) | Item::Closed(recorded, _) => self.step(anchor, recorded),
            Item::Found { time, connection, initial } => {
                self.moments.push(anchor, *time);
                self.row(Kind::Connection, connection);
                self.rest(None, *initial, None, None);
            }
            Item::Owned { time, cookie, tuple, owner, evidence } => {
                self.moments.push(anchor, *time);
                self.kind.push(Some(Kind::Owner as usize));
                self.places.push(Some((*cookie, tuple)));
                self.states(None, None);
                self.parties.push(None, Some(owner), Some(*evidence));
                self.rest(None, false, None, None);
            }
            Item::Anchor(anchor) => self.bare(Kind::Anchor, *anchor, anchor.monotonic, None, None),
            Item::Lost(gap) => {
                let from = anchor.wall_time(gap.from);
                self.bare(Kind::Lost, anchor, gap.time, Some((gap, from)), None);
            }
            Item::Resync(resync) => {
                self.bare(Kind::Resync, anchor, resync.time, None, Some(resync));
            }
        }
    }

    fn step(&mut self, anchor: Anchor, recorded: &Recorded) {
        let t = &recorded.transition;
        self.moments.push(anchor, t.time);
        let kind = if recorded.is_half_open_end() { Kind::Expired } else { Kind::Transition };
        self.kind.push(Some(kind as usize));
        self.places.push(Some((t.cookie, &t.tuple)));
        self.states(Some(t.old), Some(t.new));
        self.parties.push(recorded.direction, recorded.owner.as_deref(), recorded.evidence);
        self.rest(Some(recorded), false, None, None);
    }

    fn row(&mut self, kind: Kind, row: &Connection) {
        self.kind.push(Some(kind as usize));
        self.places.push(Some((row.id.cookie, &row.tuple)));
        self.states(None, Some(row.state));
        self.parties.push(row.direction, row.owner.as_deref(), row.evidence);
    }

    /// A row that is of no connection.
    fn bare(
        &mut self,
        kind: Kind,
        anchor: Anchor,
        time: u64,
        gap: Option<(&Gap, i64)>,
        resync: Option<&Resync>,
    ) {
        self.moments.push(anchor, time);
        self.kind.push(Some(kind as usize));
        self.places.push(None);
        self.states(None, None);
        self.parties.push(None, None, None);
        self.rest(None, false, gap, resync);
    }

    fn states(&mut self, old: Option<TcpState>, new: Option<TcpState>) {
        // The kernel's numbers begin with 1.
        self.old_state.push(old.map(|state| state as usize - 1));
        self.new_state.push(new.map(|state| state as usize - 1));
    }

    fn rest(
        &mut self,
        step: Option<&Recorded>,
        initial: bool,
        gap: Option<(&Gap, i64)>,
        resync: Option<&Resync>,
    ) {
        let t = step.map(|step| &step.transition);
        let is = |flag: fn(&Transition) -> bool| t.is_some_and(flag);
        self.opens.push(is(|t| t.opening != Opening::None));
        self.listener.push(t.and_then(|t| match t.opening {
            Opening::FromListener(listener) => listener,
            _ => None,
        }));
        self.verdict.push(step.and_then(|step| step.verdict).map(|verdict| verdict as usize));
        self.errno.push(t.and_then(|t| t.errno).as_ref(), |errno| errno_text(*errno));
        self.reset.push(t.and_then(|t| t.reset).map(|side| side as usize));
        self.counts.push(t.and_then(|t| t.totals.as_ref()));
        self.orphan.push(is(|t| t.orphan));
        self.inferred.push(is(|t| t.inferred));
        self.corrected.push(step.is_some_and(|step| step.corrected));
        self.late.push(step.is_some_and(|step| step.late));
        self.initial.push(initial);
        self.reason.push(gap.map(|(gap, _)| gap.loss as usize));
        self.from.push(gap.map(|(_, from)| from));
        let count = gap.map(|(gap, _)| gap.count).filter(|count| *count > 0);
        self.count.push(count);
        self.found.push(resync.map(|resync| resync.found));
        self.moved.push(resync.map(|resync| resync.moved));
        self.ended.push(resync.map(|resync| resync.ended));
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let mut columns = Columns::default();
        let to = &mut columns;
        self.moments.finish(to);
        to.always("type", self.kind.finish());
        self.places.finish(to);
        to.some("old_state", self.old_state.finish());
        to.some("new_state", self.new_state.finish());
        self.parties.finish(to);
        to.always("opens", self.opens.finish());
        to.some("listener", self.listener.finish());
        to.some("verdict", self.verdict.finish());
        to.some("errno", self.errno.finish());
        to.some("reset", self.reset.finish());
        self.counts.finish(to);
        to.always("orphan", self.orphan.finish());
        to.always("inferred", self.inferred.finish());
        to.always("corrected", self.corrected.finish());
        to.always("late", self.late.finish());
        to.always("initial", self.initial.finish());
        to.some("reason", self.reason.finish());
        to.times("from", self.from.finish(), true);
        to.some("count", self.count.finish());
        to.some("found", self.found.finish());
        to.some("moved", self.moved.finish());
        to.some("ended", self.ended.finish());
        columns.batch()
    }
}
