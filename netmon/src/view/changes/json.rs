//! JSON Lines: one object for each change, for other programs.
//!
//! Every object has a `type`. The fields are flat, snake_case and stable. An unknown value is
//! absent, never 0 or "". No number is larger than 2^53, beyond which most readers round integers:
//! a larger value is a string of its digits. Only counts of bytes can grow so large. In the basic
//! tier, `cookie` may be a number of netmon's own, from 2^52 on.
//!
//! `transition`:
//!
//! | field | |
//! |---|---|
//! | `host` | the host of the object; only from a journal of several hosts |
//! | `time` | time of the transition: RFC 3339, UTC, nanoseconds; from a journal, microseconds |
//! | `cookie` | the socket's cookie (`sk:` of `ss -e`, there in hexadecimal) |
//! | `opened` | time at which the connection opened; absent if it was open before netmon looked |
//! | `netns` | inode number of the network namespace |
//! | `netns_name` | from a journal: the name of the namespace at that time |
//! | `interface` | number of the network device that the socket is bound to; 65535 for any larger |
//! | `device` | name of that device at that time; absent if it is not known |
//! | `v6only` | `true`: the listener takes IPv6 only |
//! | `proto`, `family` | `tcp`; `ipv4` or `ipv6`, as on the wire |
//! | `local_addr`, `local_port` | this host's end |
//! | `remote_addr`, `remote_port` | the other end; a listener has no `remote_port` |
//! | `old_state`, `new_state` | the kernel's names of the states |
//! | `in_state_us` | time spent in the old state, µs |
//! | `direction` | `outbound`, `inbound` or `listen` |
//! | `pid` | number of the process, as `ps` shows it where netmon runs |
//! | `host_pid` | number of the process on the host, where that is another number |
//! | `comm`, `uid`, `cgroup_id` | its name, user and cgroup |
//! | `user`, `cgroup` | from a journal: the names of user and cgroup at that time |
//! | `owner_evidence` | the evidence for the process: `connect`, `listen`, `accept` or `fd-scan` |
//! | `errno` | on `CLOSE`, a string: the error's name, or its number if it has no name |
//! | `reset` | on `CLOSE`: `sent` or `received`, if a RST ended the connection |
//! | `orphan` | `true`: the process has closed the connection; absent on the last transition |
//! | `inferred` | `true`: no hook saw the transition; a later look, at `time`, found it done |
//!
//! A socket that connects again has another `opened`. A state is `TIME_WAIT` where the kernel holds
//! a TIME_WAIT bucket in that state. The words of `owner_evidence` mean: the process called
//! `connect`, `listen` or `accept`, or held the socket when a dump looked (`fd-scan`). `listen` was
//! called on the socket itself or on the listener that took the connection. In a pid namespace, a
//! process outside of it has no `pid`; a journal has no `host_pid`.
//!
//! `closed` follows the `transition` that ends a connection, to `CLOSE` or `TIME_WAIT`; from
//! `history`, `closed` comes without the `transition`. Its fields are `host`, `time`, `cookie`,
//! `opened`, the namespace, the device, `proto`, `family`, both ends, `direction` and the process
//! as above, and
//!
//! | field | |
//! |---|---|
//! | `verdict` | the reason of the end; absent where no rule (`core/verdict.rs`) applies |
//! | `errno`, `reset` | as above |
//! | `lifetime_us` | time since the connection opened, µs; absent if `opened` is absent |
//! | `bytes_sent` | data bytes sent, retransmitted bytes included |
//! | `bytes_received` | data bytes received |
//! | `retransmits` | retransmitted segments |
//! | `rtt_us` | the last smoothed round trip time, µs |
//! | `community_id` | from `history`: Community ID v1, seed 0, as in logs of Zeek and Suricata |
//! | `inferred` | as above |
//!
//! The fields from `bytes_sent` to `rtt_us` are counts of the connection's socket; all of them are
//! absent if no hook saw the end of the connection, and one of them if the kernel's types lack it.
//!
//! The words of `verdict` are: `closed-locally`, `closed-by-peer`, `refused`, `timed-out`,
//! `reset-by-peer`, `reset-locally`, `unreachable`, `aborted`,
//! `no-free-port`, `closed-silently` and `vanished`.
//!
//! `connection` is a connection in its present state: `host`, `time`, `cookie`, `opened`, the
//! namespace, the device, `v6only`, `proto`, `family`, both ends, `state`, `direction` and the
//! process as above. `opened` is absent as above. A `connection` comes in three cases:
//!
//! - With `--initial`, before all other objects: a connection that was there when netmon began,
//!   with `initial`, which is `true`.
//! - With and without `--initial`: a connection whose beginning was lost, when netmon finds the
//!   connection, with `resync`, which is `true`.
//! - From `history`, after all `closed` objects: a connection that is open at the end of the
//!   stretch of time, with neither `initial` nor `resync`.
//!
//! `gap`: transitions may be missing between `from` and `time`. A `lost` follows for each reason:
//! `time`, `count` and `reason`: `ring_full`, `recursion`, `malformed`, `storage` or `unhooked`;
//! from a journal also `unwritten`, `not_recorded` and `missing`, the last two without a count.
//!
//! `resync`: at `time`, netmon compared the table with the kernel's own and corrected the table.
//! `found`, `moved` (to another state) and `ended` are numbers of connections. Each of these
//! connections has a line before the `resync`, with `resync` or `inferred`. After a gap, a `resync`
//! comes when the table is whole again, even if its numbers are all 0. With `distance_us`, the
//! `resync` says something else: the next comparison comes so many microseconds after the last,
//! more than ten seconds, because comparisons cost much or fail. Until then, corrections wait.

