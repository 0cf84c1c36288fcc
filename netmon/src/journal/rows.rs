//! The datasets `checkpoints`, the whole table at a moment, and `connections`, those that ended.

use arrow_array::{
    RecordBatch, StringArray,
    types::{TimestampNanosecondType, UInt64Type},
};
use arrow_schema::ArrowError;

use super::columns::{Columns, Endings, Flags, Moments, Numbers, Parties, Places, Words};
use crate::core::{
    connection::{Connection, Step},
    event::Anchor,
    tcp::TcpState,
    verdict::{FirstFin, Verdict},
};

/// Rows of a checkpoint on their way into arrays.
pub(super) struct Checkpoints {
    moments: Moments,
    places: Places,
    state: Words,
    opened: Numbers<TimestampNanosecondType>,
    since: Numbers<TimestampNanosecondType>,
    parties: Parties,
    first_fin: Words,
    verdict: Words,
}

impl Checkpoints {
    pub(super) fn new() -> Self {
        Self {
            moments: Moments::default(),
            places: Places::new(),
            state: Words::of(TcpState::ALL.map(TcpState::name)),
            opened: Numbers::default(),
            since: Numbers::default(),
            parties: Parties::new(),
            first_fin: Words::of(FirstFin::ALL.map(FirstFin::name)),
            verdict: Words::of(Verdict::ALL.map(Verdict::name)),
        }
    }

    /// Adds a row of the table as it was at the anchor's moment.
    pub(super) fn push(&mut self, anchor: Anchor, of: &Connection) {
        let row = self.moments.len();
        self.moments.push(anchor, anchor.monotonic);
        self.places.put(row, of.id.cookie, &of.tuple);
        self.state.put(row, Some(of.state as usize - 1));
        let epoch = Some(of.id.epoch).filter(|epoch| *epoch != 0);
        self.opened.put(row, epoch.map(|epoch| anchor.wall_time(epoch)));
        self.since.put(row, of.since.map(|since| anchor.wall_time(since)));
        self.parties.put(row, of);
        self.first_fin.put(row, of.first_fin.map(|first| first as usize));
        self.verdict.put(row, of.verdict.map(|verdict| verdict as usize));
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.moments.len();
        let mut columns = Columns::default();
        let to = &mut columns;
        self.moments.finish(to);
        self.places.finish(rows, to);
        to.always("state", self.state.finish(rows));
        to.times("opened", self.opened.finish(rows), true);
        to.times("since", self.since.finish(rows), true);
        self.parties.finish(rows, to);
        to.some("first_fin", self.first_fin.finish(rows));
        to.some("verdict", self.verdict.finish(rows));
        columns.batch()
    }
}

/// Connections that ended on their way into arrays.
pub(super) struct Connections {
    moments: Moments,
    places: Places,
    state: Words,
    opened: Numbers<TimestampNanosecondType>,
    lifetime_us: Numbers<UInt64Type>,
    parties: Parties,
    endings: Endings,
    inferred: Flags,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            moments: Moments::default(),
            places: Places::new(),
            state: Words::of(TcpState::ALL.map(TcpState::name)),
            opened: Numbers::default(),
            lifetime_us: Numbers::default(),
            parties: Parties::new(),
            endings: Endings::new(),
            inferred: Flags::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.moments.len()
    }

    /// Adds the connection that ended with this step.
    pub(super) fn push(&mut self, anchor: Anchor, step: &Step<'_>) {
        let Step { transition: t, connection, .. } = step;
        let row = self.len();
        self.moments.push(anchor, t.time);
        self.places.put(row, t.cookie, &t.tuple);
        self.state.put(row, Some(t.new as usize - 1));
        let epoch = Some(connection.id.epoch).filter(|epoch| *epoch != 0);
        self.opened.put(row, epoch.map(|epoch| anchor.wall_time(epoch)));
        self.lifetime_us.put(row, epoch.map(|epoch| t.time.saturating_sub(epoch) / 1_000));
        self.parties.put(row, connection);
        self.endings.put(row, step);
        self.inferred.put(row, t.inferred);
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.len();
        let mut columns = Columns::default();
        let to = &mut columns;
        self.moments.finish(to);
        self.places.finish(rows, to);
        to.always("state", self.state.finish(rows));
        to.times("opened", self.opened.finish(rows), true);
        to.some("lifetime_us", self.lifetime_us.finish(rows));
        self.parties.finish(rows, to);
        self.endings.finish(rows, to);
        to.always("inferred", self.inferred.finish(rows));
        // Left to the thread that makes Parquet of it: it takes as long as all the others.
        to.some("community_id", StringArray::new_null(rows));
        columns.batch()
    }
}
