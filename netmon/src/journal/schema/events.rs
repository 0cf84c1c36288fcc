//! The dataset `events`: a row for each change of the table.

mod reader;

use std::{sync::Arc, time::Duration};

use arrow_array::{
    RecordBatch,
    types::{Int64Type, TimestampMicrosecondType},
};
use arrow_schema::ArrowError;

use super::{
    NumberNames,
    column::{BatchColumns, Flags, Numbers, WordBuilder, signed},
    ending::EndingBuilder,
    moment::MomentBuilder,
    party::PartyBuilder,
    place::PlaceBuilder,
};
use crate::core::{
    change::{Change, Step},
    connection::Connection,
    event::Opening,
    loss::Loss,
    tcp::TcpState,
    time::{Anchor, Mono},
};

pub(in crate::journal) use reader::EventReader;

/// The kind of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) enum EventKind {
    /// A connection changed its state.
    Transition,
    /// A dump found a connection.
    Connection,
    /// A dump or an accept named the process.
    Owner,
    /// The clocks were compared.
    Anchor,
    /// Events are missing.
    Lost,
    /// A comparison with the kernel corrected rows.
    Resync,
}

impl EventKind {
    /// Every kind.
    pub(in crate::journal) const ALL: [Self; 6] =
        [Self::Transition, Self::Connection, Self::Owner, Self::Anchor, Self::Lost, Self::Resync];

    /// Returns the word for the kind in the column `type`.
    pub(in crate::journal) const fn name(self) -> &'static str {
        match self {
            Self::Transition => "transition",
            Self::Connection => "connection",
            Self::Owner => "owner",
            Self::Anchor => "anchor",
            Self::Lost => "lost",
            Self::Resync => "resync",
        }
    }
}

/// Builds rows of the dataset.
pub(in crate::journal) struct EventBuilder {
    moments: MomentBuilder,
    kind: WordBuilder,
    places: PlaceBuilder,
    old_state: WordBuilder,
    new_state: WordBuilder,
    state: WordBuilder,
    parties: PartyBuilder,
    opens: Flags,
    listener: Numbers<Int64Type>,
    endings: EndingBuilder,
    orphan: Flags,
    inferred: Flags,
    corrected: Flags,
    late: Flags,
    initial: Flags,
    reason: WordBuilder,
    gap_from: Numbers<TimestampMicrosecondType>,
    lost: Numbers<Int64Type>,
    found: Numbers<Int64Type>,
    moved: Numbers<Int64Type>,
    ended: Numbers<Int64Type>,
    distance: Numbers<Int64Type>,
}

impl EventBuilder {
    /// Returns a builder without rows, for the boot with the id `boot`.
    pub(in crate::journal) fn new(boot: &Arc<str>) -> Self {
        let states = || WordBuilder::of(TcpState::ALL.map(TcpState::name));
        Self {
            moments: MomentBuilder::ordered(boot),
            kind: WordBuilder::of(EventKind::ALL.map(EventKind::name)),
            places: PlaceBuilder::new(),
            old_state: states(),
            new_state: states(),
            state: states(),
            parties: PartyBuilder::new(),
            opens: Flags::default(),
            listener: Numbers::default(),
            endings: EndingBuilder::new(),
            orphan: Flags::default(),
            inferred: Flags::default(),
            corrected: Flags::default(),
            late: Flags::default(),
            initial: Flags::default(),
            reason: WordBuilder::of(Loss::ALL.map(Loss::name)),
            gap_from: Numbers::default(),
            lost: Numbers::default(),
            found: Numbers::default(),
            moved: Numbers::default(),
            ended: Numbers::default(),
            distance: Numbers::default(),
        }
    }

    /// Continues the numbering of rows of the batch before.
    pub(in crate::journal) fn go_on_after(&mut self, before: &mut Self) {
        self.moments.go_on_after(&mut before.moments);
    }

    pub(in crate::journal) fn len(&self) -> usize {
        self.moments.len()
    }

