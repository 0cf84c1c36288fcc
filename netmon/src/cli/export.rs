//! `netmon export`: a journal for other programs.

use std::io::{self, IsTerminal, Write};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::{
    args::journal::{JournalArgs, SpanArgs},
    io::{
        progress::Progress,
        stderr::{announce, report},
        stdout::Stdout,
    },
};
use crate::journal;

/// Write a journal as CSV, JSON Lines or Parquet, for other programs
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = super::TIME_HELP)]
pub(super) struct ExportCommand {
    /// Part of the journal to write
    #[arg(long, value_enum, default_value = "events")]
    dataset: DatasetArg,
    #[command(flatten)]
    stretch: SpanArgs,
    /// Format of the output
    #[arg(long, value_enum)]
    format: FormatArg,
    #[command(flatten)]
    past: JournalArgs,
}

const EXAMPLES: &str = "\
Examples:
  netmon export --format csv > events.csv
  netmon export --format jsonl --dataset connections --from yesterday | jq .
  netmon export --format parquet --from 03:00 --to 04:00 > events.parquet";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// Comma-separated values, with a heading
    Csv,
    /// JSON Lines
    Jsonl,
    /// One Parquet file
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DatasetArg {
    /// Everything that happened
    Events,
    /// Connections that ended
    Connections,
    /// The whole table, at the beginning of each segment
    Checkpoints,
    /// Processes, as each was first met in a segment
    Processes,
    /// Network namespaces, as each was first met in a segment
    Namespaces,
}

impl ExportCommand {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let format = match self.format {
            FormatArg::Csv => journal::ExportFormat::Csv,
            FormatArg::Jsonl => journal::ExportFormat::Jsonl,
            FormatArg::Parquet => journal::ExportFormat::Parquet,
        };
        let dataset = match self.dataset {
            DatasetArg::Events => journal::Dataset::Events,
            DatasetArg::Connections => journal::Dataset::Connections,
            DatasetArg::Checkpoints => journal::Dataset::Checkpoints,
            DatasetArg::Processes => journal::Dataset::Processes,
            DatasetArg::Namespaces => journal::Dataset::Namespaces,
        };
        let is_terminal = io::stdout().is_terminal();
        if self.format == FormatArg::Parquet && is_terminal {
            bail!("Parquet is nothing for a terminal: write it to a file, > out.parquet");
        }
        let journal = self.past.open()?;
        let span = self.past.span(&journal, &self.stretch)?;
        if !self.stretch.is_chosen() {
            let (from, to) = (self.past.show(span.from), self.past.show(span.to));
            announce(format_args!("writing all {} from {from} to {to}", dataset.name()));
        }
        let progress = Progress::of(journal.read_counter());
        let out = io::BufWriter::with_capacity(256 << 10, io::stdout());
        let result = journal.export(dataset, span, format, out, is_terminal);
        // Not every format's writer reports why it failed: a flush reports a reader that has left.
        let gaps = result.or_else(|error| Stdout::lock().flush().and(Err(error)))?;
        drop(progress);
        if gaps > 0 {
            report(format_args!("{gaps} gap{} in the journal", if gaps == 1 { "" } else { "s" }));
        }
        Ok(())
    }
}
