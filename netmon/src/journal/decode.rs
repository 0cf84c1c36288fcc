//! Arrow arrays back into events and rows.

use std::io::{self, ErrorKind};

use arrow_array::{Array, BooleanArray, RecordBatch, TimestampNanosecondArray, UInt64Array};
use arrow_schema::ArrowError;

use super::{
    VERSION, VERSION_KEY,
    arrays::{Endings, Moments, Parties, Places, Words, column, get, monotonic, state},
    events::Kind,
};
use crate::core::{
    connection::{Connection, Direction, Resync},
    event::{Anchor, ConnectionId, Event, Evidence, Gap, Loss, Opening, Recorded, Transition},
    tcp::TcpState,
    verdict::{FirstFin, Verdict},
};

/// Why a file of a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Another program wrote it.
    #[error("it is no journal of netmon")]
    Foreign,
    /// A later one wrote it.
    #[error(
        "it is of version {0} of the journal, and this netmon reads version {VERSION}: read it with a newer one"
    )]
    Version(String),
    /// It is not what its format allows.
    #[error("it is corrupt")]
    Corrupt,
    /// It lacks a column.
    #[error("its column '{0}' is missing, or not what it should be")]
    Column(&'static str),
    /// It has a word that means nothing.
    #[error("its column '{column}' has '{text}', which this netmon does not know")]
    Word {
        /// Where.
        column: &'static str,
        /// Which.
        text: String,
    },
    /// It is no stream, or a torn one.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// It is no Parquet file, or a corrupt one.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Malformed {
    /// Whether it could not be read, whatever is in it; a file that ends too early could be.
    pub(super) fn is_of_the_system(&self) -> bool {
        self.system().is_some_and(|error| error.kind() != ErrorKind::UnexpectedEof)
    }

    /// Whether it ends before there is anything in it.
    pub(super) fn is_cut_short(&self) -> bool {
        self.system().is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof)
    }

    fn system(&self) -> Option<&io::Error> {
        match self {
            Self::Io(error) | Self::Arrow(ArrowError::IoError(_, error)) => Some(error),
            _ => None,
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, Malformed>;

/// Fails for a batch or a file that this version cannot read.
pub(super) fn check_version(schema: &arrow_schema::Schema) -> Result<()> {
    match schema.metadata().get(VERSION_KEY) {
        Some(version) if version == VERSION => Ok(()),
        Some(version) => Err(Malformed::Version(version.clone())),
        None => Err(Malformed::Foreign),
    }
}

/// The events of a batch, each with its moment, in the order of the rows.
pub(super) fn events(batch: &RecordBatch) -> Result<Vec<(Anchor, Event)>> {
    let columns = EventColumns::new(batch)?;
    let mut parties = Parties::new(batch)?;
    let mut events = Vec::with_capacity(batch.num_rows());
    for i in 0..batch.num_rows() {
        let moment = columns.moments.get(i);
        events.push((moment, columns.event(i, moment, &mut parties)?));
    }
    Ok(events)
}

struct EventColumns<'a> {
    moments: Moments<'a>,
    kind: Words<'a, Kind>,
    places: Places<'a>,
    old_state: Words<'a, TcpState>,
    new_state: Words<'a, TcpState>,
    opens: &'a BooleanArray,
    listener: &'a UInt64Array,
    endings: Endings<'a>,
    orphan: &'a BooleanArray,
    inferred: &'a BooleanArray,
    corrected: &'a BooleanArray,
    late: &'a BooleanArray,
    initial: &'a BooleanArray,
    reason: Words<'a, Loss>,
    from: &'a TimestampNanosecondArray,
    count: &'a UInt64Array,
    found: &'a UInt64Array,
    moved: &'a UInt64Array,
    ended: &'a UInt64Array,
}

impl<'a> EventColumns<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            moments: Moments::new(batch)?,
            kind: Words::new(batch, "type", &Kind::ALL, Kind::name)?,
            places: Places::new(batch)?,
            old_state: state(batch, "old_state")?,
            new_state: state(batch, "new_state")?,
            opens: column(batch, "opens")?,
            listener: column(batch, "listener")?,
            endings: Endings::new(batch)?,
            orphan: column(batch, "orphan")?,
            inferred: column(batch, "inferred")?,
            corrected: column(batch, "corrected")?,
            late: column(batch, "late")?,
            initial: column(batch, "initial")?,
            reason: Words::new(batch, "reason", &Loss::ALL, Loss::name)?,
            from: column(batch, "from")?,
            count: column(batch, "count")?,
            found: column(batch, "found")?,
            moved: column(batch, "moved")?,
            ended: column(batch, "ended")?,
        })
    }

    fn event(&self, i: usize, moment: Anchor, parties: &mut Parties<'_>) -> Result<Event> {
        let time = moment.monotonic;
        Ok(match self.kind.get(i).ok_or(Malformed::Column("type"))? {
            Kind::Transition | Kind::Expired => {
                Event::Recorded(Box::new(self.step(i, time, parties)?))
            }
            Kind::Connection => {
                let (cookie, tuple) = self.places.get(i)?;
                let state = self.new_state.get(i).ok_or(Malformed::Column("new_state"))?;
                let id = ConnectionId { cookie, epoch: 0 };
                let mut connection = Box::new(Connection::new(id, tuple, state));
                connection.direction = parties.direction.get(i);
                connection.owner = parties.owner(i);
                connection.evidence = parties.evidence.get(i);
                Event::Found { time, connection, initial: self.initial.value(i) }
            }
            Kind::Owner => {
                let (cookie, tuple) = self.places.get(i)?;
                let owner = parties.owner(i).ok_or(Malformed::Column("pid"))?;
                let evidence =
                    parties.evidence.get(i).ok_or(Malformed::Column("owner_evidence"))?;
                Event::Owned { time, cookie, tuple, owner, evidence }
            }
            Kind::Anchor => Event::Anchor(moment),
            Kind::Lost => Event::Lost(Gap {
                from: monotonic(self.from.value(i), moment.wall - time.cast_signed()),
                time,
                count: get!(self.count, i).unwrap_or(0),
                loss: self.reason.get(i).ok_or(Malformed::Column("reason"))?,
            }),
            Kind::Resync => Event::Resync(Resync {
                time,
                found: get!(self.found, i).unwrap_or(0),
                moved: get!(self.moved, i).unwrap_or(0),
                ended: get!(self.ended, i).unwrap_or(0),
            }),
        })
    }

    fn step(&self, i: usize, time: u64, parties: &mut Parties<'_>) -> Result<Recorded> {
        let (cookie, tuple) = self.places.get(i)?;
        let direction = parties.direction.get(i);
        let owner = parties.owner(i);
        let evidence = parties.evidence.get(i);
        let opening = match (self.opens.value(i), direction) {
            (false, _) => Opening::None,
            (true, Some(Direction::Inbound)) => Opening::FromListener(get!(self.listener, i)),
            (true, _) => {
                let is_its = evidence.is_some_and(|evidence| evidence != Evidence::FdScan);
                Opening::ByProcess(owner.clone().filter(|_| is_its))
            }
        };
        let transition = Transition {
            time,
            cookie,
            tuple,
            old: self.old_state.get(i).ok_or(Malformed::Column("old_state"))?,
            new: self.new_state.get(i).ok_or(Malformed::Column("new_state"))?,
            errno: self.endings.errno.get(i).copied(),
            reset: self.endings.reset.get(i),
            totals: self.endings.totals(i),
            orphan: self.orphan.value(i),
            inferred: self.inferred.value(i),
            opening,
        };
        Ok(Recorded {
            transition,
            direction,
            owner,
            evidence,
            verdict: self.endings.verdict.get(i),
            corrected: self.corrected.value(i),
            late: self.late.value(i),
        })
    }
}

