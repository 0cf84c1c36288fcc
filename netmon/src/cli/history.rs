//! `netmon history`: the connections of a journal.

mod row;

use std::{
    collections::{HashSet, VecDeque},
    io::{self, Write},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::{runtime::Builder, time::sleep};

use self::row::{Sort, order};
use super::{
    args::{
        journal::{FormArgs, JournalArgs, SpanArgs, now, report_unknown_self},
        tracing::{is_coloured, stop_on_signals},
    },
    io::{
        pager::Pager,
        progress::Progress,
        stderr::{announce, report},
        terminal,
    },
};
use crate::{
    core::{
        filter::{Filter, RowKind},
        services::Services,
        time::TimeSpan,
    },
    journal::{Journal, community_id},
    view::{
        changes::history::{HistoryEntry, HistoryView},
        language::ENGLISH,
        listing::name_cache::NameCache,
        summary::{Summary, SummaryForm},
    },
};

/// The time between two looks at a journal (`--follow`).
const EVERY: Duration = Duration::from_secs(1);
/// A recorder writes an event within so much time. `--follow` shows events so late.
const WRITTEN: Duration = Duration::from_secs(2);
/// The longest time for the end after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// List how the connections of a journal ended, and which are open
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = super::FILTER_HELP)]
pub(super) struct HistoryCommand {
    #[command(flatten)]
    stretch: SpanArgs,
    #[command(flatten)]
    form: FormArgs,
    /// List the N latest connections; with --sort or --reverse the first N of that order
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Order by COLUMN: the longest lifetime and the most bytes first [default: ended]
    #[arg(long, value_enum, value_name = "COLUMN")]
    sort: Option<Sort>,
    /// List in the reverse order: without --sort, open connections first, then the latest end
    #[arg(long)]
    reverse: bool,
    /// Go on with the connections that end from now on
    #[arg(long, conflicts_with_all = ["to", "limit", "sort", "reverse", "summary"])]
    follow: bool,
    /// Print counts instead of connections
    #[arg(long, conflicts_with_all = ["limit", "sort", "reverse"])]
    summary: bool,
    /// Do not show the lines in a pager
    #[arg(long)]
    no_pager: bool,
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
        let pages = !(self.no_pager || self.follow);
        // The pager is a program: it starts before this thread gives up all files but the journal.
        let mut pager = if pages { Pager::start() } else { Pager::none() };
        let journal = self.past.open()?;
        report_unknown_self(journal.hosts(), filter.names_own_netns());
        let span = self.past.span(&journal, &self.stretch)?;
        let progress = Progress::of(journal.read_counter());
        let mut tally = Tally::default();
        if self.summary {
            self.count(&journal, span, &filter, pager.output(), &mut tally)?;
        } else {
            let mut view = self.view(&journal, pager.output());
            self.list(&journal, span, &filter, &mut view, &mut tally)?;
            view.finish()?;
            if self.follow {
                drop(progress);
                // One thread is enough to wait, and needs no privileges of its own.
                let runtime = Builder::new_current_thread().enable_all().build()?;
                return runtime.block_on(self.follow(view, span, &filter));
            }
        }
        // The pager ends after its input, and then messages have the terminal.
        drop((progress, pager));
        if tally.rows == 0 {
            let (from, to) = (self.past.show(span.from), self.past.show(span.to));
            announce(format_args!("no connection from {from} to {to} matches"));
        }
        self.report_ended_recorders(&journal, span, &tally);
        tally.report(&filter);
        Ok(())
    }

    fn view(&self, journal: &Journal, out: Box<dyn Write>) -> View {
        if self.form.json {
            HistoryView::json(out, |row| community_id(&row.tuple))
        } else {
            HistoryView::lines(out, self.past.appearance_of(journal, self.form))
        }
    }

    /// Reports the moment of open connections where that is not now.
    fn report_ended_recorders(&self, journal: &Journal, span: TimeSpan, tally: &Tally) {
        for host in journal.hosts() {
            let (name, end) = (host.name(), host.span(now()).to);
            if !tally.open.contains(name) || span.to < end || host.is_live() {
                continue;
            }
            let on = match journal.hosts() {
                [_] => String::new(),
                _ => format!(" on {name}"),
            };
            report(format_args!(
                "no recorder runs{on}: open rows are as of {}",
                self.past.show(end)
            ));
        }
    }

    fn list(
        &self,
        journal: &Journal,
        span: TimeSpan,
        filter: &Arc<Filter>,
        view: &mut View,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let is_ordered = self.sort.is_some() || self.reverse;
        let mut rows = Vec::new();
        let mut latest = self.limit.map(LatestRows::new);
        let take = |entry: HistoryEntry| {
            tally.add(&entry);
            match (entry, &mut latest) {
                (HistoryEntry::Row(row), _) if is_ordered => rows.push(*row),
                // Rows in another order than that of time have no place for a gap.
                (HistoryEntry::Gap(..), _) if is_ordered => {}
                (entry, Some(latest)) => latest.push(entry),
                (entry, None) => return view.put(entry),
            }
            Ok(())
        };
        tally.unmeasured = if self.follow {
            row::ended(journal, span, filter, take).map(|()| 0)
        } else {
            row::items(journal, span, filter, take)
        }?;
        order(&mut rows, self.sort.unwrap_or(Sort::Ended));
        if self.reverse {
            rows.reverse();
        }
        rows.truncate(self.limit.map_or(usize::MAX, NonZeroUsize::get));
        let rows = rows.into_iter().map(|row| HistoryEntry::Row(Box::new(row)));
        let mut entries = latest.map(|latest| latest.entries).into_iter().flatten().chain(rows);
        entries.try_for_each(|entry| view.put(entry))
    }

    fn count(
        &self,
        journal: &Journal,
        span: TimeSpan,
        filter: &Arc<Filter>,
        out: Box<dyn Write>,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let form = SummaryForm {
            json: self.form.json,
            owners: true,
            services: if self.form.numeric { Services::default() } else { Services::load() },
            // The journal has the names of its users.
            users: NameCache::default(),
            terminal: if self.form.wide { None } else { terminal::width() },
            colour: is_coloured(),
            language: &ENGLISH,
        };
        let mut summary = Summary::new(out, "Connections", form);
        tally.unmeasured = row::items(journal, span, filter, |entry| {
            tally.add(&entry);
            if let HistoryEntry::Row(row) = &entry {
                summary.connection(&row.connection);
            }
            Ok::<_, io::Error>(())
        })?;
        summary.write()
    }

    /// Shows the connections that end after `span`, until a signal comes or the reader leaves.
    async fn follow(
        &self,
        mut view: View,
        span: TimeSpan,
        filter: &Arc<Filter>,
    ) -> anyhow::Result<()> {
        let stop = stop_on_signals(GRACE, || {})?;
        let mut shown = span.to;
        loop {
            tokio::select! {
                () = stop.notified() => return Ok(()),
                () = sleep(EVERY) => {}
            }
            let to = now() - WRITTEN;
            if to > shown {
                // A recorder begins new files, and other hosts may come.
                let journal = self.past.open()?;
                let span = TimeSpan { from: shown + Duration::from_micros(1), to };
                self.list(&journal, span, filter, &mut view, &mut Tally::default())?;
                shown = to;
            }
            // Also without a row, this notices that the reader has left.
            view.finish()?;
        }
    }
}

