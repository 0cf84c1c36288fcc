//! The datasets `checkpoints`, the whole table at a moment, and `connections`, those that ended.

use arrow_array::{
    RecordBatch,
    builder::StringBuilder,
    types::{TimestampNanosecondType, UInt64Type},
};
use arrow_schema::ArrowError;

use super::{
    columns::{Columns, Counts, Flags, Moments, Numbers, Parties, Places, Texts, Words},
    events::errno_text,
};
use crate::core::{
    connection::Connection,
    event::{Anchor, Recorded, ResetSide},
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
    pub(super) fn push(&mut self, anchor: Anchor, row: &Connection) {
        self.moments.push(anchor, anchor.monotonic);
        self.places.push(Some((row.id.cookie, &row.tuple)));
        self.state.push(Some(row.state as usize - 1));
        let epoch = Some(row.id.epoch).filter(|epoch| *epoch != 0);
        self.opened.push(epoch.map(|epoch| anchor.wall_time(epoch)));
        self.since.push(row.since.map(|since| anchor.wall_time(since)));
        self.parties.push(row.direction, row.owner.as_deref(), row.evidence);
        self.first_fin.push(row.first_fin.map(|first| first as usize));
        self.verdict.push(row.verdict.map(|verdict| verdict as usize));
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns = Columns::default();
        let to = &mut columns;
        self.moments.finish(to);
        self.places.finish(to);
        to.always("state", self.state.finish());
        to.times("opened", self.opened.finish(), true);
        to.times("since", self.since.finish(), true);
        self.parties.finish(to);
        to.some("first_fin", self.first_fin.finish());
        to.some("verdict", self.verdict.finish());
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
    verdict: Words,
    errno: Texts<u8>,
    reset: Words,
    counts: Counts,
    inferred: Flags,
    /// Left to the thread that makes Parquet of it: it takes as long as all the others.
    community_id: StringBuilder,
    rows: usize,
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
            verdict: Words::of(Verdict::ALL.map(Verdict::name)),
            errno: Texts::new(),
            reset: Words::of(ResetSide::ALL.map(ResetSide::name)),
            counts: Counts::default(),
            inferred: Flags::default(),
            community_id: StringBuilder::new(),
            rows: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Adds the connection that ended with this step.
    pub(super) fn push(&mut self, anchor: Anchor, recorded: &Recorded, epoch: u64) {
        let t = &recorded.transition;
        self.rows += 1;
        self.moments.push(anchor, t.time);
        self.places.push(Some((t.cookie, &t.tuple)));
        self.state.push(Some(t.new as usize - 1));
        let epoch = Some(epoch).filter(|epoch| *epoch != 0);
        self.opened.push(epoch.map(|epoch| anchor.wall_time(epoch)));
        self.lifetime_us.push(epoch.map(|epoch| t.time.saturating_sub(epoch) / 1_000));
        self.parties.push(recorded.direction, recorded.owner.as_deref(), recorded.evidence);
        self.verdict.push(recorded.verdict.map(|verdict| verdict as usize));
        self.errno.push(t.errno.as_ref(), |errno| errno_text(*errno));
        self.reset.push(t.reset.map(|side| side as usize));
        self.counts.push(t.totals.as_ref());
        self.inferred.push(t.inferred);
        self.community_id.append_null();
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let mut columns = Columns::default();
        let to = &mut columns;
        self.moments.finish(to);
        self.places.finish(to);
        to.always("state", self.state.finish());
        to.times("opened", self.opened.finish(), true);
        to.some("lifetime_us", self.lifetime_us.finish());
        self.parties.finish(to);
        to.some("verdict", self.verdict.finish());
        to.some("errno", self.errno.finish());
        to.some("reset", self.reset.finish());
        self.counts.finish(to);
        to.always("inferred", self.inferred.finish());
        to.some("community_id", self.community_id.finish());
        columns.batch()
    }
}
