//! The cells of lines about connections: of transitions, and of connections that ended.

use std::{borrow::Cow, io::Write, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

use super::appearance::Appearance;
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
    view::palette::Tone,
    view::text::{
        clock::{Clock, Elapsed, TimeStyle},
        host::Host,
        layout::{
            Column,
            Fold::{self, Hide, Shorten, Shrink},
            Form::{Address, Number, Text},
            Layout,
        },
        stack_text::StackText,
    },
};

const DATE: usize = 0;
const TIME: usize = 1;
const HOST: usize = 2;
const PROGRAM: usize = 3;
const DIRECTION: usize = 4;
const LOCAL: usize = 5;
const REMOTE: usize = 6;
const OLD: usize = 7;
const STATE: usize = 8;
const SPAN: usize = 9;

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
    Shorten(TIME, SECONDS),
    Shrink(HOST, 12),
    Shrink(REMOTE, 21),
    Shrink(LOCAL, 21),
    Shorten(DATE, YEAR),
    Shrink(PROGRAM, 12),
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

/// The heading over the rest of a line.
const WHY: &str = "  Why";

/// The facts of a line.
#[derive(Clone, Copy)]
pub(super) struct LineFacts<'a> {
    pub(super) time: Mono,
    pub(super) connection: &'a Connection,
    /// The states of a transition; the old one is unknown on a row of a dump.
    pub(super) old: Option<TcpState>,
    pub(super) new: TcpState,
    /// The time in the old state, or the lifetime.
    pub(super) span: Option<Duration>,
}

/// Writes lines about connections.
pub(super) struct ConnectionLines {
    pub(super) look: Appearance,
    layout: Layout<10>,
    clock: Clock,
    /// The host of the lines, if there are several hosts.
    pub(super) host: Option<Arc<str>>,
}

impl ConnectionLines {
    /// Makes lines of transitions.
    pub(super) fn of_transitions(look: Appearance) -> Self {
        Self::new(look, "In state", 11, TRANSITION_FOLDS)
    }

    /// Makes lines of connections, which have no states.
    pub(super) fn of_connections(look: Appearance) -> Self {
        Self::new(look, "Lifetime", 0, CONNECTION_FOLDS)
    }

    fn new(look: Appearance, span: &'static str, state: usize, folds: &'static [Fold]) -> Self {
        let style = look.style();
        let time = match &style {
            // The heading shows the offset, since a reader may not know the zone.
            TimeStyle::DateTime(_, offset) => {
                let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::fixed(*offset));
                now.strftime("Time (%:z)").to_string().into()
            }
            TimeStyle::TimeOfDay(_) | TimeStyle::Rfc3339 => Cow::Borrowed("Time"),
        };
        let old = if state == 0 { 0 } else { state + " ->".len() };
        let columns = [
            Column::new("Date", Text, if look.dated { DATES } else { 0 }),
            Column::new(time, Text, MICROSECONDS),
            Column::new("Host", Text, look.host_width),
            Column::new("PID/Program name", Text, 16),
            Column::new("Dir", Text, 3),
            Column::new("Local Address", Address, 21),
            Column::new("Foreign Address", Address, 21),
            Column::new("Old state ->", Number, old),
            Column::new("State", Text, state),
            Column::new(span, Number, 8),
        ];
        let layout = Layout::new(look.terminal, look.palette(), columns, folds);
        Self { look, layout, clock: Clock::new(style), host: None }
    }

    /// Ties the clocks of the lines that follow.
    pub(super) const fn tie(&mut self, anchor: Anchor) {
        self.clock.anchor = anchor;
    }

    pub(super) fn heading(&mut self, out: &mut Vec<u8>) {
        self.layout.heading(out, WHY);
    }

    /// Writes a line. `rest` writes the end of the line.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        facts: LineFacts<'_>,
        rest: impl Fn(&mut Vec<u8>, &Appearance),
    ) {
        let Self { look, layout, clock, host } = self;
        let LineFacts { time, connection, old, new, span } = facts;
        let Connection { tuple, binding, .. } = connection;
        layout.row(out, WHY, |layout, out| {
            let start = out.len();
            put_place(layout, out, clock, look, host.as_deref(), time);
            layout.cell(out, PROGRAM, Tone::Plain, |out| match &connection.owner {
                Some(owner) => {
                    // Writing to a vector does not fail, here and below.
                    let _ = write!(out, "{}/{}", PidText(owner.pid), EscapedName(&owner.comm));
                }
                None => out.push(b'-'),
            });
            let direction = match connection.direction {
                Some(Direction::Outbound) => "out",
                Some(Direction::Inbound) => "in",
                Some(Direction::Listen) => "lis",
                None => "-",
            };
            layout.cell(out, DIRECTION, Tone::of_direction(connection.direction), |out| {
                out.extend_from_slice(direction.as_bytes())
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
            rest(out, look);
            layout.end(out, start, free);
        });
    }

    /// Writes a line of text at a time.
    pub(super) fn note(
        &mut self,
        out: &mut Vec<u8>,
        time: Mono,
        text: impl Fn(&mut Vec<u8>, &mut Clock),
    ) {
        let Self { look, layout, clock, host } = self;
        layout.row(out, WHY, |layout, out| {
            let start = out.len();
            put_place(layout, out, clock, look, host.as_deref(), time);
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

/// Writes the time and the host.
fn put_place(
    layout: &mut Layout<10>,
    out: &mut Vec<u8>,
    clock: &mut Clock,
    look: &Appearance,
    host: Option<&str>,
    time: Mono,
) {
    let mut moment = StackText::<{ Clock::LONGEST }>::new();
    clock.put(&mut moment, time);
    let (date, time) = moment.text().split_at(if look.dated { DATES } else { 0 });
    let date = if layout.width(DATE) < DATES { &date[YEAR.min(date.len())..] } else { date };
    layout.cell(out, DATE, Tone::Plain, |out| out.extend_from_slice(date));
    let time = time.trim_ascii_start();
    let time = if layout.width(TIME) < MICROSECONDS { &time[..SECONDS] } else { time };
    layout.cell(out, TIME, Tone::Plain, |out| out.extend_from_slice(time));
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