/// A connection that ended, as the journal has it.
#[derive(Clone, Debug)]
pub struct Finished {
    /// When, on both clocks.
    pub moment: Anchor,
    /// Its last row.
    pub connection: Connection,
    /// What ended it; its old state is not kept.
    pub transition: Transition,
}

/// The connections of a batch, in the order of the rows.
pub(super) fn connections(batch: &RecordBatch) -> Result<Vec<Finished>> {
    let moments = Moments::new(batch)?;
    let places = Places::new(batch)?;
    let states = state(batch, "state")?;
    let opened: &TimestampNanosecondArray = column(batch, "opened")?;
    let mut parties = Parties::new(batch)?;
    let endings = Endings::new(batch)?;
    let inferred: &BooleanArray = column(batch, "inferred")?;
    let mut finished = Vec::with_capacity(batch.num_rows());
    for i in 0..batch.num_rows() {
        let moment = moments.get(i);
        let (cookie, tuple) = places.get(i)?;
        let new = states.get(i).ok_or(Malformed::Column("state"))?;
        let epoch = get!(opened, i).map_or(0, |wall| monotonic(wall, moments.offset.value(i)));
        let mut connection = Connection::new(ConnectionId { cookie, epoch }, tuple, new);
        connection.direction = parties.direction.get(i);
        connection.owner = parties.owner(i);
        connection.evidence = parties.evidence.get(i);
        connection.verdict = endings.verdict.get(i);
        let transition = Transition {
            time: moment.monotonic,
            cookie,
            tuple,
            old: TcpState::Close,
            new,
            errno: endings.errno.get(i).copied(),
            reset: endings.reset.get(i),
            totals: endings.totals(i),
            orphan: false,
            inferred: inferred.value(i),
            opening: Opening::None,
        };
        finished.push(Finished { moment, connection, transition });
    }
    Ok(finished)
}

/// Rows of a checkpoint.
pub(super) fn checkpoint(batch: &RecordBatch) -> Result<Vec<Connection>> {
    let moments = Moments::new(batch)?;
    let places = Places::new(batch)?;
    let states = state(batch, "state")?;
    let opened: &TimestampNanosecondArray = column(batch, "opened")?;
    let since: &TimestampNanosecondArray = column(batch, "since")?;
    let mut parties = Parties::new(batch)?;
    let first_fin = Words::new(batch, "first_fin", &FirstFin::ALL, FirstFin::name)?;
    let verdict = Words::new(batch, "verdict", &Verdict::ALL, Verdict::name)?;
    let mut rows = Vec::with_capacity(batch.num_rows());
    for i in 0..batch.num_rows() {
        let (cookie, tuple) = places.get(i)?;
        let clock = |wall| monotonic(wall, moments.offset.value(i));
        let epoch = get!(opened, i).map_or(0, clock);
        let state = states.get(i).ok_or(Malformed::Column("state"))?;
        let mut row = Connection::new(ConnectionId { cookie, epoch }, tuple, state);
        row.since = get!(since, i).map(clock);
        row.direction = parties.direction.get(i);
        row.owner = parties.owner(i);
        row.evidence = parties.evidence.get(i);
        row.first_fin = first_fin.get(i);
        row.verdict = verdict.get(i);
        rows.push(row);
    }
    Ok(rows)
}
