//! JSON Lines: one object for each change, for other programs.
//!
//! `docs/netmon.schema.json` describes every type of object and every field; tests compare the
//! output of every command with that file. In short: each object has a `type`; fields are flat; an
//! unknown value is absent, and so is a flag that is false.
//!
//! - `transition`: a connection changed its state.
//! - `closed` follows the transition that ends a connection. `history` has it alone.
//! - `connection`: a connection in its present state.
//! - `gap`: events may be missing. `lost` follows for each reason.
//! - `resync`: a comparison with the kernel corrected the table. Each corrected connection has an
//!   object before it. After a gap, a `resync` comes also if nothing had to be corrected.

use std::{io, sync::Arc, time::Duration};

use crate::{
    core::{
        change::{Change, Step},
        connection::Connection,
        errno,
        loss::Gap,
        socket::Protocol,
        table::ConnectionTable,
        tcp::TcpState,
        time::Mono,
        verdict::Verdict,
    },
    session::View,
    view::{
        changes::owner_fields::{OwnerFields, put_holder, put_path},
        text::{
            clock::{Clock, TimeStyle},
            json_object::JsonObject,
            netns::NetnsNames,
            output::{Output, Sink},
        },
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
    /// The host of the objects, if they come from a journal.
    pub(in crate::view) host: Option<Arc<str>>,
    /// Names of network namespaces for rows that come from no journal.
    names: NetnsNames,
    pub(in crate::view) owners: OwnerFields,
}

impl JsonContext {
    pub(in crate::view) fn new(names: NetnsNames) -> Self {
        let clock = || Clock::new(TimeStyle::Rfc3339);
        Self { clock: clock(), opened: clock(), host: None, names, owners: OwnerFields::default() }
    }

    /// Begins an object with its type, and with its host if it comes from a journal.
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
    /// Writes to `to`. Rows that come from no journal have the names of network namespaces from
    /// `names`.
    pub fn new(to: W, names: NetnsNames) -> Self {
        Self { out: Output::new(to), context: JsonContext::new(names), gap: None }
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
        object.time(",\"gap_from\":\"", &mut context.clock, gap.from);
        object.end();
    }
    let mut object = context.begin(out.line()?, "{\"type\":\"lost\"");
    object.time(",\"time\":\"", &mut context.clock, gap.time);
    object.word(",\"reason\":\"", gap.loss.name());
    object.time(",\"gap_from\":\"", &mut context.clock, gap.from);
    object.some(",\"lost\":", Some(gap.count).filter(|count| *count > 0));
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
    object.time(",\"time\":\"", &mut context.clock, t.time);
    put_place(&mut object, context, step.connection);
    object.word(",\"old_state\":\"", t.old.name());
    object.word(",\"new_state\":\"", t.new.name());
    object.some(",\"in_state_us\":", in_state.map(micros));
    put_parties(&mut object, context, step.connection);
    put_failure(&mut object, step);
    object.flag(",\"orphan\":", t.orphan && !t.is_last());
    object.flag(",\"inferred\":", t.inferred);
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
    object.time(",\"time\":\"", &mut context.clock, time);
    put_row(&mut object, context, row);
    object.raw(mark);
    object.end();
}

/// Writes the facts of a row of the table.
pub(in crate::view) fn put_row(
    object: &mut JsonObject<'_>,
    context: &mut JsonContext,
    row: &Connection,
) {
    put_place(object, context, row);
    object.word(",\"state\":\"", row.state.name());
    if let Some(since) = row.since {
        object.time(",\"since\":\"", &mut context.clock, since);
    }
    put_parties(object, context, row);
    put_verdict(object, row.verdict);
}

pub(in crate::view) fn closed(
    out: &mut Vec<u8>,
    context: &mut JsonContext,
    step: &Step<'_>,
    community_id: Option<&str>,
) {
    let Step { transition: t, connection, verdict, .. } = step;
    let mut object = context.begin(out, "{\"type\":\"closed\"");
    object.time(",\"time\":\"", &mut context.clock, t.time);
    put_place(&mut object, context, connection);
    object.word(",\"state\":\"", t.new.name());
    put_parties(&mut object, context, connection);
    put_verdict(&mut object, *verdict);
    put_failure(&mut object, step);
    object.some(",\"lifetime_us\":", connection.lifetime(t.time).map(micros));
    if let Some(totals) = &t.totals {
        object.some(",\"bytes_sent\":", totals.bytes_sent);
        object.some(",\"bytes_received\":", totals.bytes_received);
        object.some(",\"retransmits\":", totals.retransmits.map(u64::from));
        object.some(",\"rtt_us\":", totals.rtt_us.map(u64::from));
    }
    object.name(",\"community_id\":", community_id);
    object.flag(",\"inferred\":", t.inferred);
    object.end();
}

/// Writes the identity of a connection, and its place.
#[inline]
fn put_place(object: &mut JsonObject<'_>, context: &mut JsonContext, row: &Connection) {
    let labels = row.labels.as_deref();
    object.name(",\"boot_id\":", labels.and_then(|labels| labels.boot_id.as_deref()));
    object.number(",\"cookie\":", row.id.cookie.get());
    object.wall_time(",\"opened\":\"", &mut context.opened, row.opened);
    object.flag(",\"first_sight\":", row.first_sight);
    object.number(",\"netns\":", u64::from(row.tuple.netns));
    match labels {
        Some(labels) => object.name(",\"netns_name\":", labels.netns.as_deref()),
        None => object.name(",\"netns_name\":", (context.names)(row.tuple.netns).as_deref()),
    }
    object.ends(Protocol::Tcp, &row.tuple, &row.binding);
}

/// Writes the direction and the process.
#[inline]
fn put_parties(object: &mut JsonObject<'_>, context: &mut JsonContext, row: &Connection) {
    if let Some(direction) = row.direction {
        object.word(",\"direction\":\"", direction.name());
    } else if let Some(direction) = row.inferred_direction {
        object.word(",\"inferred_direction\":\"", direction.name());
    }
    if let Some(owner) = &row.owner {
        object.process(owner.pid, owner.host_pid, &owner.comm);
        if let Some(process) = &owner.process {
            context.owners.put_process(object, process);
        }
        object.number(",\"uid\":", u64::from(owner.uid));
        let labels = row.labels.as_deref();
        object.name(",\"user\":", labels.and_then(|labels| labels.user.as_deref()));
        object.some(",\"real_uid\":", owner.real_uid.map(u64::from));
        object.name(",\"real_user\":", labels.and_then(|labels| labels.real_user.as_deref()));
        if let Some(cgroup) = &owner.cgroup {
            object.some(",\"cgroup_id\":", Some(cgroup.id).filter(|id| *id != 0));
            put_path(object, cgroup);
            context.owners.put_workload(object, cgroup);
        }
    }
    if let Some(evidence) = row.evidence {
        object.word(",\"owner_evidence\":\"", evidence.name());
    }
    if let Some(holder) = &row.holder {
        put_holder(object, holder);
    }
}

#[inline]
fn put_verdict(object: &mut JsonObject<'_>, verdict: Option<Verdict>) {
    if let Some(verdict) = verdict {
        object.word(",\"verdict\":\"", verdict.name());
    }
}

/// Returns whole microseconds.
fn micros(time: Duration) -> u64 {
    time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())
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
