//! `netmon history`: the connections of a journal.

use std::sync::Arc;

use clap::Args;

use super::{
    args::journal::{FormArgs, JournalArgs, SpanArgs, now},
    io::{progress::Progress, stderr::report, stdout::Stdout},
};
use crate::{
    core::{filter::RowKind, loss::Gap, tcp::TcpState},
    journal::{HistoryItem, community_id},
    view::changes::history,
};

/// List how the connections of a journal ended, and which are open
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = super::FILTER_HELP)]
pub(super) struct HistoryCommand {
    #[command(flatten)]
    stretch: SpanArgs,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    past: JournalArgs,
    /// Connections to list, as for ss: verdict = refused and dport = :443
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  netmon history --from yesterday                     all that ended since
  netmon history 'verdict = refused'                  connects that were refused
  netmon history --from '1h ago' 'comm = nginx'       the last hour of nginx";

impl HistoryCommand {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let filter = Arc::new(self.past.filter(&self.filter, RowKind::Connection));
        let journal = self.past.open()?;
        let span = self.past.span(&journal, &self.stretch)?;
        let progress = Progress::of(journal.read_counter());
        let out = Stdout::lock();
        let mut view = if self.form.json {
            history::HistoryView::json(out)
        } else {
            history::HistoryView::lines(out, self.past.appearance_of(&journal, self.form))?
        };
        let mut gaps = Sums::default();
        let hosts = journal.hosts();
        let several = hosts.len() > 1;
        let mut current = None;
        let mut turn_to = |view: &mut history::HistoryView<_>, number: usize| {
            if several && current.replace(number) != Some(number) {
                view.host(hosts[number].name());
            }
        };
        journal.ended(span, &filter, |number, ended| {
            turn_to(&mut view, number);
            let ended = match ended {
                HistoryItem::Gap(gap) => {
                    gaps.add(&gap.gap);
                    return view.gap(gap.moment, &gap.gap);
                }
                HistoryItem::Connection(ended) => ended,
            };
            let step = ended.step();
            if !filter.matches(&step) {
                return Ok(());
            }
            view.closed(ended.moment, &step, || community_id(&ended.connection.tuple))
        })?;
        for (number, host) in hosts.iter().enumerate() {
            turn_to(&mut view, number);
            let (table, anchor, _) = host.table_at(span.to.min(host.span(now()).to));
            // Listeners are no connections, and a connection in TIME_WAIT has ended.
            let is_open =
                |state| !matches!(state, TcpState::Listen | TcpState::TimeWait | TcpState::Close);
            let mut rows: Vec<_> =
                table.rows().filter(|row| is_open(row.state) && filter.matches(*row)).collect();
            rows.sort_by_key(|row| (row.opened, row.id.cookie));
            rows.into_iter().try_for_each(|row| view.open(anchor, row))?;
        }
        view.finish()?;
        drop(progress);
        gaps.report();
        Ok(())
    }
}

/// The numbers of gaps and of lost events in a stretch of time.
#[derive(Default)]
struct Sums {
    gaps: u64,
    lost: u64,
}

impl Sums {
    fn add(&mut self, gap: &Gap) {
        self.gaps += 1;
        self.lost += gap.count;
    }

    fn report(&self) {
        if self.gaps > 0 {
            let Self { gaps, lost } = self;
            let plural = if *gaps == 1 { "" } else { "s" };
            report(format_args!(
                "{gaps} gap{plural} in the journal, {lost} events known to be lost"
            ));
        }
    }
}
