//! The one loop: source -> table -> view.
//!
//! Owns the table. It knows neither where events come from nor how they are shown.

use std::{collections::VecDeque, io, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::core::{
    event::{Event, Loss},
    filter::Filter,
    table::{Change, ConnectionTable},
};

/// Yields events: the live kernel, or a journal.
pub trait Source {
    /// Waits for events and appends them to `events`; possibly none, so that time can pass.
    ///
    /// Must lose nothing when it is dropped before it is done.
    fn next(&mut self, events: &mut VecDeque<Event>) -> impl Future<Output = io::Result<()>>;

    /// Appends what is still on its way; called once, last.
    fn finish(&mut self, events: &mut VecDeque<Event>) -> impl Future<Output = io::Result<()>>;
}

/// Shows changes.
pub trait View {
    /// Takes one change; whether it was shown as a transition.
    ///
    /// # Errors
    /// What writing it answered.
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool>;

    /// Everything that is known at this moment was handed over: let it be seen.
    ///
    /// # Errors
    /// What writing it answered.
    fn flush(&mut self) -> io::Result<()>;
}

/// What to show.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Which connections.
    pub filter: Filter,
    /// Also those that were there before, first.
    pub initial: bool,
}

/// When to end by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// After this time.
    pub duration: Option<Duration>,
    /// After this many transitions shown.
    pub count: Option<u64>,
}

/// What a session saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Transitions that the source yielded.
    pub seen: u64,
    /// Transitions that the view showed.
    pub shown: u64,
    /// Records lost to a full ring buffer.
    pub ring_full: u64,
    /// Records lost because the kernel skipped the program.
    pub recursion: u64,
    /// Records that could not be understood.
    pub malformed: u64,
    /// Sockets that the kernel could make no storage for.
    pub storage: u64,
}

impl Summary {
    /// All that were lost.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.ring_full + self.recursion + self.malformed + self.storage
    }
}

/// Runs until a limit is reached, `stop` is notified, or an error ends it.
///
/// # Errors
/// What the source or the view answered; a closed pipe among them.
pub async fn run(
    source: &mut impl Source,
    view: &mut impl View,
    scope: &Scope,
    limits: Limits,
    stop: &Notify,
) -> io::Result<Summary> {
    let table = ConnectionTable::default();
    let mut session = Session { table, scope, summary: Summary::default(), limits };
    let mut events = VecDeque::new();
    // Far enough to be never, near enough to be a time.
    const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
    let end = Instant::now() + limits.duration.unwrap_or(NEVER).min(NEVER);
    while !session.is_done() {
        tokio::select! {
            biased;
            () = stop.notified() => break,
            () = sleep_until(end) => break,
            result = source.next(&mut events) => result?,
        }
        session.show(&mut events, view)?;
    }
    source.finish(&mut events).await?;
    session.show(&mut events, view)?;
    Ok(session.summary)
}

struct Session<'a> {
    table: ConnectionTable,
    scope: &'a Scope,
    summary: Summary,
    limits: Limits,
}

impl Session<'_> {
    fn show(&mut self, events: &mut VecDeque<Event>, view: &mut impl View) -> io::Result<()> {
        while let Some(event) = events.pop_front() {
            // What was lost must be said even when enough was shown.
            if self.is_done() && matches!(event, Event::Transition(_)) {
                continue;
            }
            self.table.apply(&event, |change| {
                match &change {
                    Change::Gap { count, loss: Loss::RingFull, .. } => {
                        self.summary.ring_full += count;
                    }
                    Change::Gap { count, loss: Loss::Recursion, .. } => {
                        self.summary.recursion += count;
                    }
                    Change::Gap { count, loss: Loss::Malformed, .. } => {
                        self.summary.malformed += count;
                    }
                    Change::Gap { count, loss: Loss::Storage, .. } => self.summary.storage += count,
                    Change::Anchor(_) => {}
                    Change::Opened(step) | Change::Moved(step) | Change::Closed(step) => {
                        self.summary.seen += 1;
                        if !self.scope.filter.matches(step) {
                            return Ok(());
                        }
                    }
                    Change::Seeded { connection, .. } => {
                        if self.scope.initial && self.scope.filter.matches(*connection) {
                            view.change(&change)?;
                        }
                        return Ok(());
                    }
                }
                self.summary.shown += u64::from(view.change(&change)?);
                io::Result::Ok(())
            })?;
        }
        view.flush()
    }

    fn is_done(&self) -> bool {
        self.limits.count.is_some_and(|count| self.summary.shown >= count)
    }
}