type View = HistoryView<Box<dyn Write>>;

/// The latest rows of a history, with the gaps between them.
struct LatestRows {
    limit: NonZeroUsize,
    rows: usize,
    entries: VecDeque<HistoryEntry>,
}

impl LatestRows {
    fn new(limit: NonZeroUsize) -> Self {
        Self { limit, rows: 0, entries: VecDeque::new() }
    }

    /// Adds an entry. The oldest row goes if there are more rows than the limit.
    fn push(&mut self, entry: HistoryEntry) {
        self.rows += usize::from(matches!(entry, HistoryEntry::Row(_)));
        self.entries.push_back(entry);
        while self.rows > self.limit.get() {
            let oldest = self.entries.pop_front();
            self.rows -= usize::from(matches!(oldest, Some(HistoryEntry::Row(_))));
        }
    }
}

/// The numbers for the messages after a history.
#[derive(Default)]
struct Tally {
    rows: usize,
    /// The hosts with open connections.
    open: HashSet<Arc<str>>,
    gaps: u64,
    /// Events that were lost in the gaps.
    lost: u64,
    /// Open connections whose measurements the journal does not have.
    unmeasured: usize,
}

impl Tally {
    fn add(&mut self, entry: &HistoryEntry) {
        match entry {
            HistoryEntry::Gap(_, _, gap) => {
                self.gaps += 1;
                self.lost += gap.count;
            }
            HistoryEntry::Row(row) => {
                self.rows += 1;
                if row.end.is_none() && !self.open.contains(&row.host) {
                    self.open.insert(Arc::clone(&row.host));
                }
            }
        }
    }

    fn report(&self, filter: &Filter) {
        let Self { gaps, lost, unmeasured, .. } = self;
        if *unmeasured > 0 {
            let (plural, are) = if *unmeasured == 1 { ("", "is") } else { ("s", "are") };
            report(format_args!(
                "{unmeasured} open connection{plural} {are} left out: a journal has '{}' only of \
                 connections that ended",
                filter.measured_words().join("' and '")
            ));
        }
        if *gaps > 0 {
            let plural = if *gaps == 1 { "" } else { "s" };
            report(format_args!(
                "{gaps} gap{plural} in the journal, {lost} events known to be lost"
            ));
        }
    }
}
