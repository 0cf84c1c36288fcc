//! Reads rows of the dataset `events`.

use std::time::Duration;

use arrow_array::{BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};

use super::{
    super::{
        column::{WordReader, column, get},
        ending::EndingReader,
        moment::MomentReader,
        party::PartyReader,
        place::PlaceReader,
    },
    EventKind,
};
use crate::{
    core::{
        change::Resync,
        connection::{Connection, Direction},
        entry::{Entry, StepEntry},
        event::{Opening, Transition},
        id::{Binding, SocketId},
        loss::{Gap, Loss},
        process::Evidence,
        tcp::TcpState,
        time::{Anchor, Mono, Wall},
    },
    journal::error::{Malformed, Result},
};

/// Reads rows of the dataset.
pub(in crate::journal) struct EventReader {
    moments: MomentReader,
    kind: WordReader<EventKind>,
    places: PlaceReader,
    old_state: WordReader<TcpState>,
    new_state: WordReader<TcpState>,
    state: WordReader<TcpState>,
    parties: PartyReader,
    opens: BooleanArray,
    listener: Int64Array,
    endings: EndingReader,
    orphan: BooleanArray,
    inferred: BooleanArray,
    corrected: BooleanArray,
    late: BooleanArray,
    initial: BooleanArray,
    reason: WordReader<Loss>,
    gap_from: TimestampMicrosecondArray,
    lost: Int64Array,
    found: Int64Array,
    moved: Int64Array,
    ended: Int64Array,
    distance: Int64Array,
}

impl EventReader {
    pub(in crate::journal) fn new(batch: &RecordBatch) -> Result<Self> {
        let state = |name| WordReader::new(batch, name, &TcpState::ALL, TcpState::name);
        Ok(Self {
            moments: MomentReader::new(batch)?,
            kind: WordReader::new(batch, "type", &EventKind::ALL, EventKind::name)?,
            places: PlaceReader::new(batch)?,
            old_state: state("old_state")?,
            new_state: state("new_state")?,
            state: state("state")?,
            parties: PartyReader::new(batch)?,
            opens: column(batch, "opens")?,
            listener: column(batch, "listener")?,
            endings: EndingReader::new(batch)?,
            orphan: column(batch, "orphan")?,
            inferred: column(batch, "inferred")?,
            corrected: column(batch, "corrected")?,
            late: column(batch, "late")?,
            initial: column(batch, "initial")?,
            reason: WordReader::new(batch, "reason", &Loss::ALL, Loss::name)?,
            gap_from: column(batch, "gap_from")?,
            lost: column(batch, "lost")?,
            found: column(batch, "found")?,
            moved: column(batch, "moved")?,
            ended: column(batch, "ended")?,
            distance: column(batch, "distance_us")?,
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

    /// Returns the entry of a row, with its moment on both clocks.
    ///
    /// # Errors
    /// Returns an error when the row lacks a value that every row of its kind has.
    pub(in crate::journal) fn entry(&mut self, row: usize) -> Result<(Anchor, Entry)> {
        let moment = self.moments.get(row);
        let time = moment.monotonic;
        let count = |array: &Int64Array| {
            get(array, row).map_or(0, |count| u64::try_from(count).unwrap_or(0))
        };
        let entry = match self.kind.get(row).ok_or(Malformed::Column("type"))? {
            EventKind::Transition => Entry::Step(Box::new(self.step(row, time)?)),
            EventKind::Connection => {
                let state = self.state.get(row).ok_or(Malformed::Column("state"))?;
                let connection = Box::new(self.connection(row, state)?);
                Entry::Found { time, connection, initial: self.initial.value(row) }
            }
            EventKind::Owner => {
                let connection = self.places.get(row, &self.moments, TcpState::Close)?;
                let owner = self.parties.owner(row).ok_or(Malformed::Column("comm"))?;
                let evidence =
                    self.parties.evidence(row).ok_or(Malformed::Column("owner_evidence"))?;
                let (cookie, tuple) = (connection.id.cookie, connection.tuple);
                let holder = self.parties.holder(row);
                Entry::Owner { time, cookie, tuple, owner, evidence, holder }
            }
            EventKind::Anchor => Entry::Anchor(moment),
            EventKind::Lost => Entry::Gap(Gap {
                from: get(&self.gap_from, row)
                    .map_or(time, |from| self.moments.monotonic(row, Wall::from_micros(from))),
                time,
                count: count(&self.lost),
                loss: self.reason.get(row).ok_or(Malformed::Column("reason"))?,
            }),
            EventKind::Resync => Entry::Resync(Resync {
                time,
                found: count(&self.found),
                moved: count(&self.moved),
                ended: count(&self.ended),
                distance: get(&self.distance, row)
                    .map(|distance| Duration::from_micros(u64::try_from(distance).unwrap_or(0))),
            }),
        };
        Ok((moment, entry))
    }

    fn connection(&mut self, row: usize, state: TcpState) -> Result<Connection> {
        let mut connection = self.places.get(row, &self.moments, state)?;
        self.parties.complete(row, &self.moments, &self.places, &mut connection);
        Ok(connection)
    }

    fn step(&mut self, row: usize, time: Mono) -> Result<StepEntry> {
        let new = self.new_state.get(row).ok_or(Malformed::Column("new_state"))?;
        let after = self.connection(row, new)?;
        let opening = match (self.opens.value(row), after.direction) {
            (false, _) => Opening::None,
            (true, Some(Direction::Inbound)) => {
                let listener = get(&self.listener, row).map(i64::cast_unsigned);
                Opening::FromListener(listener.and_then(SocketId::new))
            }
            (true, _) => {
                let is_opener = after.evidence.is_some_and(|evidence| evidence != Evidence::FdScan);
                Opening::ByProcess(after.owner.clone().filter(|_| is_opener))
            }
        };
        let transition = Transition {
            time,
            cookie: after.id.cookie,
            tuple: after.tuple,
            binding: Binding::default(),
            old: self.old_state.get(row).ok_or(Malformed::Column("old_state"))?,
            new,
            errno: self.endings.errno(row),
            reset: self.endings.reset(row),
            totals: self.endings.totals(row),
            orphan: self.orphan.value(row),
            // The verdict has it.
            silent: false,
            inferred: self.inferred.value(row),
            opening,
        };
        Ok(StepEntry {
            transition,
            row: after,
            verdict: self.endings.verdict(row),
            corrected: self.corrected.value(row),
            late: self.late.value(row),
        })
    }
}
