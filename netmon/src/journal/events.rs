//! The dataset `events`: what happened, a row for each change of the table.

use arrow_array::{
    RecordBatch,
    types::{TimestampNanosecondType, UInt64Type},
};
use arrow_schema::ArrowError;

use super::columns::{Columns, Endings, Flags, Moments, Numbers, Parties, Places, Words};
use crate::core::{
    connection::{Change, Step},
    event::{Anchor, Loss, Opening},
    tcp::TcpState,
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
    endings: Endings,
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
            endings: Endings::new(),
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
        }
    }

    pub(super) fn len(&self) -> usize {
        self.moments.len()
    }

    /// Adds what is kept of a change: nothing of a comparison that corrected nothing. Its moment, if it was added.
    pub(super) fn push(&mut self, anchor: Anchor, change: &Change<'_>) -> Option<u64> {
        let row = self.len();
        let (kind, time) = match change {
            Change::Opened(step)
            | Change::Moved(step)
            | Change::Closed(step)
            | Change::Expired(step) => {
                self.step(row, step);
                let is_half_open_end = step.transition.is_half_open_end(step.verdict);
                let kind = if is_half_open_end { Kind::Expired } else { Kind::Transition };
                (kind, step.transition.time)
            }
            Change::Found { time, connection, initial } => {
                self.places.put(row, connection.id.cookie, &connection.tuple);
                // The kernel's numbers begin with 1.
                self.new_state.put(row, Some(connection.state as usize - 1));
                self.parties.put(row, connection);
                self.initial.put(row, *initial);
                (Kind::Connection, *time)
            }
            Change::Owned { time, connection } => {
                self.places.put(row, connection.id.cookie, &connection.tuple);
                self.parties.put(row, connection);
                (Kind::Owner, *time)
            }
            Change::Anchor(anchor) => (Kind::Anchor, anchor.monotonic),
            Change::Gap(gap) => {
                self.reason.put(row, Some(gap.loss as usize));
                self.from.put(row, Some(anchor.wall_time(gap.from)));
                self.count.put(row, Some(gap.count).filter(|count| *count > 0));
                (Kind::Lost, gap.time)
            }
            Change::Resync(resync) => {
                self.found.put(row, Some(resync.found));
                self.moved.put(row, Some(resync.moved));
                self.ended.put(row, Some(resync.ended));
                (Kind::Resync, resync.time)
            }
            Change::Reconciled { .. } => return None,
        };
        self.kind.put(row, Some(kind as usize));
        self.moments.push(anchor, time);
        Some(time)
    }

    #[inline]
    fn step(&mut self, row: usize, step: &Step<'_>) {
        let Step { transition: t, connection, .. } = step;
        self.places.put(row, t.cookie, &t.tuple);
        self.old_state.put(row, Some(t.old as usize - 1));
        self.new_state.put(row, Some(t.new as usize - 1));
        self.parties.put(row, connection);
        self.opens.put(row, t.opening != Opening::None);
        if let Opening::FromListener(listener) = t.opening {
            self.listener.put(row, listener);
        }
        self.endings.put(row, step);
        self.orphan.put(row, t.orphan);
        self.inferred.put(row, t.inferred);
        self.corrected.put(row, step.corrected);
        self.late.put(row, connection.state != t.new);
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.len();
        let mut columns = Columns::default();
        let to = &mut columns;
        self.moments.finish(to);
        to.always("type", self.kind.finish(rows));
        self.places.finish(rows, to);
        to.some("old_state", self.old_state.finish(rows));
        to.some("new_state", self.new_state.finish(rows));
        self.parties.finish(rows, to);
        to.always("opens", self.opens.finish(rows));
        to.some("listener", self.listener.finish(rows));
        self.endings.finish(rows, to);
        to.always("orphan", self.orphan.finish(rows));
        to.always("inferred", self.inferred.finish(rows));
        to.always("corrected", self.corrected.finish(rows));
        to.always("late", self.late.finish(rows));
        to.always("initial", self.initial.finish(rows));
        to.some("reason", self.reason.finish(rows));
        to.times("from", self.from.finish(rows), true);
        to.some("count", self.count.finish(rows));
        to.some("found", self.found.finish(rows));
        to.some("moved", self.moved.finish(rows));
        to.some("ended", self.ended.finish(rows));
        columns.batch()
    }
}
