//! The cells of lines about connections: of transitions, and of connections that ended.

use std::{borrow::Cow, io::Write, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

use super::{appearance::Appearance, why::Parts};
use crate::{
    core::{
        connection::{Connection, Direction},
        escape::{Escaped, EscapedName},
        loss::{Gap, Loss},
        process::PidText,
        services::Services,
        socket::Protocol,
        tcp::TcpState,
        time::{Anchor, Mono},
    },
    view::text::{
        clock::{Clock, Elapsed, TimeStyle},
        host::Host,
        layout::{
            Column,
            Fold::{self, Hide, Shorten, Shrink},
            Form::{Address, Number, Text},
            Layout,
        },
        netns::{Netns, NetnsNames},
        stack_text::StackText,
    },
    view::{own_lines::put_parties, palette::Tone},
};

const DATE: usize = 0;
const TIME: usize = 1;
const OPENED: usize = 2;
const HOST: usize = 3;
const PROGRAM: usize = 4;
const DIRECTION: usize = 5;
const LOCAL: usize = 6;
const REMOTE: usize = 7;
const OLD: usize = 8;
const STATE: usize = 9;
const SPAN: usize = 10;

/// The columns of a time of day with microseconds, and without.
const MICROSECONDS: usize = 15;
const SECONDS: usize = 8;
/// The bytes of a date, without and with the year, and of the year.
const DATES: usize = 10;
const YEAR: usize = 5;

/// The steps that make lines of transitions narrower.
const TRANSITION_FOLDS: &[Fold] = &[
    Shorten(TIME, SECONDS),
    Hide(SPAN),
    Hide(OLD),
    Shrink(HOST, 12),
    Shrink(REMOTE, 21),
    Shrink(LOCAL, 21),
    Shorten(DATE, YEAR),
    Shrink(PROGRAM, 12),
    Shrink(LOCAL, 8),
    Shrink(REMOTE, 14),
    Hide(DIRECTION),
    Hide(DATE),
    Shrink(HOST, 6),
    Hide(LOCAL),
    Shrink(PROGRAM, 7),
    Shrink(REMOTE, 8),
    Hide(HOST),
    Hide(PROGRAM),
];

/// The steps that make lines of connections narrower.
const CONNECTION_FOLDS: &[Fold] = &[
    Shorten(OPENED, SECONDS),
    Shorten(TIME, SECONDS),
    Shrink(HOST, 12),
    Shrink(REMOTE, 21),
    Shrink(LOCAL, 21),
    Shorten(DATE, YEAR),
    Shrink(PROGRAM, 12),
    Hide(OPENED),
    Shrink(LOCAL, 8),
    Shrink(REMOTE, 14),
    Hide(DIRECTION),
    Hide(SPAN),
    Hide(DATE),
    Shrink(HOST, 6),
    Hide(LOCAL),
    Shrink(PROGRAM, 7),
    Shrink(REMOTE, 8),
    Hide(HOST),
    Hide(PROGRAM),
];

/// The text of a moment.
type Moment = StackText<{ Clock::LONGEST }>;

/// The heading over the rest of a line.
const WHY: &str = "  Why";

/// The facts of a line.
#[derive(Clone, Copy)]
pub(super) struct LineFacts<'a> {
    pub(super) time: Mono,
    pub(super) connection: &'a Connection,
    /// `time` is no end: the connection is open then.
    pub(super) is_open: bool,
    /// The states of a transition; the old one is unknown on a row of a dump.
    pub(super) old: Option<TcpState>,
    pub(super) new: TcpState,
    /// The time in the old state, or the lifetime.
    pub(super) span: Option<Duration>,
}

/// Writes lines about connections.
pub(super) struct ConnectionLines {
    pub(super) look: Appearance,
    layout: Layout<11>,
    clock: Clock,
    /// The clock of openings: a clock keeps the text of one second.
    opened: Clock,
    /// The host of the lines, if there are several hosts.
    pub(super) host: Option<Arc<str>>,
    names: NetnsNames,
}

impl ConnectionLines {
    /// Makes lines of transitions.
    pub(super) fn of_transitions(look: Appearance, names: NetnsNames) -> Self {
        Self { names, ..Self::new(look, ["Time", "In state"], 11, TRANSITION_FOLDS) }
    }

    /// Makes lines of connections, which have no states. The lines only measure until
    /// [`Self::settle`].
    pub(super) fn of_connections(look: Appearance) -> Self {
        Self::new(look, ["Ended", "Lifetime"], 0, CONNECTION_FOLDS)
    }

