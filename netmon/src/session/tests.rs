//! When a session begins to count, and when it ends.

use std::net::SocketAddr;

use tokio::time::{sleep, timeout};

use super::*;
use crate::core::event::{Anchor, Opening, Transition, Tuple};

/// How long a session looks, once it has begun to count.
const LOOK: Duration = Duration::from_millis(300);
/// When the first dump is over: later than such a look would be if it began at once.
const LATE: Duration = Duration::from_millis(900);

/// A source whose first dump is over late or never, and which tells of a transition after it.
struct Slow {
    events: VecDeque<Event>,
    /// When the dump is over; never, where there is no time.
    due: Option<Instant>,
    seeds: bool,
}

impl Slow {
    fn new(due: Option<Duration>, seeds: bool) -> Self {
        let end = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let transition = Transition {
            time: 2,
            cookie: 1,
            tuple: Tuple { netns: 1, local: end(1000), remote: end(80) },
            old: TcpState::Close,
            new: TcpState::SynSent,
            errno: None,
            reset: None,
            totals: None,
            orphan: false,
            inferred: false,
            opening: Opening::ByProcess(None),
        };
        let events = [
            Event::Anchor(Anchor { wall: 1, monotonic: 1 }),
            Event::DumpEnded { time: 1 },
            Event::Transition(transition),
        ];
        Self { events: events.into(), due: due.map(|due| Instant::now() + due), seeds }
    }
}

impl Source for Slow {
    type Item = Event;

    async fn next(&mut self, events: &mut VecDeque<Event>) -> io::Result<bool> {
        // The clock is told at once, and what comes after it only when it is due.
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

/// A view that notes what it was shown.
#[derive(Default)]
struct Noted {
    anchors: u32,
    transitions: u32,
}

impl View for Noted {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        self.anchors += u32::from(matches!(change, Change::Anchor(_)));
        self.transitions += u32::from(is_seen(change));
        Ok(is_seen(change))
    }

    fn flush(&mut self, _: &ConnectionTable) -> io::Result<()> {
        Ok(())
    }
}

/// Follows for [`LOOK`], without waiting for a dump until the bound; how long that took.
async fn look(session: &mut Session<'_>, source: &mut Slow, view: &mut Noted) -> Duration {
    let limits = Limits { duration: Some(LOOK), count: None };
    let (begin, stop) = (Instant::now(), Notify::new());
    let followed = timeout(SEEDING / 2, session.follow(source, view, limits, &stop));
    followed.await.expect("it ends in time").expect("no error");
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
        let (mut session, mut view) = (Session::new(&scope), Noted::default());
        let mut source = Slow::new(Some(LATE), true);
        let took = look(&mut session, &mut source, &mut view).await;
        assert_eq!((session.reconciled(), view.anchors, view.transitions), (1, 1, 1));
        assert!(took >= LATE + LOOK, "{took:?}");
        // From then on it begins at once: there is no other dump to wait for.
        look(&mut session, &mut source, &mut view).await;
    });
}

#[test]
fn a_dump_that_never_ends_is_waited_for_once() {
    block_on(async {
        let scope = SessionScope::default();
        let (mut session, mut view) = (Session::new(&scope), Noted::default());
        let mut source = Slow::new(None, true);
        session.seeded_by = Some(Instant::now() + LATE);
        let took = look(&mut session, &mut source, &mut view).await;
        assert!(took >= LATE + LOOK, "{took:?}");
        // What came until then is shown, and the clock was.
        assert_eq!((session.reconciled(), view.anchors), (0, 1));
        look(&mut session, &mut source, &mut view).await;
    });
}

#[test]
fn a_source_without_dumps_is_not_waited_for() {
    block_on(async {
        let scope = SessionScope::default();
        let (mut session, mut view) = (Session::new(&scope), Noted::default());
        look(&mut session, &mut Slow::new(None, false), &mut view).await;
        assert_eq!(session.reconciled(), 0);
    });
}

#[test]
fn a_stop_does_not_wait_for_the_first_dump() {
    block_on(async {
        let scope = SessionScope::default();
        let (mut session, mut view) = (Session::new(&scope), Noted::default());
        let (mut source, stop) = (Slow::new(None, true), Notify::new());
        let limits = Limits { duration: Some(LOOK), count: None };
        let followed = session.follow(&mut source, &mut view, limits, &stop);
        let stopped = async {
            sleep(LOOK).await;
            stop.notify_one();
        };
        let both = timeout(SEEDING / 2, async { tokio::join!(followed, stopped).0 });
        both.await.expect("it ends in time").expect("no error");
        assert_eq!(view.anchors, 1);
    });
}
