//! The one loop: source -> table -> view.
//!
//! The session owns the table. The session knows neither the origin of events nor the form in which
//! views show them.

use std::{collections::VecDeque, io, time::Duration};

use rustc_hash::FxHashMap;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::core::{
    change::{Change, Resync},
    connection::Connection,
    event::Event,
    filter::Filter,
    table::ConnectionTable,
    tcp::TcpState,
    time::Mono,
};

#[cfg(test)]
mod tests;

/// The longest wait for the first dump: a million sockets take seconds, and several times that on a
/// busy machine. After the wait, a duration begins even without the dump.
pub(crate) const SEEDING: Duration = Duration::from_secs(30);

/// A source of items, in the order of their times: the live kernel yields events, a journal yields
/// entries. The first item ties the clocks.
pub trait Source {
    /// An event or an entry.
    type Item: TableInput;

    /// Waits, then appends items to `items`, possibly none, so that time can pass. Returns `false`
    /// when no more can come.
    ///
    /// Must lose nothing when the future is dropped before it is done.
    fn next(&mut self, items: &mut VecDeque<Self::Item>) -> impl Future<Output = io::Result<bool>>;

    /// Returns whether the source begins with the sockets that were there before. Such a source
    /// yields [`Event::DumpEnded`] after the last of these sockets.
    fn begins_with_seeds(&self) -> bool {
        false
    }

    /// Appends the items that are still on their way; called once, last.
    fn finish(&mut self, items: &mut VecDeque<Self::Item>) -> impl Future<Output = io::Result<()>>;
}

/// An item that a table takes.
pub trait TableInput {
    /// Changes the tables and hands the changes to `view`.
    ///
    /// # Errors
    /// The first error of `view`; the tables have taken the item all the same.
    fn apply<E>(
        &self,
        tables: &mut Tables,
        view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E>;

    /// Returns the time of the transition that the item is. None for an item
    /// that must be reported even when enough transitions were shown.
    fn transition_time(&self) -> Option<Mono>;
}

impl TableInput for Event {
    fn apply<E>(
        &self,
        tables: &mut Tables,
        view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        tables.current.apply(self, view)
    }

    fn transition_time(&self) -> Option<Mono> {
        match self {
            Self::Transition(transition) => Some(transition.time),
            _ => None,
        }
    }
}

/// The table of the current host, and the tables of the other hosts of a journal.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The table that items change.
    pub current: ConnectionTable,
    host: usize,
    others: FxHashMap<usize, ConnectionTable>,
}

impl Tables {
    /// Turns to the table of the host with the number `host`.
    pub fn turn_to(&mut self, host: usize) {
        if self.host != host {
            let table = self.others.remove(&host).unwrap_or_default();
            let previous = std::mem::replace(&mut self.current, table);
            self.others.insert(std::mem::replace(&mut self.host, host), previous);
        }
    }
}

/// Shows changes.
pub trait View {
    /// Takes one change. Returns whether the change counts as a transition that was shown.
    ///
    /// # Errors
    /// The error of the output.
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool>;

    /// Shows the changes that were handed over. Everything that is known at this moment was handed
    /// over, and `table` is the table at this moment.
    ///
    /// # Errors
    /// The error of the output.
    fn flush(&mut self, table: &ConnectionTable) -> io::Result<()>;

    /// Waits until the view needs a flush though no change came: a key was pressed, or time passed.
    /// Most views never need such a flush.
    ///
    /// Must lose nothing when the future is dropped before it is done.
    ///
    /// # Errors
    /// An error if the view cannot show anything any more.
    fn refresh_due(&mut self) -> impl Future<Output = io::Result<()>> {
        std::future::pending()
    }
}

/// The changes to show.
#[derive(Clone, Debug, Default)]
pub struct SessionScope {
    /// The connections to show.
    pub filter: Filter,
    /// Connections that were there before are shown too, first.
    pub initial: bool,
    /// Half-open connections that later dumps found, their ends, and owners that became known later
    /// are shown too. A view of transitions needs no such changes.
    pub include_dumped: bool,
}

