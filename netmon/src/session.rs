//! The one loop: source -> table -> view.
//!
//! Owns the table. It knows neither where events come from nor how they are shown.

use std::{collections::VecDeque, io, time::Duration};

use rustc_hash::FxHashMap;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::core::{
    connection::{Change, Connection, Resync},
    event::Event,
    filter::Filter,
    table::ConnectionTable,
    tcp::TcpState,
};

#[cfg(test)]
mod tests;

/// How long the first dump may take: a million sockets take seconds, on a busy machine several
/// times that. After it a duration begins all the same.
const SEEDING: Duration = Duration::from_secs(30);

/// Yields what happened, in order: the live kernel yields events, a journal entries. The first ties
/// the clocks.
pub trait Source {
    /// One thing that happened.
    type Item: TableInput;

    /// Waits, then appends items to `items`, possibly none, so that time can pass. Returns `false`
    /// when no more can come.
    ///
    /// Must lose nothing when it is dropped before it is done.
    fn next(&mut self, items: &mut VecDeque<Self::Item>) -> impl Future<Output = io::Result<bool>>;

    /// Returns whether it begins with what was there before, and says by [`Event::DumpEnded`] that
    /// this was all.
    fn begins_with_seeds(&self) -> bool {
        false
    }

    /// Appends what is still on its way; called once, last.
    fn finish(&mut self, items: &mut VecDeque<Self::Item>) -> impl Future<Output = io::Result<()>>;
}

/// One thing that happened, as a table takes it.
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

    /// The moment of the transition that it is, `CLOCK_MONOTONIC`, ns; none of what has to be
    /// reported whatever was asked for.
    fn transition_time(&self) -> Option<u64>;
}

impl TableInput for Event {
    fn apply<E>(
        &self,
        tables: &mut Tables,
        view: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        tables.current.apply(self, view)
    }

    fn transition_time(&self) -> Option<u64> {
        match self {
            Self::Transition(transition) => Some(transition.time),
            _ => None,
        }
    }
}

/// The table of the host whose items come now, and those of the other hosts of a journal.
#[derive(Debug, Default)]
pub struct Tables {
    /// The table that items change.
    pub current: ConnectionTable,
    host: usize,
    others: FxHashMap<usize, ConnectionTable>,
}

impl Tables {
    /// Turns to the table of another host, by a number that is the host's own.
    pub fn turn_to(&mut self, host: usize) {
        if self.host != host {
            let table = self.others.remove(&host).unwrap_or_default();
            let left = std::mem::replace(&mut self.current, table);
            self.others.insert(std::mem::replace(&mut self.host, host), left);
        }
    }
}

/// Shows changes.
pub trait View {
    /// Takes one change; whether it was shown as a transition.
    ///
    /// # Errors
    /// What writing it answered.
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool>;

    /// Everything that is known at this moment was handed over, and this is the table now: let it
    /// be seen.
    ///
    /// # Errors
    /// What writing it answered.
    fn flush(&mut self, table: &ConnectionTable) -> io::Result<()>;

    /// Waits until it wants to be flushed though nothing has happened: a key was pressed, or time
    /// passes. Most never do.
    ///
    /// Must lose nothing when it is dropped before it is done.
    ///
    /// # Errors
    /// When it cannot be shown any more.
    fn refresh_due(&mut self) -> impl Future<Output = io::Result<()>> {
        std::future::pending()
    }
}

/// What to show.
#[derive(Clone, Debug, Default)]
pub struct SessionScope {
    /// Which connections.
    pub filter: Filter,
    /// Also those that were there before, first.
    pub initial: bool,
    /// Also half-open connections, and whom a dump found to hold one: no hook tells of either, so a
    /// view of events does without.
    pub include_dumped: bool,
}

/// When to end by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// After this time, which begins when the table has what was there before.
    pub duration: Option<Duration>,
    /// After this many transitions shown; a source that begins with seeds tells of none before.
    pub count: Option<u64>,
}

/// What a session saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSummary {
    /// Transitions that the source yielded.
    pub seen: u64,
    /// Transitions that the view showed.
    pub shown: u64,
    /// Records that were lost.
    pub lost: u64,
    /// Gaps, of which some do not say how much was lost.
    pub gaps: u64,
    /// Rows of the table that a dump of the kernel's corrected.
    pub corrected: u64,
}

/// Runs until a limit is reached, `stop` is notified, or an error ends it, and takes what is still
/// on its way.
///
/// # Errors
/// What the source or the view answered; a closed pipe among them.
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

/// A table on its way through time.
pub struct Session<'a> {
    tables: Tables,
    scope: &'a SessionScope,
    summary: SessionSummary,
    count: Option<u64>,
    /// What the dump under way has corrected, of what the filter lets pass.
    resync: Resync,
    /// How many dumps it takes until what was lost has been found.
    unsettled: u8,
    /// Dumps that the table was compared with.
    reconciled: u64,
    /// When the first dump has taken too long.
    seeded_by: Option<Instant>,
}

/// One dump notices what is not there, the next is sure of it.
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

    /// The table as it is now.
    #[must_use]
    pub fn table(&self) -> &ConnectionTable {
        &self.tables.current
    }

    /// Lets connections that are still there take over what an earlier recording knew of them.
    pub fn remember(&mut self, rows: Vec<Connection>) {
        self.tables.current.remember(rows);
    }

    /// What was seen so far.
    #[must_use]
    pub fn summary(&self) -> SessionSummary {
        self.summary
    }

    /// How often the table has been compared with the kernel's.
    #[must_use]
    pub fn reconciled(&self) -> u64 {
        self.reconciled
    }

    /// Runs until a limit is reached, `stop` is notified, or an error ends it; can be gone on with.
    ///
    /// # Errors
    /// What the source or the view answered.
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
        // Whoever follows again and again waits no longer than once.
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
                // Before the source, which always has something on a busy host.
                result = view.refresh_due() => result?,
                result = source.next(&mut items) => goes_on = result?,
            }
            self.show(&mut items, view)?;
            if self.reconciled > 0 {
                // Later than the end after the first time.
                end = end.min(Instant::now() + duration);
            }
        }
        Ok(())
    }

    /// Takes what is still on its way.
    ///
    /// # Errors
    /// What the source or the view answered.
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
            // What was lost must be said even when enough was shown.
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
                        let is_left = step.transition.new == TcpState::TimeWait;
                        *(if is_left { &mut resync.moved } else { &mut resync.ended }) += 1;
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

/// Whether an event told of it, not a dump.
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
        Change::Found { connection, initial, .. } => {
            let is_half_open = connection.state == TcpState::SynRecv;
            let is_news =
                *initial && scope.initial || !*initial && (!is_half_open || scope.include_dumped);
            is_news && scope.filter.matches(*connection)
        }
        Change::Owned { connection, .. } => {
            scope.include_dumped && scope.filter.matches(*connection)
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
