//! `netmon history`: the connections of a journal.

use clap::Args;

use super::{
    past::{Past, Stretch},
    stdout::Stdout,
};
use crate::{
    core::{connection::Step, tcp::TcpState},
    view::history,
};

/// List the connections of a journal: those that ended in a stretch of time, and those open at its end
#[derive(Debug, Args)]
#[command(after_help = super::FILTER_HELP)]
pub(super) struct History {
    #[command(flatten)]
    stretch: Stretch,
    /// Write JSON Lines
    #[arg(long)]
    json: bool,
    /// Show port numbers instead of service names
    #[arg(short = 'n', long)]
    numeric: bool,
    #[command(flatten)]
    past: Past,
    /// Which connections, as for ss: verdict = refused and dport = :443
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let filter = super::filter(&self.filter);
        let journal = self.past.open()?;
        let span = self.past.span(&journal, &self.stretch)?;
        let out = Stdout::lock();
        let mut view = if self.json {
            history::History::json(out)
        } else {
            history::History::lines(out, self.past.appearance(self.numeric, true))?
        };
        journal.finished(span, &filter, |finished| {
            let step = Step {
                transition: &finished.transition,
                connection: &finished.connection,
                in_state: None,
                verdict: finished.connection.verdict,
                corrected: false,
            };
            if filter.matches(&step) { view.closed(finished.moment, &step) } else { Ok(()) }
        })?;
        let (table, anchor, _) = journal.table_at(span.to);
        // Listeners are no connections, and what is in TIME_WAIT has ended.
        let is_open =
            |state| !matches!(state, TcpState::Listen | TcpState::TimeWait | TcpState::Close);
        let mut rows: Vec<_> =
            table.rows().filter(|row| is_open(row.state) && filter.matches(*row)).collect();
        rows.sort_by_key(|row| (row.id.epoch, row.id.cookie));
        rows.into_iter().try_for_each(|row| view.open(anchor, row))?;
        Ok(view.finish()?)
    }
}
