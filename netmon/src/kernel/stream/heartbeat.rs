//! Tests whether the hooks still report: now and then netmon opens and closes a listener of its
//! own, whose transitions must come out.
//!
//! Another program may remove the hooks, or the kernel may stop calling them, and the silence would
//! look like a quiet host. Reports of these listeners never become events.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use netmon_common::state;
use rustix::net::sockopt;

use crate::{
    core::{
        event::Seed,
        id::{SocketId, Tuple},
        time::Mono,
    },
    kernel::{
        host::netns::Namespace,
        ring::record::{Record, tuple},
    },
};

/// The time between beats.
const EVERY: Duration = Duration::from_secs(60);
/// The longest time until a report: as long as a busy machine may keep netmon from its rings.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener of the heartbeat.
struct Beat {
    /// The open listener; dropped after the first report.
    listener: Option<TcpListener>,
    /// The listener's cookie. A socket of another program may come to the same place right after.
    cookie: SocketId,
    /// The id in records: the cookie, or the number that netmon gave to the socket where records
    /// have no cookies, once a record has come.
    id: Option<SocketId>,
    place: Tuple,
    began: Mono,
}

/// The beats, of which at most one is open.
pub(super) struct Heartbeat {
    beat: Option<Beat>,
    /// Records name sockets by cookie.
    has_cookies: bool,
    /// A beat could not begin, and a warning was logged.
    has_failed: bool,
    next: Mono,
    /// The last time at which the hooks were known to report.
    last_heard: Mono,
}

impl Heartbeat {
    /// Begins at `now`, when the hooks were attached. The first beat comes a whole period later, so
    /// that short runs have none.
    pub(in crate::kernel) fn new(now: Mono, has_cookies: bool) -> Self {
        Self { beat: None, has_cookies, has_failed: false, next: now + EVERY, last_heard: now }
    }

    /// Returns the time of the next step.
    pub(in crate::kernel) fn due(&self) -> Mono {
        self.beat.as_ref().map_or(self.next, |beat| beat.began + PATIENCE)
    }

    /// Does the step that is due, after the rings have been read up to `now`. Returns the time
    /// since which the hooks have been silent, if a beat had no report.
    pub(in crate::kernel) fn advance(&mut self, now: Mono) -> Option<Mono> {
        if let Some(beat) = &self.beat
            && now >= beat.began + PATIENCE
        {
            let was_heard = beat.listener.is_none();
            self.beat = None;
            if !was_heard {
                // The caller attaches the hooks again: a later silence begins here.
                return Some(std::mem::replace(&mut self.last_heard, now));
            }
        }
        if self.beat.is_none() && now >= self.next {
            self.next = now + EVERY;
            match begin(now, self.has_cookies) {
                Ok(beat) => self.beat = Some(beat),
                Err(error) => self.report_failure(&error),
            }
        }
        None
    }

    /// Warns once: without a listener, silent hooks are not noticed. A namespace may have no
    /// loopback or no free port, and a service manager may forbid sockets of IPv4.
    fn report_failure(&mut self, error: &io::Error) {
        let level = if self.has_failed { log::Level::Debug } else { log::Level::Warn };
        self.has_failed = true;
        log::log!(
            level,
            "cannot listen on 127.0.0.1 to test the hooks: {error}; until that works, netmon does \
             not notice hooks that another program removes"
        );
    }

    /// Returns whether the record is about a listener of the heartbeat. Such a record is for no
    /// view.
    pub(in crate::kernel) fn takes(&mut self, record: &Record) -> bool {
        let (Some(beat), Some(transition)) = (&mut self.beat, record.transition()) else {
            return false;
        };
        let id = SocketId::new(transition.cookie);
        let begins = transition.new_state == state::LISTEN && record.time() >= beat.began;
        if beat.id.is_none() && begins && tuple(transition) == beat.place {
            // No other socket listens there while this one does.
            beat.id = id;
        }
        let is_own = id.is_some() && beat.id == id;
        if is_own {
            self.last_heard = self.last_heard.max(record.time());
            // The end of the listener is still reported and taken.
            beat.listener = None;
        }
        is_own
    }

    /// Returns whether the socket of a dump is the heartbeat's listener.
    pub(super) fn owns(&self, seed: &Seed) -> bool {
        self.beat.as_ref().is_some_and(|beat| beat.cookie == seed.cookie)
    }
}