use std::{io, sync::Arc, time::Duration};

use crate::{
    core::{
        change::{Change, Step},
        connection::Connection,
        errno,
        loss::Gap,
        table::ConnectionTable,
        tcp::TcpState,
        time::Mono,
    },
    session::View,
    view::text::{
        clock::{Clock, TimeStyle},
        json_object::JsonObject,
        output::{Output, Sink},
    },
};

/// Writes changes as JSON Lines.
pub struct Json<W> {
    out: Output<W>,
    context: JsonContext,
    /// The gap that was written last: its beginning and its end; none before the first.
    gap: Option<(Mono, Mono)>,
}

/// Settings that all objects share.
pub(in crate::view) struct JsonContext {
    pub(in crate::view) clock: Clock,
    /// The clock of `opened`: it keeps the text of one second, and `opened` is in other seconds
    /// than `time`.
    opened: Clock,
    /// The host of the objects, if there are several hosts.
    pub(in crate::view) host: Option<Arc<str>>,
}

impl JsonContext {
    pub(in crate::view) fn new() -> Self {
        let clock = || Clock::new(TimeStyle::Rfc3339);
        Self { clock: clock(), opened: clock(), host: None }
    }

    /// Begins an object with its type, and with its host if there are several hosts.
    #[inline]
    pub(in crate::view) fn begin<'a>(&self, out: &'a mut Vec<u8>, head: &str) -> JsonObject<'a> {
        let mut object = JsonObject::begin(out, head);
        if let Some(host) = &self.host {
            object.text(",\"host\":", host.as_bytes());
        }
        object
    }
}

impl<W: Sink> Json<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { out: Output::new(to), context: JsonContext::new(), gap: None }
    }
}

impl<W: Sink> Json<W> {
    /// Writes a loss, and before it the affected stretch of time, once for all losses of the
    /// stretch.
    fn gap(&mut self, gap: &Gap) -> io::Result<()> {
        let is_new = self.gap.replace((gap.from, gap.time)) != Some((gap.from, gap.time));
        self::gap(&mut self.out, &mut self.context, gap, is_new)
    }
}

