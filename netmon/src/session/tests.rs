//! The beginning of a session's duration, and the end of a session.

use std::net::SocketAddr;

use tokio::time::{sleep, timeout};

use super::*;
use crate::core::{
    event::{Opening, Transition},
    id::{Tuple, socket},
    time::{Anchor, Wall, at},
};

/// The duration of a session.
const LOOK: Duration = Duration::from_millis(300);
/// The end of the first dump: later than the end of a duration that began at once.
const LATE: Duration = Duration::from_millis(900);

/// A source whose first dump ends late or never, and which yields a transition after the dump.
struct Slow {
    events: VecDeque<Event>,
    /// The end of the dump; none if the dump never ends.
    due: Option<Instant>,
    seeds: bool,
}

impl Slow {
    fn new(due: Option<Duration>, seeds: bool) -> Self {
        let end = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let tuple = Tuple { netns: 1, interface: 0, local: end(1000), remote: end(80) };
        let transition = Transition {
            time: at(2),
            opening: Opening::ByProcess(None),
            ..Transition::bare(socket(1), tuple, TcpState::Close, TcpState::SynSent)
        };
        let events = [
            Event::Anchor(Anchor { wall: Wall::from_nanos(1), monotonic: at(1) }),
            Event::DumpEnded { time: at(1) },
            Event::Transition(transition),
        ];
        Self { events: events.into(), due: due.map(|due| Instant::now() + due), seeds }
    }
}

impl Source for Slow {
    type Item = Event;

    async fn next(&mut self, events: &mut VecDeque<Event>) -> io::Result<bool> {
        // The anchor comes at once, and the events after the anchor come only at `due`.
        if self.events.len() == 3 {
            events.extend(self.events.pop_front());
        }
        match self.due {
            Some(due) if !self.events.is_empty() => sleep_until(due).await,
            _ => std::future::pending().await,
        }
        events.extend(self.events.pop_front());
        Ok(true)
    }

    fn begins_with_seeds(&self) -> bool {
        self.seeds
    }

    async fn finish(&mut self, _: &mut VecDeque<Event>) -> io::Result<()> {
        Ok(())
    }
}

/// A view that counts anchors and transitions.
#[derive(Default)]
struct CountingView {
    anchors: u32,
    transitions: u32,
}

impl View for CountingView {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        self.anchors += u32::from(matches!(change, Change::Anchor(_)));
        self.transitions += u32::from(is_seen(change));
        Ok(is_seen(change))
    }

    fn flush(&mut self, _: &ConnectionTable) -> io::Result<()> {
        Ok(())
    }
}

/// Follows for [`LOOK`], in less than half of [`SEEDING`]. Returns the time that passed.
async fn look(session: &mut Session<'_>, source: &mut Slow, view: &mut CountingView) -> Duration {
    let limits = Limits { duration: Some(LOOK), count: None };
    let (begin, stop) = (Instant::now(), Notify::new());
    let run = timeout(SEEDING / 2, session.follow(source, view, limits, &stop));
    run.await.expect("it ends in time").expect("no error");
    begin.elapsed()
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn a_duration_begins_when_the_first_dump_is_over() {
    block_on(async {
        let scope = SessionScope::default();
        let (mut session, mut view) = (Session::new(&scope), CountingView::default());
        let mut source = Slow::new(Some(LATE), true);
        let elapsed = look(&mut session, &mut source, &mut view).await;
        assert_eq!((session.reconciled(), view.anchors, view.transitions), (1, 1, 1));
        assert!(elapsed >= LATE + LOOK, "{elapsed:?}");
        // The next duration begins at once: no other dump is awaited.
        look(&mut session, &mut source, &mut view).await;
    });
}

#[test]
fn a_dump_that_never_ends_is_waited_for_once() {
    block_on(async {
        let scope = SessionScope::default();
        let (mut session, mut view) = (Session::new(&scope), CountingView::default());
        let mut source = Slow::new(None, true);
        session.seeded_by = Some(Instant::now() + LATE);
        let elapsed = look(&mut session, &mut source, &mut view).await;
        assert!(elapsed >= LATE + LOOK, "{elapsed:?}");
        // The anchor, which came before the dump, was shown.
        assert_eq!((session.reconciled(), view.anchors), (0, 1));
        look(&mut session, &mut source, &mut view).await;
    });
}

#[test]
fn a_source_without_dumps_is_not_waited_for() {
    block_on(async {
        let scope = SessionScope::default();
        let (mut session, mut view) = (Session::new(&scope), CountingView::default());
        look(&mut session, &mut Slow::new(None, false), &mut view).await;
        assert_eq!(session.reconciled(), 0);
    });
}

#[test]
fn a_stop_does_not_wait_for_the_first_dump() {
    block_on(async {
        let scope = SessionScope::default();
        let (mut session, mut view) = (Session::new(&scope), CountingView::default());
        let (mut source, stop) = (Slow::new(None, true), Notify::new());
        let limits = Limits { duration: Some(LOOK), count: None };
        let run = session.follow(&mut source, &mut view, limits, &stop);
        let stop_later = async {
            sleep(LOOK).await;
            stop.notify_one();
        };
        let both = timeout(SEEDING / 2, async { tokio::join!(run, stop_later).0 });
        both.await.expect("it ends in time").expect("no error");
        assert_eq!(view.anchors, 1);
    });
}
