//! The end of a connection: its reason, and the counts of the socket.

use arrow_array::{Int64Array, RecordBatch, types::Int64Type};

use super::column::{
    BatchColumns, Numbers, TextReader, Texts, WordBuilder, WordReader, column, get, signed,
};
use crate::{
    core::{
        change::Step,
        errno,
        event::{ResetSide, Totals},
        verdict::Verdict,
    },
    journal::error::Result,
};

/// Builds the columns `verdict`, `errno`, `reset`, `bytes_sent`, `bytes_received`, `retransmits`
/// and `rtt_us`.
pub(super) struct EndingBuilder {
    verdict: WordBuilder,
    errno: Texts<u8>,
    reset: WordBuilder,
    bytes_sent: Numbers<Int64Type>,
    bytes_received: Numbers<Int64Type>,
    retransmits: Numbers<Int64Type>,
    rtt_us: Numbers<Int64Type>,
}

impl EndingBuilder {
    pub(super) fn new() -> Self {
        Self {
            verdict: WordBuilder::of(Verdict::ALL.map(Verdict::name)),
            errno: Texts::new(),
            reset: WordBuilder::of(ResetSide::ALL.map(ResetSide::name)),
            bytes_sent: Numbers::default(),
            bytes_received: Numbers::default(),
            retransmits: Numbers::default(),
            rtt_us: Numbers::default(),
        }
    }

    /// Puts the values of a step that describe the end.
    #[inline]
    pub(super) fn put(&mut self, row: usize, step: &Step<'_>) {
        let t = step.transition;
        self.verdict.put(row, step.verdict.map(|verdict| verdict as usize));
        if let Some(errno) = &t.errno {
            self.errno.put(row, errno, |errno| errno::text(*errno));
        }
        self.reset.put(row, t.reset.map(|side| side as usize));
        let Some(totals) = &t.totals else { return };
        self.bytes_sent.put(row, totals.bytes_sent.map(signed));
        self.bytes_received.put(row, totals.bytes_received.map(signed));
        self.retransmits.put(row, totals.retransmits.map(Into::into));
        self.rtt_us.put(row, totals.rtt_us.map(Into::into));
    }

    pub(super) fn finish(&mut self, rows: usize, to: &mut BatchColumns) {
        to.some("verdict", self.verdict.finish(rows));
        to.some("errno", self.errno.finish(rows));
        to.some("reset", self.reset.finish(rows));
        to.some("bytes_sent", self.bytes_sent.finish(rows));
        to.some("bytes_received", self.bytes_received.finish(rows));
        to.some("retransmits", self.retransmits.finish(rows));
        to.some("rtt_us", self.rtt_us.finish(rows));
    }
}

/// Reads the columns that [`EndingBuilder`] wrote.
pub(super) struct EndingReader {
    verdict: WordReader<Verdict>,
    errno: TextReader<u8>,
    reset: WordReader<ResetSide>,
    bytes_sent: Int64Array,
    bytes_received: Int64Array,
    retransmits: Int64Array,
    rtt_us: Int64Array,
}

impl EndingReader {
    pub(super) fn new(batch: &RecordBatch) -> Result<Self> {
        Ok(Self {
            verdict: WordReader::new(batch, "verdict", &Verdict::ALL, Verdict::name)?,
            errno: TextReader::new(batch, "errno", errno::number)?,
            reset: WordReader::new(batch, "reset", &ResetSide::ALL, ResetSide::name)?,
            bytes_sent: column(batch, "bytes_sent")?,
            bytes_received: column(batch, "bytes_received")?,
            retransmits: column(batch, "retransmits")?,
            rtt_us: column(batch, "rtt_us")?,
        })
    }

    pub(super) fn verdict(&self, row: usize) -> Option<Verdict> {
        self.verdict.get(row)
    }

    pub(super) fn errno(&self, row: usize) -> Option<u8> {
        self.errno.get(row).copied()
    }

    pub(super) fn reset(&self, row: usize) -> Option<ResetSide> {
        self.reset.get(row)
    }

    pub(super) fn totals(&self, row: usize) -> Option<Totals> {
        let count =
            |array: &Int64Array| get(array, row).map(|count| u64::try_from(count).unwrap_or(0));
        let small = |array| count(array).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let totals = Totals {
            bytes_sent: count(&self.bytes_sent),
            bytes_received: count(&self.bytes_received),
            retransmits: small(&self.retransmits),
            rtt_us: small(&self.rtt_us),
        };
        Some(totals).filter(|totals| *totals != Totals::default())
    }
}