fn begin(now: Mono, has_cookies: bool) -> io::Result<Beat> {
    let netns = Namespace::current()?.inum;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let cookie = SocketId::new(sockopt::socket_cookie(&listener)?);
    let cookie = cookie.ok_or(io::ErrorKind::Unsupported)?;
    let remote = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let place = Tuple { netns, interface: 0, local: listener.local_addr()?, remote };
    let id = has_cookies.then_some(cookie);
    Ok(Beat { listener: Some(listener), cookie, id, place, began: now })
}

#[cfg(test)]
mod tests {
    use netmon_common::{AF_INET, Transition, kind};

    use super::*;
    use crate::core::{
        id::{Binding, socket},
        tcp::TcpState,
        time::at,
    };

    /// A record of a socket at the heartbeat's place.
    fn report(beat: &Beat, cookie: SocketId, new_state: u8, time: Mono) -> Record {
        let SocketAddr::V4(local) = beat.place.local else { panic!("IPv4") };
        let mut local_addr = [0; 16];
        local_addr[..4].copy_from_slice(&local.ip().octets());
        Record::Transition(Transition {
            kind: kind::TRANSITION,
            old_state: if new_state == state::LISTEN { state::CLOSE } else { state::LISTEN },
            new_state,
            family: AF_INET,
            flags: 0,
            errno: 0,
            interface: 0,
            time: time.as_nanos().unsigned_abs(),
            cookie: cookie.get(),
            local_addr,
            remote_addr: [0; 16],
            netns: beat.place.netns,
            local_port: local.port(),
            remote_port: 0,
        })
    }

    fn seed(beat: &Beat, cookie: SocketId) -> Seed {
        let (time, tuple, state) = (at(0), beat.place, TcpState::Listen);
        let binding = Binding::default();
        Seed {
            time,
            cookie,
            tuple,
            binding,
            state,
            minisocket: false,
            holders: Box::default(),
            young: Box::default(),
        }
    }

    /// With cookies, and with numbers of netmon's own.
    #[test]
    fn only_reports_of_its_own_listener_are_taken() {
        for has_cookies in [true, false] {
            let mut heartbeat = Heartbeat::new(at(5), has_cookies);
            assert_eq!(heartbeat.advance(at(4) + EVERY), None);
            assert!(heartbeat.beat.is_none(), "not at once");
            assert_eq!(heartbeat.advance(at(5) + EVERY), None);
            let beat = heartbeat.beat.as_ref().expect("begun");
            let own = if has_cookies { beat.cookie } else { SocketId::own(3) };
            let other_cookie = socket(beat.cookie.get() + 1);
            let other = if has_cookies { other_cookie } else { SocketId::own(4) };
            let of = |cookie, state, after| report(beat, cookie, state, at(after) + EVERY);
            let opened = of(own, state::LISTEN, 7);
            let closed = of(own, state::CLOSE, 8);
            let others = [of(other, state::LISTEN, 9), of(other, state::CLOSE, 10)];
            let earlier = of(other, state::LISTEN, 4);
            let (found, other_found) = (seed(beat, beat.cookie), seed(beat, other_cookie));
            assert!(heartbeat.owns(&found) && !heartbeat.owns(&other_found));
            assert!(!heartbeat.takes(&earlier), "of a socket that was there before");
            assert!(heartbeat.takes(&opened) && heartbeat.takes(&closed));
            assert!(others.iter().all(|record| !heartbeat.takes(record)), "at the same place");
            assert_eq!(heartbeat.advance(heartbeat.due()), None);
            assert!(heartbeat.beat.is_none());
        }
    }

    #[test]
    fn silence_is_an_alarm_once() {
        let mut heartbeat = Heartbeat::new(at(5), true);
        heartbeat.advance(at(5) + EVERY);
        assert_eq!(heartbeat.advance(heartbeat.due() - Duration::from_nanos(1)), None);
        let now = heartbeat.due();
        assert_eq!(heartbeat.advance(now), Some(at(5)), "since they were attached");
        assert_eq!(heartbeat.advance(now + Duration::from_nanos(1)), None);
        heartbeat.advance(now + EVERY);
        assert_eq!(heartbeat.advance(heartbeat.due()), Some(now));
    }
}