/// Writes a loss, and before it the affected stretch of time if the stretch `is_new`.
pub(in crate::view) fn gap<W: Sink>(
    out: &mut Output<W>,
    context: &mut JsonContext,
    gap: &Gap,
    is_new: bool,
) -> io::Result<()> {
    if is_new {
        let mut object = context.begin(out.line()?, "{\"type\":\"gap\"");
        object.time(",\"time\":\"", &mut context.clock, gap.time);
        object.time(",\"from\":\"", &mut context.clock, gap.from);
        object.end();
    }
    let mut object = context.begin(out.line()?, "{\"type\":\"lost\"");
    object.time(",\"time\":\"", &mut context.clock, gap.time);
    object.some(",\"count\":", Some(gap.count).filter(|count| *count > 0));
    object.word(",\"reason\":\"", gap.loss.name());
    object.end();
    Ok(())
}

impl<W: Sink> View for Json<W> {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        match change {
            Change::Anchor(anchor) => {
                self.context.clock.anchor = *anchor;
                Ok(false)
            }
            Change::Host(host) => {
                self.context.host = Some(Arc::clone(host));
                Ok(false)
            }
            Change::Owned { .. } | Change::Reconciled { .. } => Ok(false),
            Change::Found { time, connection, initial } => {
                let mark = if *initial { ",\"initial\":true" } else { ",\"resync\":true" };
                row(self.out.line()?, &mut self.context, *time, connection, mark);
                Ok(true)
            }
            Change::Gap(gap) => {
                self.gap(gap)?;
                Ok(false)
            }
            Change::Resync(resync) => {
                let mut object = self.context.begin(self.out.line()?, "{\"type\":\"resync\"");
                object.time(",\"time\":\"", &mut self.context.clock, resync.time);
                object.number(",\"found\":", resync.found);
                object.number(",\"moved\":", resync.moved);
                object.number(",\"ended\":", resync.ended);
                object.some(",\"distance_us\":", resync.distance.map(micros));
                object.end();
                Ok(false)
            }
            Change::Opened(step) | Change::StateChanged(step) | Change::Expired(step) => {
                transition(self.out.line()?, &mut self.context, step);
                Ok(true)
            }
            Change::Closed(step) => {
                transition(self.out.line()?, &mut self.context, step);
                if step.transition.old != TcpState::Listen {
                    closed(self.out.line()?, &mut self.context, step, None);
                }
                Ok(true)
            }
        }
    }

    fn flush(&mut self, _: &ConnectionTable) -> io::Result<()> {
        self.out.flush()
    }
}

fn transition(out: &mut Vec<u8>, context: &mut JsonContext, step: &Step<'_>) {
    let Step { transition: t, in_state, .. } = step;
    let mut object = context.begin(out, "{\"type\":\"transition\"");
    put_place(&mut object, context, step.transition.time, step.connection);
    object.word(",\"old_state\":\"", t.old.name());
    object.word(",\"new_state\":\"", t.new.name());
    object.some(",\"in_state_us\":", in_state.map(micros));
    put_parties(&mut object, step.connection);
    put_failure(&mut object, step);
    if t.orphan && !t.is_last() {
        object.raw(",\"orphan\":true");
    }
    if t.inferred {
        object.raw(",\"inferred\":true");
    }
    object.end();
}

/// Writes a row of the table as a `connection`; `mark` is the field that ends the object, or "".
pub(in crate::view) fn row(
    out: &mut Vec<u8>,
    context: &mut JsonContext,
    time: Mono,
    row: &Connection,
    mark: &'static str,
) {
    let mut object = context.begin(out, "{\"type\":\"connection\"");
    put_place(&mut object, context, time, row);
    object.word(",\"state\":\"", row.state.name());
    put_parties(&mut object, row);
    object.raw(mark);
    object.end();
}

