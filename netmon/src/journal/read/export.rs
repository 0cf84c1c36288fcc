//! The export of a journal in the formats of other programs: the rows in the order of time, with
//! the gaps among them.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array, new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::{concat::concat_batches, take::take_record_batch};
use parquet::arrow::ArrowWriter;

use super::{
    blocks::Block,
    blocks::read_blocks,
    community,
    export_text::{TextFormat, TextWriter},
    gaps::JournalGap,
    journal::{HostJournal, Journal},
    merge::{BlockMerge, BlockRows},
};
use crate::{
    core::{
        loss::Loss,
        time::{TimeSpan, Wall},
    },
    journal::{
        error::{Malformed, Result},
        schema::{Dataset, OrderReader, writer_properties},
    },
};

/// The number of rows that are written at once.
const AT_ONCE: usize = 8192;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values, with a heading.
    Csv,
    /// JSON Lines, without unknown values.
    Jsonl,
    /// One Parquet file.
    Parquet,
}

enum Writer<W: Write + Send> {
    Text(TextWriter<W>),
    Parquet(Box<ArrowWriter<W>>),
}

impl Journal {
    /// Writes the rows of a dataset in a stretch of time, in the order of time, one host after the
    /// other. CSV to a terminal is escaped; JSON always is.
    ///
    /// Returns the number of gaps among the rows.
    ///
    /// # Errors
    /// Returns an error when the rows cannot be written. Files that cannot be read are logged and
    /// left out.
    pub fn export<W: Write + Send>(
        &self,
        dataset: Dataset,
        span: TimeSpan,
        format: ExportFormat,
        to: W,
        is_terminal: bool,
    ) -> io::Result<u64> {
        self.write(dataset, span, format, to, is_terminal).map_err(|error| match error {
            Malformed::Io(error) | Malformed::Arrow(ArrowError::IoError(_, error)) => error,
            other => io::Error::other(other),
        })
    }

    fn write<W: Write + Send>(
        &self,
        dataset: Dataset,
        span: TimeSpan,
        format: ExportFormat,
        to: W,
        is_terminal: bool,
    ) -> Result<u64> {
        let schema = schema_of(dataset)?;
        let text = |to, format| TextWriter::new(to, format, &schema).map(Writer::Text);
        let mut writer = match format {
            ExportFormat::Csv => text(to, TextFormat::Csv { is_terminal })?,
            ExportFormat::Jsonl => text(to, TextFormat::Jsonl)?,
            ExportFormat::Parquet => {
                let properties = Some(writer_properties(dataset)?);
                let writer = ArrowWriter::try_new(to, Arc::clone(&schema), properties)?;
                Writer::Parquet(Box::new(writer))
            }
        };
        let mut gaps = 0;
        for host in self.hosts() {
            gaps += host.export(dataset, span, &schema, &mut writer)?;
        }
        writer.finish()?;
        Ok(gaps)
    }
}

/// Returns the type of a dataset's rows, as the JSON of the views has it; none for events, which
/// have a column of types.
const fn type_of(dataset: Dataset) -> Option<&'static str> {
    match dataset {
        Dataset::Events => None,
        Dataset::Connections => Some("closed"),
        Dataset::Checkpoints => Some("connection"),
        Dataset::Processes => Some("process"),
        Dataset::Namespaces => Some("namespace"),
    }
}