    fn new(
        look: Appearance,
        [time, span]: [&'static str; 2],
        state: usize,
        folds: &'static [Fold],
    ) -> Self {
        let style = look.style();
        let heading = match &style {
            // The heading shows the offset, since a reader may not know the zone.
            TimeStyle::DateTime(_, offset) => {
                let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::fixed(*offset));
                Cow::Owned(format!("{time} ({})", now.strftime("%:z")))
            }
            TimeStyle::TimeOfDay(_) | TimeStyle::Rfc3339 => Cow::Borrowed(time),
        };
        let date = if look.dated { DATES + 1 } else { 0 };
        let opened = if state == 0 { date + MICROSECONDS } else { 0 };
        let old = if state == 0 { 0 } else { state + " ->".len() };
        // A history is measured before it is written to a terminal.
        let address = if state == 0 && look.terminal.is_some() { 0 } else { 21 };
        let columns = [
            Column::new("Date", Text, if look.dated { DATES } else { 0 }),
            Column::new(heading, Text, MICROSECONDS),
            Column::new("Opened", Text, opened),
            Column::new("Host", Text, look.host_width),
            Column::new("PID/Program name", Text, 16),
            Column::new("Dir", Text, 4),
            Column::new("Local Address", Address, address.max("Local Address".len())),
            Column::new("Foreign Address", Address, address.max("Foreign Address".len())),
            Column::new("Old state ->", Number, old),
            Column::new("State", Text, state),
            Column::new(span, Number, 8),
        ];
        let layout = if state == 0 {
            Layout::measuring(look.palette(), columns, folds)
        } else {
            Layout::new(look.terminal, look.palette(), columns, folds)
        };
        let (clock, opened) = (Clock::new(style.clone()), Clock::new(style));
        Self { look, layout, clock, opened, host: None, names: Box::new(|_| None) }
    }

    /// Ends the measurement of lines of connections.
    pub(super) fn settle(&mut self) {
        self.layout.settle(self.look.terminal, true);
    }

    /// Ties the clocks of the lines that follow.
    pub(super) const fn tie(&mut self, anchor: Anchor) {
        self.clock.anchor = anchor;
    }

    pub(super) fn heading(&mut self, out: &mut Vec<u8>) {
        self.layout.heading(out, WHY);
    }

    /// Writes a line. `rest` writes the parts of the end of the line that come before the network
    /// namespace and the holder.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        facts: LineFacts<'_>,
        rest: impl Fn(&mut Parts<'_>),
    ) {
        let Self { look, layout, clock, opened, host, names } = self;
        let LineFacts { time, is_open, connection, old, new, span } = facts;
        let Connection { tuple, binding, .. } = connection;
        let inum = tuple.netns;
        let (own, name) = match &connection.labels {
            Some(labels) => (labels.own_netns, labels.netns.clone()),
            None if look.own_netns == Some(inum) => (look.own_netns, None),
            None => (look.own_netns, names(inum)),
        };
        let netns = Netns { inum, own, name: name.as_deref() };
        layout.row(out, WHY, |layout, out| {
            let start = out.len();
            let date = put_time(layout, out, clock, look, (time, is_open));
            let width = layout.width(OPENED);
            layout.cell(out, OPENED, Tone::Plain, |out| {
                if connection.first_sight {
                    out.push(b'-');
                } else {
                    let mut moment = Moment::new();
                    opened.put_wall(&mut moment, connection.opened);
                    put_opened(out, width, &moment, &date);
                }
            });
            put_host(layout, out, host.as_deref());
            layout.cell(out, PROGRAM, Tone::Plain, |out| match &connection.owner {
                Some(owner) => {
                    // Writing to a vector does not fail, here and below.
                    let _ = write!(out, "{}/{}", PidText(owner.pid), EscapedName(&owner.comm));
                }
                None => out.push(b'-'),
            });
            let (word, known) = direction(connection);
            layout.cell(out, DIRECTION, Tone::of_direction(known), |out| {
                out.extend_from_slice(word.as_bytes());
            });
            let (local, remote) = (Host::local(tuple, binding), Host::remote(tuple));
            let services = &look.services;
            layout.cell(out, LOCAL, Tone::Plain, |out| {
                put_end(out, local, tuple.local.port(), services, "?");
            });
            layout.cell(out, REMOTE, Tone::Plain, |out| {
                put_end(out, remote, tuple.remote.port(), services, "*");
            });
            layout.cell(out, OLD, old.map_or(Tone::Plain, Tone::of_state), |out| {
                out.extend_from_slice(old.map_or("", TcpState::name).as_bytes());
                out.extend_from_slice(b" ->");
            });
            layout.cell(out, STATE, Tone::of_state(new), |out| {
                out.extend_from_slice(new.name().as_bytes());
            });
            layout.cell(out, SPAN, Tone::Plain, |out| match span {
                Some(span) => {
                    let _ = write!(out, "{}", Elapsed(span));
                }
                None => out.push(b'-'),
            });
            let free = out.len();
            out.extend_from_slice(b"  ");
            let mut parts = Parts::new(out, look.palette());
            rest(&mut parts);
            parts.put_netns(netns);
            if let Some(holder) = &connection.holder {
                let (pid, name) = (PidText(holder.pid), EscapedName(&holder.comm));
                parts.put(Tone::Plain, format_args!("held by {pid}/{name}"));
            }
            layout.end(out, start, free);
        });
        let is_first = matches!(old, None | Some(TcpState::Close | TcpState::Listen));
        if look.wide_owner && is_first {
            put_parties(out, layout, connection);
        }
    }