pub(in crate::view) fn closed(
    out: &mut Vec<u8>,
    context: &mut JsonContext,
    step: &Step<'_>,
    community_id: Option<&str>,
) {
    let mut object = context.begin(out, "{\"type\":\"closed\"");
    put_place(&mut object, context, step.transition.time, step.connection);
    put_parties(&mut object, step.connection);
    if let Some(verdict) = step.verdict {
        object.word(",\"verdict\":\"", verdict.name());
    }
    put_failure(&mut object, step);
    let lifetime = step.connection.lifetime(step.transition.time);
    object.some(",\"lifetime_us\":", lifetime.map(micros));
    if let Some(totals) = &step.transition.totals {
        object.some(",\"bytes_sent\":", totals.bytes_sent);
        object.some(",\"bytes_received\":", totals.bytes_received);
        object.some(",\"retransmits\":", totals.retransmits.map(u64::from));
        object.some(",\"rtt_us\":", totals.rtt_us.map(u64::from));
    }
    if let Some(id) = community_id {
        object.text(",\"community_id\":", id.as_bytes());
    }
    if step.transition.inferred {
        object.raw(",\"inferred\":true");
    }
    object.end();
}

/// Writes the time, the identity of the connection, and its place.
#[inline]
fn put_place(object: &mut JsonObject<'_>, context: &mut JsonContext, time: Mono, row: &Connection) {
    object.time(",\"time\":\"", &mut context.clock, time);
    object.number(",\"cookie\":", row.id.cookie.get());
    if !row.first_sight {
        object.wall_time(",\"opened\":\"", &mut context.opened, row.opened);
    }
    object.number(",\"netns\":", u64::from(row.tuple.netns));
    if let Some(name) = row.labels.as_ref().and_then(|labels| labels.netns.as_deref()) {
        object.text(",\"netns_name\":", name.as_bytes());
    }
    object.binding(&row.tuple, &row.binding);
    object.raw(if row.tuple.remote.is_ipv4() {
        ",\"proto\":\"tcp\",\"family\":\"ipv4\""
    } else {
        ",\"proto\":\"tcp\",\"family\":\"ipv6\""
    });
    object.address(",\"local_addr\":\"", row.tuple.local.ip());
    let port = |port: u16| Some(u64::from(port)).filter(|port| *port != 0);
    object.some(",\"local_port\":", port(row.tuple.local.port()));
    object.address(",\"remote_addr\":\"", row.tuple.remote.ip());
    object.some(",\"remote_port\":", port(row.tuple.remote.port()));
}

/// Writes the direction and the process.
#[inline]
fn put_parties(object: &mut JsonObject<'_>, row: &Connection) {
    if let Some(direction) = row.direction {
        object.word(",\"direction\":\"", direction.name());
    }
    if let Some(owner) = &row.owner {
        for (key, pid) in [(",\"pid\":", owner.pid), (",\"host_pid\":", owner.host_pid)] {
            object.some(key, Some(u64::from(pid)).filter(|pid| *pid != 0));
        }
        object.text(",\"comm\":", &owner.comm);
        object.number(",\"uid\":", u64::from(owner.uid));
        object.some(",\"cgroup_id\":", Some(owner.cgroup).filter(|cgroup| *cgroup != 0));
        if let Some(labels) = &row.labels {
            put_name(object, ",\"user\":", labels.user.as_deref());
            put_name(object, ",\"cgroup\":", labels.cgroup.as_deref());
        }
    }
    if let Some(evidence) = row.evidence {
        object.word(",\"owner_evidence\":\"", evidence.name());
    }
}

/// Returns whole microseconds.
fn micros(time: Duration) -> u64 {
    time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())
}

fn put_name(object: &mut JsonObject<'_>, key: &'static str, name: Option<&str>) {
    if let Some(name) = name {
        object.text(key, name.as_bytes());
    }
}

#[inline]
fn put_failure(object: &mut JsonObject<'_>, step: &Step<'_>) {
    match step.transition.errno.map(|number| (number, errno::name(number))) {
        Some((_, Some(name))) => object.word(",\"errno\":\"", name),
        Some((number, None)) => {
            object.number(",\"errno\":\"", u64::from(number));
            object.raw("\"");
        }
        None => {}
    }
    if let Some(side) = step.transition.reset {
        object.word(",\"reset\":\"", side.name());
    }
}
