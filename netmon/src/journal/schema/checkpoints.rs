//! The dataset `checkpoints`: the whole table at the beginning of each segment.

use std::sync::Arc;

use arrow_array::{RecordBatch, TimestampMicrosecondArray, types::TimestampMicrosecondType};
use arrow_schema::ArrowError;

use super::{
    NumberNames,
    column::{BatchColumns, Numbers, WordBuilder, WordReader, column, get},
    events::boot_of,
    moment::{MomentBuilder, MomentReader},
    party::{PartyBuilder, PartyReader},
    place::{PlaceBuilder, PlaceReader},
};
use crate::{
    core::{
        connection::Connection,
        tcp::TcpState,
        time::{Anchor, Wall},
        verdict::{FirstFin, Verdict},
    },
    journal::error::{Malformed, Result},
};

/// Builds rows of the dataset.
pub(in crate::journal) struct CheckpointBuilder {
    moments: MomentBuilder,
    places: PlaceBuilder,
    state: WordBuilder,
    since: Numbers<TimestampMicrosecondType>,
    parties: PartyBuilder,
    first_fin: WordBuilder,
    verdict: WordBuilder,
}

impl CheckpointBuilder {
    /// Returns a builder without rows, for the boot with the id `boot`.
    pub(in crate::journal) fn new(boot: &Arc<str>) -> Self {
        Self {
            moments: MomentBuilder::unordered(boot),
            places: PlaceBuilder::new(),
            state: WordBuilder::of(TcpState::ALL.map(TcpState::name)),
            since: Numbers::default(),
            parties: PartyBuilder::new(),
            first_fin: WordBuilder::of(FirstFin::ALL.map(FirstFin::name)),
            verdict: WordBuilder::of(Verdict::ALL.map(Verdict::name)),
        }
    }

    /// Adds a row of the table at the moment of the anchor.
    pub(in crate::journal) fn push(&mut self, anchor: Anchor, connection: &Connection) {
        let row = self.moments.len();
        self.moments.push(anchor, anchor.monotonic, boot_of(connection), false);
        self.places.put(row, connection, &connection.tuple);
        self.state.put(row, Some(connection.state as usize - 1));
        self.since.put(row, connection.since.map(|since| anchor.wall_time(since).as_micros()));
        self.parties.put(row, connection);
        self.first_fin.put(row, connection.first_fin.map(|first| first as usize));
        self.verdict.put(row, connection.verdict.map(|verdict| verdict as usize));
    }

    pub(in crate::journal) fn finish(
        &mut self,
        names: &mut dyn NumberNames,
    ) -> std::result::Result<RecordBatch, ArrowError> {
        let rows = self.moments.len();
        let mut columns = BatchColumns::default();
        let to = &mut columns;
        self.moments.finish(to);
        self.places.finish(rows, names, to);
        to.always("state", self.state.finish(rows));
        to.times("since", self.since.finish(rows), true);
        self.parties.finish(rows, names, to);
        to.some("first_fin", self.first_fin.finish(rows));
        to.some("verdict", self.verdict.finish(rows));
        columns.batch()
    }
}

/// Reads rows of the dataset.
pub(in crate::journal) struct CheckpointReader {
    moments: MomentReader,
    places: PlaceReader,
    state: WordReader<TcpState>,
    since: TimestampMicrosecondArray,
    parties: PartyReader,
    first_fin: WordReader<FirstFin>,
    verdict: WordReader<Verdict>,
}

impl CheckpointReader {
    pub(in crate::journal) fn new(batch: &RecordBatch) -> Result<Self> {
        Ok(Self {
            moments: MomentReader::new(batch)?,
            places: PlaceReader::new(batch)?,
            state: WordReader::new(batch, "state", &TcpState::ALL, TcpState::name)?,
            since: column(batch, "since")?,
            parties: PartyReader::new(batch)?,
            first_fin: WordReader::new(batch, "first_fin", &FirstFin::ALL, FirstFin::name)?,
            verdict: WordReader::new(batch, "verdict", &Verdict::ALL, Verdict::name)?,
        })
    }

    pub(in crate::journal) fn len(&self) -> usize {
        self.moments.len()
    }

    /// Returns a row of the table.
    ///
    /// # Errors
    /// Returns an error when the row lacks a value that every row has.
    pub(in crate::journal) fn get(&mut self, row: usize) -> Result<Connection> {
        let state = self.state.get(row).ok_or(Malformed::Column("state"))?;
        let mut connection = self.places.get(row, &self.moments, state)?;
        self.parties.complete(row, &self.moments, &self.places, &mut connection);
        connection.since = get(&self.since, row)
            .map(|since| self.moments.monotonic(row, Wall::from_micros(since)));
        connection.first_fin = self.first_fin.get(row);
        connection.verdict = self.verdict.get(row);
        Ok(connection)
    }
}
