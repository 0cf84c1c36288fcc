//! The dataset `connections`: a row for each connection that ended.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::ArrowError;

use super::{
    NumberNames,
    column::{BatchColumns, Flags, WordBuilder, WordReader, column},
    ending::{EndingBuilder, EndingReader},
    events::boot_of,
    moment::{MomentBuilder, MomentReader},
    party::{PartyBuilder, PartyReader},
    place::{PlaceBuilder, PlaceReader},
};
use crate::{
    core::{
        change::Step,
        entry::EndedConnection,
        event::{Opening, Transition},
        id::Binding,
        tcp::TcpState,
        time::{Anchor, Wall},
    },
    journal::error::{Malformed, Result},
};

/// Builds rows of the dataset.
pub(in crate::journal) struct ConnectionBuilder {
    moments: MomentBuilder,
    places: PlaceBuilder,
    state: WordBuilder,
    parties: PartyBuilder,
    endings: EndingBuilder,
    inferred: Flags,
}

impl ConnectionBuilder {
    /// Returns a builder without rows, for the boot with the id `boot`.
    pub(in crate::journal) fn new(boot: &Arc<str>) -> Self {
        Self {
            moments: MomentBuilder::ordered(boot),
            places: PlaceBuilder::new(),
            state: WordBuilder::of(TcpState::ALL.map(TcpState::name)),
            parties: PartyBuilder::new(),
            endings: EndingBuilder::new(),
            inferred: Flags::default(),
        }
    }

    /// Continues the numbering of rows of the batch before.
    pub(in crate::journal) fn go_on_after(&mut self, before: &mut Self) {
        self.moments.go_on_after(&mut before.moments);
    }

    /// Adds the connection that ended with this step.
    pub(in crate::journal) fn push(&mut self, anchor: Anchor, step: &Step<'_>) {
        let Step { transition: t, connection, .. } = step;
        let row = self.moments.len();
        self.moments.push(anchor, t.time, boot_of(connection), false);
        self.places.put(row, connection, &t.tuple);
        self.state.put(row, Some(t.new as usize - 1));
        self.parties.put(row, connection);
        self.endings.put(row, step);
        self.inferred.put(row, t.inferred);
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
        self.parties.finish(rows, names, to);
        self.endings.finish(rows, to);
        to.always("inferred", self.inferred.finish(rows));
        columns.batch()
    }
}

/// Reads rows of the dataset.
pub(in crate::journal) struct ConnectionReader {
    moments: MomentReader,
    places: PlaceReader,
    state: WordReader<TcpState>,
    parties: PartyReader,
    endings: EndingReader,
    inferred: BooleanArray,
}

impl ConnectionReader {
    pub(in crate::journal) fn new(batch: &RecordBatch) -> Result<Self> {
        Ok(Self {
            moments: MomentReader::new(batch)?,
            places: PlaceReader::new(batch)?,
            state: WordReader::new(batch, "state", &TcpState::ALL, TcpState::name)?,
            parties: PartyReader::new(batch)?,
            endings: EndingReader::new(batch)?,
            inferred: column(batch, "inferred")?,
        })
    }

    pub(in crate::journal) fn len(&self) -> usize {
        self.moments.len()
    }

    /// Returns the order of a row: its time in whole microseconds, and its number within the
    /// microsecond.
    pub(in crate::journal) fn order(&self, row: usize) -> (Wall, i32) {
        self.moments.order(row)
    }

    /// Returns the connection of a row.
    ///
    /// # Errors
    /// Returns an error when the row lacks a value that every connection has.
    pub(in crate::journal) fn get(&mut self, row: usize) -> Result<EndedConnection> {
        let moment = self.moments.get(row);
        let new = self.state.get(row).ok_or(Malformed::Column("state"))?;
        let mut connection = self.places.get(row, &self.moments, new)?;
        self.parties.complete(row, &self.moments, &self.places, &mut connection);
        connection.verdict = self.endings.verdict(row);
        let transition = Transition {
            time: moment.monotonic,
            cookie: connection.id.cookie,
            tuple: connection.tuple,
            binding: Binding::default(),
            old: TcpState::Close,
            new,
            errno: self.endings.errno(row),
            reset: self.endings.reset(row),
            totals: self.endings.totals(row),
            orphan: false,
            silent: false,
            inferred: self.inferred.value(row),
            opening: Opening::None,
        };
        Ok(EndedConnection { moment, connection, transition })
    }
}
