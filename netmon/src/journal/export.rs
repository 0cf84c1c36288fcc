//! A journal in the formats that other programs take.

use std::io::{self, Write};

use arrow_array::{RecordBatch, TimestampNanosecondArray, UInt32Array};
use arrow_csv::WriterBuilder;
use arrow_json::LineDelimitedWriter;
use arrow_schema::ArrowError;
use arrow_select::take::take_record_batch;
use parquet::arrow::ArrowWriter;

use super::{
    archive,
    arrays::column,
    community,
    decode::Malformed,
    events::Events,
    files::Dataset,
    reader::{Journal, Span},
    rows::{Checkpoints, Connections},
};
use crate::core::filter::Filter;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, with a heading.
    Csv,
    /// JSON Lines; what is unknown is absent.
    Jsonl,
    /// One Parquet file.
    Parquet,
}

enum Writer<W: Write + Send> {
    Csv(arrow_csv::Writer<W>),
    Jsonl(LineDelimitedWriter<W>),
    Parquet(ArrowWriter<W>),
}

impl Journal {
    /// Writes the rows of a dataset that are of a stretch of time, by time as far as each row group goes.
    ///
    /// # Errors
    /// When they cannot be written; files that cannot be read are named and left out.
    pub fn export<W: Write + Send>(
        &self,
        dataset: Dataset,
        span: Span,
        format: Format,
        to: W,
    ) -> io::Result<()> {
        self.write(dataset, span, format, to).map_err(|error| match error {
            Malformed::Io(error) | Malformed::Arrow(ArrowError::IoError(_, error)) => error,
            other => io::Error::other(other),
        })
    }

    fn write<W: Write + Send>(
        &self,
        dataset: Dataset,
        span: Span,
        format: Format,
        to: W,
    ) -> Result<(), Malformed> {
        let empty = empty(dataset)?;
        let mut writer = match format {
            Format::Csv => Writer::Csv(WriterBuilder::new().with_header(true).build(to)),
            Format::Jsonl => Writer::Jsonl(LineDelimitedWriter::new(to)),
            Format::Parquet => {
                let properties = archive::properties(dataset)?;
                Writer::Parquet(ArrowWriter::try_new(to, empty.schema(), Some(properties))?)
            }
        };
        // The heading comes even where there are no rows.
        writer.write(&empty)?;
        let decode = |batch: &RecordBatch| match dataset {
            Dataset::Connections => community::named(&within(batch, span)?),
            Dataset::Events | Dataset::Checkpoints => within(batch, span),
        };
        self.batches(dataset, span, &Filter::default(), decode, |batch| writer.write(&batch))?;
        writer.finish()
    }
}

impl<W: Write + Send> Writer<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Malformed> {
        match self {
            Self::Csv(writer) => writer.write(batch)?,
            Self::Jsonl(writer) => writer.write(batch)?,
            Self::Parquet(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Malformed> {
        match self {
            Self::Csv(writer) => writer.into_inner().flush()?,
            Self::Jsonl(mut writer) => writer.finish()?,
            Self::Parquet(writer) => {
                writer.close()?;
            }
        }
        Ok(())
    }
}

fn empty(dataset: Dataset) -> Result<RecordBatch, ArrowError> {
    match dataset {
        Dataset::Events => Events::new().finish(),
        Dataset::Connections => Connections::new().finish(),
        Dataset::Checkpoints => Checkpoints::new().finish(),
    }
}

/// The rows of a batch that are of a stretch of time, in its order.
fn within(batch: &RecordBatch, span: Span) -> Result<RecordBatch, Malformed> {
    let times: &TimestampNanosecondArray = column(batch, "time")?;
    let times = times.values().iter().zip(0..);
    let mut rows: Vec<(i64, u32)> = times
        .map(|(time, row)| (*time, row))
        .filter(|(time, _)| (span.from..=span.to).contains(time))
        .collect();
    rows.sort_unstable();
    let rows = rows.into_iter().map(|(_, row)| row).collect::<Vec<u32>>();
    Ok(take_record_batch(batch, &UInt32Array::from(rows))?)
}