    /// Adds a row for a change. Returns the moment of the row, `CLOCK_MONOTONIC`, ns; nothing if
    /// the change has no row: a finished comparison with the kernel, or the name of a host.
    pub(in crate::journal) fn push(&mut self, anchor: Anchor, change: &Change<'_>) -> Option<Mono> {
        let row = self.len();
        let (mut boot, mut is_late) = (None, false);
        let (kind, time) = match change {
            Change::Opened(step)
            | Change::StateChanged(step)
            | Change::Closed(step)
            | Change::Expired(step) => {
                self.step(row, step);
                boot = boot_of(step.connection);
                is_late = step.is_late();
                (EventKind::Transition, step.transition.time)
            }
            Change::Found { time, connection, initial } => {
                self.places.put(row, connection, &connection.tuple);
                // The kernel's numbers of states begin with 1.
                self.state.put(row, Some(connection.state as usize - 1));
                self.parties.put(row, connection);
                self.initial.put(row, *initial);
                (EventKind::Connection, *time)
            }
            Change::Owned { time, connection } => {
                self.places.put(row, connection, &connection.tuple);
                self.parties.put(row, connection);
                (EventKind::Owner, *time)
            }
            Change::Anchor(anchor) => (EventKind::Anchor, anchor.monotonic),
            Change::Gap(gap) => {
                self.reason.put(row, Some(gap.loss as usize));
                self.gap_from.put(row, Some(anchor.wall_time(gap.from).as_micros()));
                self.lost.put(row, Some(signed(gap.count)).filter(|count| *count > 0));
                (EventKind::Lost, gap.time)
            }
            Change::Resync(resync) => {
                self.found.put(row, Some(signed(resync.found)));
                self.moved.put(row, Some(signed(resync.moved)));
                self.ended.put(row, Some(signed(resync.ended)));
                self.distance.put(row, resync.distance.map(micros));
                (EventKind::Resync, resync.time)
            }
            Change::Reconciled { .. } | Change::Host(_) => return None,
        };
        self.kind.put(row, Some(kind as usize));
        self.moments.push(anchor, time, boot, is_late);
        Some(time)
    }

    #[inline]
    fn step(&mut self, row: usize, step: &Step<'_>) {
        let Step { transition: t, connection, .. } = step;
        self.places.put(row, connection, &t.tuple);
        self.old_state.put(row, Some(t.old as usize - 1));
        self.new_state.put(row, Some(t.new as usize - 1));
        self.parties.put(row, connection);
        self.opens.put(row, t.opening != Opening::None);
        if let Opening::FromListener(listener) = t.opening {
            self.listener.put(row, listener.map(|id| id.get().cast_signed()));
        }
        self.endings.put(row, step);
        self.orphan.put(row, t.orphan);
        self.inferred.put(row, t.inferred);
        self.corrected.put(row, step.corrected);
        self.late.put(row, step.is_late());
    }

    pub(in crate::journal) fn finish(
        &mut self,
        names: &mut dyn NumberNames,
    ) -> std::result::Result<RecordBatch, ArrowError> {
        let rows = self.len();
        let mut columns = BatchColumns::default();
        let to = &mut columns;
        self.moments.finish(to);
        to.always("type", self.kind.finish(rows));
        self.places.finish(rows, names, to);
        to.some("old_state", self.old_state.finish(rows));
        to.some("new_state", self.new_state.finish(rows));
        to.some("state", self.state.finish(rows));
        self.parties.finish(rows, names, to);
        to.always("opens", self.opens.finish(rows));
        to.some("listener", self.listener.finish(rows));
        self.endings.finish(rows, to);
        to.always("orphan", self.orphan.finish(rows));
        to.always("inferred", self.inferred.finish(rows));
        to.always("corrected", self.corrected.finish(rows));
        to.always("late", self.late.finish(rows));
        to.always("initial", self.initial.finish(rows));
        to.some("reason", self.reason.finish(rows));
        to.times("gap_from", self.gap_from.finish(rows), true);
        to.some("lost", self.lost.finish(rows));
        to.some("found", self.found.finish(rows));
        to.some("moved", self.moved.finish(rows));
        to.some("ended", self.ended.finish(rows));
        to.some("distance_us", self.distance.finish(rows));
        columns.batch()
    }
}

/// Returns whole microseconds.
fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the boot of a row that comes from a journal. A row of the current recording has no boot.
pub(super) fn boot_of(row: &Connection) -> Option<&Arc<str>> {
    row.labels.as_ref()?.boot_id.as_ref()
}
