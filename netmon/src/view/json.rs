//! JSON Lines: one object for each change, for other programs.
//!
//! Every object has a `type`; the fields are flat, snake_case and stable. What is unknown is absent,
//! never 0 or "".
//!
//! `transition`:
//!
//! | field | |
//! |---|---|
//! | `time` | when it happened: RFC 3339, UTC, nanoseconds |
//! | `cookie`, `epoch` | which connection: the socket's cookie (`sk:` of `ss -e`, there in hexadecimal), and when it opened on the monotonic clock, ns; no epoch for one that was open before netmon looked |
//! | `netns` | inode number of the network namespace |
//! | `proto`, `family` | `tcp`; `ipv4` or `ipv6`, as on the wire |
//! | `local_addr`, `local_port`, `remote_addr`, `remote_port` | no `remote_port` for a listener |
//! | `old_state`, `new_state` | the kernel's names; TIME_WAIT where the kernel holds a minisocket in it |
//! | `in_state_us` | time spent in the old state, µs |
//! | `direction` | `outbound`, `inbound` or `listen` |
//! | `pid`, `comm`, `uid`, `cgroup_id`, `owner_evidence` | the process, and how it is known: `connect` or `listen` |
//! | `errno` | on `CLOSE`: a string: the error's name, or its number where it has none |
//! | `reset` | on `CLOSE`: `sent` or `received`, where a RST ended it |
//! | `orphan` | `true`: its process has closed it |
//! | `inferred` | `true`: nothing saw it happen; it was found done at `time` |
//!
//! `lost`: `time`, `count` and `reason`: `ring_full`, `recursion`, `malformed` or `storage`.

use std::io::{self, Write};

use super::{
    object::Object,
    output::Output,
    time::{Clock, Style},
};
use crate::{
    core::{
        errno,
        table::{Change, Step},
    },
    session::View,
};

/// Writes changes as JSON Lines.
pub struct Json<W> {
    out: Output<W>,
    clock: Clock,
}

impl<W: Write> Json<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { out: Output::new(to), clock: Clock::new(Style::Rfc3339) }
    }
}

impl<W: Write> View for Json<W> {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        match change {
            Change::Anchor(anchor) => {
                self.clock.anchor = *anchor;
                Ok(false)
            }
            Change::Gap { time, count, loss } => {
                let mut object = Object::begin(self.out.line()?, "{\"type\":\"lost\"");
                object.time(",\"time\":\"", &mut self.clock, *time);
                object.number(",\"count\":", *count);
                object.word(",\"reason\":\"", loss.name());
                object.end();
                Ok(false)
            }
            Change::Opened(step) | Change::Moved(step) | Change::Closed(step) => {
                transition(self.out.line()?, &mut self.clock, step);
                Ok(true)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn transition(out: &mut Vec<u8>, clock: &mut Clock, step: &Step<'_>) {
    let Step { transition: t, connection, in_state } = step;
    let mut object = Object::begin(out, "{\"type\":\"transition\"");
    object.time(",\"time\":\"", clock, t.time);
    object.number(",\"cookie\":", t.cookie);
    if connection.id.epoch != 0 {
        object.number(",\"epoch\":", connection.id.epoch);
    }
    object.number(",\"netns\":", u64::from(t.tuple.netns));
    object.raw(if t.tuple.remote.is_ipv4() {
        ",\"proto\":\"tcp\",\"family\":\"ipv4\""
    } else {
        ",\"proto\":\"tcp\",\"family\":\"ipv6\""
    });
    object.address(",\"local_addr\":\"", t.tuple.local.ip());
    if t.tuple.local.port() != 0 {
        object.number(",\"local_port\":", u64::from(t.tuple.local.port()));
    }
    object.address(",\"remote_addr\":\"", t.tuple.remote.ip());
    if t.tuple.remote.port() != 0 {
        object.number(",\"remote_port\":", u64::from(t.tuple.remote.port()));
    }
    object.word(",\"old_state\":\"", t.old.name());
    object.word(",\"new_state\":\"", t.new.name());
    if let Some(in_state) = in_state {
        object.number(",\"in_state_us\":", in_state / 1_000);
    }
    if let Some(direction) = connection.direction {
        object.word(",\"direction\":\"", direction.name());
    }
    if let Some(owner) = &connection.owner {
        object.number(",\"pid\":", u64::from(owner.pid));
        object.text(",\"comm\":", &owner.comm);
        object.number(",\"uid\":", u64::from(owner.uid));
        if owner.cgroup != 0 {
            object.number(",\"cgroup_id\":", owner.cgroup);
        }
        object.word(",\"owner_evidence\":\"", owner.evidence.name());
    }
    match t.errno.map(|number| (number, errno::name(number))) {
        Some((_, Some(name))) => object.word(",\"errno\":\"", name),
        Some((number, None)) => {
            object.number(",\"errno\":\"", u64::from(number));
            object.raw("\"");
        }
        None => {}
    }
    if let Some(side) = t.reset {
        object.word(",\"reset\":\"", side.name());
    }
    if t.orphan && !t.is_last() {
        object.raw(",\"orphan\":true");
    }
    if t.inferred {
        object.raw(",\"inferred\":true");
    }
    object.end();
}