    /// Writes a line of text at a time.
    pub(super) fn note(
        &mut self,
        out: &mut Vec<u8>,
        time: Mono,
        text: impl Fn(&mut Vec<u8>, &mut Clock),
    ) {
        let Self { look, layout, clock, host, .. } = self;
        layout.row(out, WHY, |layout, out| {
            let start = out.len();
            put_time(layout, out, clock, look, (time, false));
            put_host(layout, out, host.as_deref());
            let free = out.len();
            out.push(b' ');
            look.palette().put(out, Tone::Warning, |out| text(out, clock));
            layout.end(out, start, free);
        });
    }

    /// Writes a gap: the number of lost events, the cause, and the beginning of the gap.
    pub(super) fn gap(&mut self, out: &mut Vec<u8>, gap: &Gap) {
        let cause = match gap.loss {
            Loss::RingFull => "the ring buffer was full: a larger --buffer helps",
            Loss::Recursion => "the kernel skipped the program, which was running already",
            Loss::Malformed => "records of another version: rebuild netmon",
            Loss::Storage => "the kernel could not keep how a connection began",
            Loss::Processes => "records of processes: an owner may lack its program",
            Loss::Unwritten => "the journal could not be written",
            Loss::Unhooked => "the hooks were silent",
            Loss::NotRecorded => "nothing was recorded",
            Loss::Missing => "a part of the journal is missing",
        };
        self.note(out, gap.time, |out, clock| {
            let _ = match gap.count {
                0 => write!(out, "events may be missing ({cause}) since "),
                count => write!(out, "{count} events lost ({cause}) since "),
            };
            clock.write(out, gap.from);
        });
    }
}

/// Returns the word for the direction of a connection, with `?` if the direction is inferred.
pub(in crate::view) const fn direction(row: &Connection) -> (&'static str, Option<Direction>) {
    match (row.direction, row.inferred_direction) {
        (Some(Direction::Outbound), _) => ("out", row.direction),
        (Some(Direction::Inbound), _) => ("in", row.direction),
        (Some(Direction::Listen), _) => ("lis", row.direction),
        (None, Some(Direction::Outbound)) => ("out?", row.inferred_direction),
        (None, Some(Direction::Inbound)) => ("in?", row.inferred_direction),
        (None, _) => ("-", None),
    }
}

/// Writes a time in the columns of date and time, unless a connection is open then. Returns the
/// date.
fn put_time(
    layout: &mut Layout<11>,
    out: &mut Vec<u8>,
    clock: &mut Clock,
    look: &Appearance,
    (time, is_open): (Mono, bool),
) -> [u8; DATES] {
    let mut moment = Moment::new();
    clock.put(&mut moment, time);
    let (date, time) = moment.text().split_at(if look.dated { DATES } else { 0 });
    let shown = if layout.width(DATE) < DATES { &date[YEAR.min(date.len())..] } else { date };
    let none: &[u8] = b"-";
    layout.cell(out, DATE, Tone::Plain, |out| {
        out.extend_from_slice(if is_open { none } else { shown });
    });
    let time = time.trim_ascii_start();
    let time = if layout.width(TIME) < MICROSECONDS { &time[..SECONDS] } else { time };
    layout.cell(out, TIME, Tone::Plain, |out| {
        out.extend_from_slice(if is_open { none } else { time });
    });
    date.try_into().unwrap_or_default()
}

/// Writes the time of an opening. In a narrow column, the date takes the place of the time if the
/// connection was open for days.
fn put_opened(out: &mut Vec<u8>, width: usize, moment: &Moment, ended: &[u8; DATES]) {
    let text = moment.text();
    match text.split_at_checked(DATES).filter(|(date, _)| date.contains(&b'-')) {
        Some((date, time)) if width <= SECONDS => {
            out.extend_from_slice(if date == ended { &time[1..=SECONDS] } else { &date[YEAR..] });
        }
        None if width <= SECONDS => out.extend_from_slice(&text[..SECONDS]),
        _ => out.extend_from_slice(text),
    }
}

fn put_host(layout: &mut Layout<11>, out: &mut Vec<u8>, host: Option<&str>) {
    layout.cell(out, HOST, Tone::Plain, |out| {
        let _ = write!(out, "{}", Escaped(host.unwrap_or("-").as_bytes()));
    });
}

/// Writes an address and its port: the port by name, `none` in place of port 0.
fn put_end(out: &mut Vec<u8>, host: Host<'_>, port: u16, services: &Services, none: &str) {
    host.put(out);
    out.push(b':');
    match (port, services.name(Protocol::Tcp, port)) {
        (0, _) => out.extend_from_slice(none.as_bytes()),
        (_, Some(name)) => {
            let _ = write!(out, "{}", Escaped(name.as_bytes()));
        }
        (port, None) => out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes()),
    }
}
