//! Whether the hooks still hear: now and then a listener of netmon's own begins and ends, and that must come out.
//!
//! Somebody may take hooks out, or a kernel stop calling them, and silence would look like peace. What is
//! heard of these listeners reaches nobody.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use crate::{
    core::event::Tuple,
    kernel::{
        host::netns::Namespace,
        ring::record::{Record, tuple},
    },
};

const SECOND: u64 = 1_000_000_000;
/// How often, ns.
const EVERY: u64 = 60 * SECOND;
/// How long it takes to be heard at most, ns: as long as a busy machine may keep netmon from its rings.
const PATIENCE: u64 = 5 * SECOND;

/// A listener, and what was heard of it.
struct Beat {
    /// Dropped once it was heard.
    listener: Option<TcpListener>,
    place: Tuple,
    began: u64,
}

/// The beats, one at a time.
pub(super) struct Heartbeat {
    beat: Option<Beat>,
    next: u64,
    /// Until when hooks were known to hear.
    heard: u64,
}

impl Heartbeat {
    /// The hooks were attached at `now`; the first beat comes later, for those who stay.
    pub(in crate::kernel) const fn new(now: u64) -> Self {
        Self { beat: None, next: now + EVERY, heard: now }
    }

    /// When something is to be done, ns.
    pub(in crate::kernel) fn due(&self) -> u64 {
        self.beat.as_ref().map_or(self.next, |beat| beat.began + PATIENCE)
    }

    /// Does what is due, the rings having been read up to `now`; since when nothing was heard, if that is so.
    pub(in crate::kernel) fn advance(&mut self, now: u64) -> Option<u64> {
        if let Some(beat) = &self.beat
            && now >= beat.began + PATIENCE
        {
            let was_heard = beat.listener.is_none();
            self.beat = None;
            if !was_heard {
                // From here on it is known again.
                return Some(std::mem::replace(&mut self.heard, now));
            }
        }
        if self.beat.is_none() && now >= self.next {
            self.next = now + EVERY;
            match begin(now) {
                Ok(beat) => self.beat = Some(beat),
                // Without a loopback, say.
                Err(error) => log::debug!("no listener to hear of: {error}"),
            }
        }
        None
    }

    /// Whether the record is about a listener of this, and nobody else's business.
    pub(in crate::kernel) fn takes(&mut self, record: &Record) -> bool {
        let (Some(beat), Some(transition)) = (&mut self.beat, record.transition()) else {
            return false;
        };
        let is_own = tuple(transition) == beat.place;
        if is_own {
            self.heard = self.heard.max(transition.time);
            // What is heard of its end is taken as well.
            beat.listener = None;
        }
        is_own
    }

    /// Whether that is where its listener is, or was a moment ago.
    pub(super) fn is_at(&self, place: &Tuple) -> bool {
        self.beat.as_ref().is_some_and(|beat| beat.place == *place)
    }
}

fn begin(now: u64) -> io::Result<Beat> {
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

    fn heard(beat: &Beat, time: u64) -> Record {
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
            time,
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
        let mut heartbeat = Heartbeat::new(5);
        assert_eq!(heartbeat.advance(5 + EVERY - 1), None);
        assert!(heartbeat.beat.is_none(), "not at once");
        assert_eq!(heartbeat.advance(5 + EVERY), None);
        let beat = heartbeat.beat.as_ref().expect("begun");
        let (record, place) = (heard(beat, 7 + EVERY), beat.place);
        assert!(heartbeat.is_at(&place));
        assert!(heartbeat.takes(&record) && heartbeat.takes(&record), "beginning and end");
        assert_eq!(heartbeat.advance(heartbeat.due()), None);
        assert!(heartbeat.beat.is_none() && !heartbeat.takes(&record), "another's from now on");
    }

    #[test]
    fn silence_is_an_alarm_once() {
        let mut heartbeat = Heartbeat::new(5);
        heartbeat.advance(5 + EVERY);
        let other = Beat {
            listener: None,
            place: Tuple { netns: 0, ..heartbeat.beat.as_ref().expect("begun").place },
            began: 0,
        };
        assert!(!heartbeat.takes(&heard(&other, 6 + EVERY)), "of another namespace");
        assert_eq!(heartbeat.advance(heartbeat.due() - 1), None);
        let now = heartbeat.due();
        assert_eq!(heartbeat.advance(now), Some(5), "since they were attached");
        assert_eq!(heartbeat.advance(now + 1), None);
        heartbeat.advance(now + EVERY);
        assert_eq!(heartbeat.advance(heartbeat.due()), Some(now));
    }
}