/// The limits at which a session ends by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// The session ends after this time. The time begins when the table has the connections that
    /// were there before.
    pub duration: Option<Duration>,
    /// The session ends after this many transitions were shown. A source that begins with seeds
    /// yields no transition before the end of the seeds.
    pub count: Option<u64>,
}

/// The counts of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSummary {
    /// Transitions that the source yielded.
    pub seen: u64,
    /// Transitions that the view showed.
    pub shown: u64,
    /// Records that were lost.
    pub lost: u64,
    /// Gaps; the number of records that some gaps lost is not known.
    pub gaps: u64,
    /// Rows of the table that dumps of the kernel's table corrected.
    pub corrected: u64,
}

/// Runs a session until a limit is reached, `stop` is notified, or an error ends the session. Then
/// takes the items that are still on their way, unless there was an error. Returns the counts.
///
/// # Errors
/// The error of the source or of the view, a closed pipe among them.
pub async fn run(
    source: &mut impl Source,
    view: &mut impl View,
    scope: &SessionScope,
    limits: Limits,
    stop: &Notify,
) -> io::Result<SessionSummary> {
    let mut session = Session::new(scope);
    session.follow(source, view, limits, stop).await?;
    session.finish(source, view).await
}

/// The tables of a session, and its counts.
pub struct Session<'a> {
    tables: Tables,
    scope: &'a SessionScope,
    summary: SessionSummary,
    count: Option<u64>,
    /// The corrections of the current dump, of connections that pass the filter.
    resync: Resync,
    /// The number of dumps that are needed until every loss is corrected.
    unsettled: u8,
    /// The number of dumps that the table was compared with.
    reconciled: u64,
    /// The time from which on the first dump is not awaited any more.
    seeded_by: Option<Instant>,
}

/// One dump notices that a connection is not there, the next dump confirms it.
const DUMPS_TO_BE_SURE: u8 = 2;

impl<'a> Session<'a> {
    /// Begins with an empty table.
    #[must_use]
    pub fn new(scope: &'a SessionScope) -> Self {
        Self {
            tables: Tables::default(),
            scope,
            summary: SessionSummary::default(),
            count: None,
            resync: Resync::default(),
            unsettled: 0,
            reconciled: 0,
            seeded_by: None,
        }
    }

    /// Returns the table in its present state.
    #[must_use]
    pub fn table(&self) -> &ConnectionTable {
        &self.tables.current
    }

