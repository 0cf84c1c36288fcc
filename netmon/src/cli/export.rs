//! `netmon export`: a journal for other programs.

use std::io::{self, IsTerminal, Write};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::{
    args::journal::{JournalArgs, SpanArgs, report},
    io::{progress::Progress, stdout::Stdout},
};
use crate::journal;

/// Write a stretch of a journal to standard output, for other programs
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Format of the output
    #[arg(long, value_enum)]
    format: Format,
    /// Part of the journal to write
    #[arg(long, value_enum, default_value = "events")]
    dataset: Dataset,
    #[command(flatten)]
    stretch: SpanArgs,
    #[command(flatten)]
    past: JournalArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values, with a heading
    Csv,
    /// JSON Lines
    Jsonl,
    /// One Parquet file
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dataset {
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

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let format = match self.format {
            Format::Csv => journal::ExportFormat::Csv,
            Format::Jsonl => journal::ExportFormat::Jsonl,
            Format::Parquet => journal::ExportFormat::Parquet,
        };
        let dataset = match self.dataset {
            Dataset::Events => journal::Dataset::Events,
            Dataset::Connections => journal::Dataset::Connections,
            Dataset::Checkpoints => journal::Dataset::Checkpoints,
            Dataset::Processes => journal::Dataset::Processes,
            Dataset::Namespaces => journal::Dataset::Namespaces,
        };
        if self.format == Format::Parquet && io::stdout().is_terminal() {
            bail!("Parquet is nothing for a terminal: write it to a file, > out.parquet");
        }
        let journal = self.past.open()?;
        let span = self.past.span(&journal, &self.stretch)?;
        let progress = Progress::of(journal.read_counter());
        let out = io::BufWriter::with_capacity(256 << 10, io::stdout());
        let result = journal.export(dataset, span, format, out);
        // Not every format's writer reports why it failed: a flush reports a reader that has left.
        let gaps = result.or_else(|error| Stdout::lock().flush().and(Err(error)))?;
        drop(progress);
        if gaps > 0 {
            report(&format!("{gaps} gap{} in the journal", if gaps == 1 { "" } else { "s" }));
        }
        Ok(())
    }
}
