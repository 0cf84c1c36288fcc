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

use crate::{
    core::{id::Tuple, time::Mono},
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
    place: Tuple,
    began: Mono,
}

/// The beats, of which at most one is open.
pub(super) struct Heartbeat {
    beat: Option<Beat>,
    next: Mono,
    /// The last time at which the hooks were known to report.
    last_heard: Mono,
}

impl Heartbeat {
    /// Begins at `now`, when the hooks were attached. The first beat comes a whole period later, so
    /// that short runs have none.
    pub(in crate::kernel) fn new(now: Mono) -> Self {
        Self { beat: None, next: now + EVERY, last_heard: now }
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
            match begin(now) {
                Ok(beat) => self.beat = Some(beat),
                // For example, there is no loopback.
                Err(error) => log::debug!("no listener to hear of: {error}"),
            }
        }
        None
    }

    /// Returns whether the record is about a listener of the heartbeat. Such a record is for no
    /// view.
    pub(in crate::kernel) fn takes(&mut self, record: &Record) -> bool {
        let (Some(beat), Some(transition)) = (&mut self.beat, record.transition()) else {
            return false;
        };
        let is_own = tuple(transition) == beat.place;
        if is_own {
            self.last_heard = self.last_heard.max(record.time());
            // The end of the listener is still reported and taken.
            beat.listener = None;
        }
        is_own
    }

    /// Returns whether the heartbeat's listener is at this place, or was a moment ago.
    pub(super) fn is_at(&self, place: &Tuple) -> bool {
        self.beat.as_ref().is_some_and(|beat| beat.place == *place)
    }
}

fn begin(now: Mono) -> io::Result<Beat> {
    let netns = Namespace::current()?.inum;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let remote = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let place = Tuple { netns, local: listener.local_addr()?, remote };
    Ok(Beat { listener: Some(listener), place, began: now })
}

#[cfg(test)]
mod tests {
    use netmon_common::{AF_INET, Transition, kind, state};

    use super::*;
    use crate::core::time::at;

    fn report(beat: &Beat, time: Mono) -> Record {
        let SocketAddr::V4(local) = beat.place.local else { panic!("IPv4") };
        let mut local_addr = [0; 16];
        local_addr[..4].copy_from_slice(&local.ip().octets());
        Record::Transition(Transition {
            kind: kind::TRANSITION,
            old_state: state::CLOSE,
            new_state: state::LISTEN,
            family: AF_INET,
            flags: 0,
            errno: 0,
            interface: 0,
            time: time.as_nanos().unsigned_abs(),
            cookie: 1,
            local_addr,
            remote_addr: [0; 16],
            netns: beat.place.netns,
            local_port: local.port(),
            remote_port: 0,
        })
    }

    #[test]
    fn what_is_heard_is_taken_and_no_alarm() {
        let mut heartbeat = Heartbeat::new(at(5));
        assert_eq!(heartbeat.advance(at(4) + EVERY), None);
        assert!(heartbeat.beat.is_none(), "not at once");
        assert_eq!(heartbeat.advance(at(5) + EVERY), None);
        let beat = heartbeat.beat.as_ref().expect("begun");
        let (record, place) = (report(beat, at(7) + EVERY), beat.place);
        assert!(heartbeat.is_at(&place));
        assert!(heartbeat.takes(&record) && heartbeat.takes(&record), "beginning and end");
        assert_eq!(heartbeat.advance(heartbeat.due()), None);
        assert!(heartbeat.beat.is_none() && !heartbeat.takes(&record), "another's from now on");
    }

    #[test]
    fn silence_is_an_alarm_once() {
        let mut heartbeat = Heartbeat::new(at(5));
        heartbeat.advance(at(5) + EVERY);
        let other = Beat {
            listener: None,
            place: Tuple { netns: 0, ..heartbeat.beat.as_ref().expect("begun").place },
            began: Mono::BOOT,
        };
        assert!(!heartbeat.takes(&report(&other, at(6) + EVERY)), "of another namespace");
        assert_eq!(heartbeat.advance(heartbeat.due() - Duration::from_nanos(1)), None);
        let now = heartbeat.due();
        assert_eq!(heartbeat.advance(now), Some(at(5)), "since they were attached");
        assert_eq!(heartbeat.advance(now + Duration::from_nanos(1)), None);
        heartbeat.advance(now + EVERY);
        assert_eq!(heartbeat.advance(heartbeat.due()), Some(now));
    }
}