    /// Lets connections that are still there take over the data that an earlier recording had.
    pub fn remember(&mut self, rows: Vec<Connection>) {
        self.tables.current.remember(rows);
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn summary(&self) -> SessionSummary {
        self.summary
    }

    /// Returns how often the table has been compared with the kernel's.
    #[must_use]
    pub fn reconciled(&self) -> u64 {
        self.reconciled
    }

    /// Runs until a limit is reached, `stop` is notified, or an error ends the run. Another
    /// call goes on with the session.
    ///
    /// # Errors
    /// The error of the source or of the view.
    pub async fn follow(
        &mut self,
        source: &mut impl Source,
        view: &mut impl View,
        limits: Limits,
        stop: &Notify,
    ) -> io::Result<()> {
        self.count = limits.count;
        // Far enough to be never, near enough to be a time.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
        let duration = limits.duration.unwrap_or(NEVER).min(NEVER);
        let now = Instant::now();
        // A caller that follows again and again waits for the first dump only once.
        let seeded_by = *self.seeded_by.get_or_insert(now + SEEDING);
        let is_seeded = self.reconciled > 0 || !source.begins_with_seeds();
        let begin = if is_seeded { now } else { seeded_by.max(now) };
        let mut end = begin + duration;
        let mut goes_on = true;
        let mut items = VecDeque::new();
        while goes_on && !self.is_done() {
            tokio::select! {
                biased;
                () = stop.notified() => goes_on = false,
                () = sleep_until(end) => goes_on = false,
                // The view comes before the source, which always has items on a busy host.
                result = view.refresh_due() => result?,
                result = source.next(&mut items) => goes_on = result?,
            }
            self.show(&mut items, view)?;
            if self.reconciled > 0 {
                // After the first time, this is later than `end`.
                end = end.min(Instant::now() + duration);
            }
        }
        Ok(())
    }

    /// Takes the items that are still on their way. Returns the counts.
    ///
    /// # Errors
    /// The error of the source or of the view.
    pub async fn finish(
        mut self,
        source: &mut impl Source,
        view: &mut impl View,
    ) -> io::Result<SessionSummary> {
        let mut items = VecDeque::new();
        source.finish(&mut items).await?;
        self.show(&mut items, view)?;
        Ok(self.summary)
    }

    fn show(
        &mut self,
        items: &mut VecDeque<impl TableInput>,
        view: &mut impl View,
    ) -> io::Result<()> {
        let Self { tables, scope, summary, count, resync, unsettled, reconciled, .. } = self;
        for item in items.drain(..) {
            // Losses must be reported even when enough transitions were shown.
            let is_done = count.is_some_and(|count| summary.shown >= count);
            if is_done && item.transition_time().is_some() {
                continue;
            }
            item.apply(tables, |change| {
                if !is_wanted(&change, scope) {
                    summary.seen += u64::from(is_seen(&change));
                    return Ok(());
                }
                match &change {
                    Change::Gap(gap) => {
                        *unsettled = DUMPS_TO_BE_SURE;
                        summary.lost += gap.count;
                        summary.gaps += 1;
                    }
                    Change::Resync(resync) => summary.corrected += resync.corrected(),
                    Change::Found { initial: false, .. } => resync.found += 1,
                    Change::StateChanged(step) if step.corrected => resync.moved += 1,
                    Change::Closed(step) if step.corrected => {
                        let is_time_wait = step.transition.new == TcpState::TimeWait;
                        *(if is_time_wait { &mut resync.moved } else { &mut resync.ended }) += 1;
                    }
                    Change::Reconciled { time } => {
                        *reconciled += 1;
                        let was_unsettled = *unsettled > 0;
                        *unsettled = unsettled.saturating_sub(1);
                        let corrected = resync.corrected();
                        if corrected > 0 || was_unsettled && *unsettled == 0 {
                            summary.corrected += corrected;
                            let resync = Resync { time: *time, ..std::mem::take(resync) };
                            view.change(&Change::Resync(resync))?;
                        }
                        return Ok(());
                    }
                    _ => {}
                }
                summary.seen += u64::from(is_seen(&change));
                summary.shown += u64::from(view.change(&change)?);
                io::Result::Ok(())
            })?;
        }
        view.flush(&self.tables.current)
    }

    fn is_done(&self) -> bool {
        self.count.is_some_and(|count| self.summary.shown >= count)
    }
}

/// Returns whether an event reported the change, not a dump.
fn is_seen(change: &Change<'_>) -> bool {
    match change {
        Change::Opened(_) => true,
        Change::StateChanged(step) | Change::Closed(step) | Change::Expired(step) => {
            !step.corrected
        }
        _ => false,
    }
}

fn is_wanted(change: &Change<'_>, scope: &SessionScope) -> bool {
    match change {
        Change::Found { time, connection, initial } => {
            let is_half_open = connection.state == TcpState::SynRecv;
            let is_news =
                *initial && scope.initial || !*initial && (!is_half_open || scope.include_dumped);
            is_news && scope.filter.matches(&(*connection, *time))
        }
        Change::Owned { time, connection } => {
            scope.include_dumped && scope.filter.matches(&(*connection, *time))
        }
        Change::Expired(step)
            if step.transition.old == TcpState::SynRecv && !scope.include_dumped =>
        {
            false
        }
        Change::Opened(step)
        | Change::StateChanged(step)
        | Change::Closed(step)
        | Change::Expired(step) => scope.filter.matches(step),
        Change::Anchor(_)
        | Change::Host(_)
        | Change::Gap(_)
        | Change::Reconciled { .. }
        | Change::Resync(_) => true,
    }
}
