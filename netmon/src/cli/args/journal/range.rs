//! The moments and stretches of time that a journal covers.

use anyhow::bail;
use clap::Args;

use super::{JournalArgs, now};
use crate::{
    cli::io::stderr::report,
    core::time::{TimeSpan, Wall},
    journal::{HostJournal, Journal},
};

/// The stretch of time of a journal.
#[derive(Debug, Args)]
pub(in crate::cli) struct SpanArgs {
    /// Begin at this moment of a journal: 03:10, '10m ago', 'yesterday 14:00'
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End at this moment of a journal
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl SpanArgs {
    /// Returns whether a moment was named.
    pub(in crate::cli) fn is_chosen(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }
}

impl JournalArgs {
    /// Returns the stretch of time that is asked for, by default all of the journal.
    ///
    /// Fails if the journal covers nothing of it. Reports the stretch as it was understood, and the
    /// part of it that each host's journal covers, where that is not all.
    pub(in crate::cli) fn span(
        &self,
        journal: &Journal,
        args: &SpanArgs,
    ) -> anyhow::Result<TimeSpan> {
        let coverage = journal.span(now());
        let moment = |text: &Option<String>| text.as_ref().map(|text| self.moment(text));
        let (from, to) = (moment(&args.from), moment(&args.to));
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            let (from, to) = (self.show(from), self.show(to));
            crate::cli::refuse(format_args!("--from {from} is after --to {to}"));
        }
        let (from, to) = (from.unwrap_or(coverage.from), to.unwrap_or(coverage.to));
        // A stretch that only begins before the journal, or only ends after it, is covered in part.
        self.check(coverage, from.max(coverage.from), || journal.is_live())?;
        self.check(coverage, to.min(coverage.to), || journal.is_live())?;
        if args.is_chosen() {
            report(format_args!("from {} to {}", self.show(from), self.show(to)));
        }
        for host in journal.hosts() {
            self.report_part(journal, host, TimeSpan { from, to });
        }
        Ok(TimeSpan { from, to })
    }

    /// Reports the part of a stretch of time that a host's journal covers, where that is not all.
    fn report_part(&self, journal: &Journal, host: &HostJournal, span: TimeSpan) {
        let coverage = host.span(now());
        // No journal reaches beyond now.
        let is_all = coverage.from <= span.from && coverage.to >= span.to.min(now());
        if is_all {
            return;
        }
        let subject = match journal.hosts() {
            [_] => "the journal".to_owned(),
            _ => format!("the journal of {}", host.name()),
        };
        if coverage.from > span.to || coverage.to < span.from {
            report(format_args!("{subject} covers nothing of it"));
        } else {
            let from = self.show(coverage.from.max(span.from));
            let to = self.show(coverage.to.min(span.to));
            report(format_args!("{subject} covers of it only {from} to {to}"));
        }
    }

    /// Fails for a moment that the journal of a host does not cover.
    pub(in crate::cli) fn check_host(
        &self,
        host: &HostJournal,
        moment: Wall,
    ) -> anyhow::Result<()> {
        self.check(host.span(now()), moment, || host.is_live())
    }

    /// Fails for a moment before or after the time that a journal covers. `is_live` returns whether
    /// a recorder writes to the journal.
    pub(super) fn check(
        &self,
        coverage: TimeSpan,
        moment: Wall,
        is_live: impl FnOnce() -> bool,
    ) -> anyhow::Result<()> {
        let (asked, from, to) =
            (self.show(moment), self.show(coverage.from), self.show(coverage.to));
        if moment < coverage.from {
            bail!("{asked} is before the journal, which begins at {from}");
        }
        if moment > coverage.to {
            let recorder = match is_live() {
                false => "; no recorder runs",
                true if coverage.to < now() => "; its recorder runs, but has not written since",
                true => "",
            };
            bail!("{asked} is after the journal, which ends at {to}{recorder}");
        }
        Ok(())
    }
}