/// Returns the columns of a dataset with the columns that an export adds: the host, the type of
/// rows, and for connections the Community ID and the gaps.
fn schema_of(dataset: Dataset) -> Result<SchemaRef> {
    let schema = dataset.schema()?;
    let mut fields = vec![Field::new("host", DataType::Utf8, false)];
    fields.extend(type_of(dataset).map(|_| Field::new("type", DataType::Utf8, false)));
    // A row for a gap has no values of a connection.
    fields.extend(schema.fields().iter().map(|field| {
        let is_kept = field.name() == "time";
        Field::clone(field).with_nullable(!is_kept || field.is_nullable())
    }));
    if dataset == Dataset::Connections {
        let events = Dataset::Events.schema()?;
        fields.push(Field::new(community::COLUMN, DataType::Utf8, true));
        for name in ["gap_from", "reason", "lost"] {
            fields.push(events.field_with_name(name)?.clone());
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The place of a row in a loaded block.
struct RowPlace {
    batch: Arc<RecordBatch>,
    row: usize,
    /// The time of the row.
    wall: Wall,
}

/// Rows as they are in the file.
struct PlainRows {
    batch: Arc<RecordBatch>,
    order: OrderReader,
}

impl BlockRows for PlainRows {
    type Row = RowPlace;

    fn new(batch: &RecordBatch) -> Result<Self> {
        Ok(Self { batch: Arc::new(batch.clone()), order: OrderReader::new(batch)? })
    }

    fn len(&self) -> usize {
        self.order.len()
    }

    fn order(&self, row: usize) -> (Wall, i32) {
        self.order.get(row)
    }

    fn row(&mut self, row: usize) -> Result<RowPlace> {
        let wall = self.order.get(row).0;
        Ok(RowPlace { batch: Arc::clone(&self.batch), row, wall })
    }
}

impl HostJournal {
    /// Writes the rows of a dataset of this host. Returns the number of gaps in the stretch of
    /// time.
    fn export<W: Write + Send>(
        &self,
        dataset: Dataset,
        span: TimeSpan,
        schema: &SchemaRef,
        writer: &mut Writer<W>,
    ) -> Result<u64> {
        let mut merge: BlockMerge<PlainRows> = BlockMerge::new(Box::new(Block::load));
        let (mut segments, mut places) = (self.segments_of(span).peekable(), Vec::new());
        let mut gaps = self.gaps(span);
        let count = gaps.len() as u64;
        gaps.retain(|gap| match dataset {
            Dataset::Connections => true,
            // The other gaps are rows of the stretch, unless they were noticed later.
            Dataset::Events => gap.gap.loss == Loss::Missing || gap.moment.wall > span.to,
            _ => false,
        });
        let mut gaps = gaps.into_iter().peekable();
        loop {
            while let Some(segment) = segments.next_if(|segment| merge.needs_segment(segment.start))
            {
                if let Ok(rows) = read_blocks(&self.host, segment, dataset) {
                    merge.extend(rows.blocks.into_iter().filter(|block| block.may_be_in(span)));
                }
            }
            match merge.next() {
                Ok(Some(place)) => {
                    while let Some(gap) = gaps.next_if(|gap| gap.span.to <= place.wall) {
                        self.put(dataset, schema, &mut places, writer)?;
                        writer.write(&gap_row(schema, &gap)?)?;
                    }
                    if span.contains(place.wall) {
                        places.push(place);
                    }
                }
                Ok(None) if segments.peek().is_none() => break,
                Ok(None) => {}
                Err(error) => self.host.leave_out(&error.path, &error.error),
            }
            if places.len() >= AT_ONCE {
                self.put(dataset, schema, &mut places, writer)?;
            }
        }
        self.put(dataset, schema, &mut places, writer)?;
        for gap in gaps {
            writer.write(&gap_row(schema, &gap)?)?;
        }
        Ok(count)
    }

    /// Writes the rows at `places`, and clears `places`.
    fn put<W: Write + Send>(
        &self,
        dataset: Dataset,
        schema: &SchemaRef,
        places: &mut Vec<RowPlace>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let batch = gather(places)?;
        let rows = batch.num_rows();
        let host = vec![&**self.name(); rows];
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(host))];
        if let Some(name) = type_of(dataset) {
            columns.push(Arc::new(StringArray::from(vec![name; rows])));
        }
        columns.extend(batch.columns().iter().cloned());
        if dataset == Dataset::Connections {
            columns.push(Arc::new(community::ids(&batch)?));
        }
        for field in schema.fields().iter().skip(columns.len()) {
            columns.push(new_null_array(field.data_type(), rows));
        }
        writer.write(&RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// Returns a row that reports a gap.
fn gap_row(schema: &SchemaRef, gap: &JournalGap) -> Result<RecordBatch> {
    let time = |wall: Wall| {
        TimestampMicrosecondArray::from(vec![wall.as_micros()]).with_timezone("+00:00")
    };
    let text = |text: &str, like: &DataType| -> Result<ArrayRef> {
        let array: ArrayRef = match like {
            DataType::Dictionary(key, _) if **key == DataType::Int8 => Arc::new(
                [Some(text)]
                    .into_iter()
                    .collect::<arrow_array::DictionaryArray<arrow_array::types::Int8Type>>(),
            ),
            _ => Arc::new(StringArray::from(vec![text])),
        };
        Ok(array)
    };
    let columns: Result<Vec<ArrayRef>> = schema
        .fields()
        .iter()
        .map(|field| {
            Ok(match field.name().as_str() {
                "host" => text(&gap.host, field.data_type())?,
                "time" => Arc::new(time(gap.span.to)),
                "gap_from" => Arc::new(time(gap.span.from)),
                "type" => text("lost", field.data_type())?,
                "reason" => text(gap.gap.loss.name(), field.data_type())?,
                "lost" if gap.gap.count > 0 => Arc::new(arrow_array::Int64Array::from(vec![
                    i64::try_from(gap.gap.count).unwrap_or(i64::MAX),
                ])),
                _ => new_null_array(field.data_type(), 1),
            })
        })
        .collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
}

impl<W: Write + Send> Writer<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Text(writer) => writer.write(batch)?,
            Self::Parquet(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Text(writer) => writer.finish()?,
            Self::Parquet(writer) => {
                writer.close()?;
            }
        }
        Ok(())
    }
}
/// Returns the rows at `places` in one batch, and clears `places`, of which there is one at least.
///
/// Arrow's `interleave` does the same. Its code for every type would be half a megabyte, and the
/// program needs the code of `concat` and `take` in any case.
fn gather(places: &mut Vec<RowPlace>) -> Result<RecordBatch> {
    let mut batches: Vec<(Arc<RecordBatch>, Vec<u64>)> = Vec::new();
    // The number of the batch, and the number of the row among those that are taken of the batch.
    let mut order = Vec::with_capacity(places.len());
    for RowPlace { batch, row, .. } in places.drain(..) {
        let known = batches.iter().rposition(|(known, _)| Arc::ptr_eq(known, &batch));
        let number = known.unwrap_or_else(|| {
            batches.push((batch, Vec::new()));
            batches.len() - 1
        });
        let rows = &mut batches[number].1;
        order.push((number, rows.len()));
        rows.push(row as u64);
    }
    let mut parts = Vec::with_capacity(batches.len());
    let mut begins = Vec::with_capacity(batches.len());
    let mut rows = 0;
    for (batch, taken) in batches {
        begins.push(rows);
        rows += taken.len();
        parts.push(take_record_batch(&batch, &UInt64Array::from(taken))?);
    }
    let joined = concat_batches(parts[0].schema_ref(), &parts)?;
    let order: Vec<_> =
        order.into_iter().map(|(number, place)| (begins[number] + place) as u64).collect();
    // The rows of one host mostly come batch by batch.
    if (0..).zip(&order).all(|(row, place)| row == *place) {
        return Ok(joined);
    }
    Ok(take_record_batch(&joined, &UInt64Array::from(order))?)
}
