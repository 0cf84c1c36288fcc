//! One line for each transition, for people.

use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    core::{
        change::{Change, Step},
        connection::{Connection, Direction},
        errno,
        escape::Escaped,
        event::Totals,
        loss::{Gap, Loss},
        process::PidText,
        services::Services,
        socket::Protocol,
        table::ConnectionTable,
        tcp::TcpState,
        time::Mono,
    },
    session::View,
    view::{
        listing::cells::{end_line, put_left},
        text::{
            clock::{Clock, Elapsed, TimeStyle},
            host::Host,
            output::{Output, Sink},
        },
    },
};

/// The look of lines.
#[derive(Clone, Debug)]
pub struct Appearance {
    /// Names for ports; a port without a name is shown as a number.
    pub services: Services,
    /// Failures, gaps and corrections have colours.
    pub colour: bool,
    /// The zone of times.
    pub zone: TimeZone,
    /// Times have their date, because they are not of today.
    pub dated: bool,
    /// Namespaces whose number is not shown. A line shows the number of any other namespace; with
    /// an empty list, no line shows a number. A name from a journal is always shown.
    pub netns: Vec<u32>,
    /// Columns of the host's name; 0 if there is one host.
    pub host_width: usize,
}

impl Appearance {
    pub(in crate::view) fn style(&self) -> TimeStyle {
        let zone = self.zone.clone();
        if self.dated { TimeStyle::date_time(zone) } else { TimeStyle::TimeOfDay(zone) }
    }
}

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Writes changes as lines.
pub struct Lines<W> {
    out: Output<W>,
    clock: Clock,
    look: Appearance,
    /// The host of the lines, if there are several hosts.
    host: Option<Arc<str>>,
}

impl<W: Sink> Lines<W> {
    /// Writes to `to`, beginning with the heading.
    ///
    /// # Errors
    /// The error of the output.
    pub fn new(to: W, look: Appearance) -> io::Result<Self> {
        let mut out = Output::new(to);
        let line = out.line()?;
        let style = look.style();
        time_heading(line, &style, &look);
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(line, " {:>11}    {:<11} {:>8}  Why", "State", "", "In state");
        out.flush()?;
        Ok(Self { out, clock: Clock::new(style), look, host: None })
    }
}

impl<W: Sink> View for Lines<W> {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        match change {
            Change::Anchor(anchor) => {
                self.clock.anchor = *anchor;
                Ok(false)
            }
            Change::Host(host) => {
                self.host = Some(Arc::clone(host));
                Ok(false)
            }
            Change::Owned { .. } | Change::Reconciled { .. } => Ok(false),
            Change::Found { time, connection, initial } => {
                let line = self.out.line()?;
                let host = self.host.as_deref();
                place(line, &mut self.clock, &self.look, host, *time, connection);
                let state = connection.state;
                let _ = write!(line, " {:>11} -> {state:<11} {:>8}  ", "", "-");
                line.extend_from_slice(if *initial {
                    b"initial "
                } else {
                    b"found (its beginning was lost) "
                });
                put_netns(line, &self.look, connection);
                end_line(line);
                Ok(true)
            }
            Change::Gap(gap) => {
                let host = self.host.as_deref();
                self::gap(self.out.line()?, &mut self.clock, &self.look, host, gap);
                Ok(false)
            }
            Change::Resync(resync) => {
                let line = self.out.line()?;
                self.clock.write(line, resync.time);
                put_host(line, &self.look, self.host.as_deref());
                let (on, off) = if self.look.colour { (YELLOW, PLAIN) } else { ("", "") };
                if let Some(distance) = resync.distance {
                    let _ = writeln!(
                        line,
                        " {on}comparisons with the kernel's tables are {} apart: until the next, \
                         missed changes are not corrected{off}",
                        Elapsed(distance)
                    );
                    return Ok(false);
                }
                let _ = writeln!(
                    line,
                    " {on}compared with the kernel's tables: {} connections found, {} moved on, {} \
                     ended{off}",
                    resync.found, resync.moved, resync.ended
                );
                Ok(false)
            }
            Change::Opened(step)
            | Change::StateChanged(step)
            | Change::Closed(step)
            | Change::Expired(step) => {
                let host = self.host.as_deref();
                transition(self.out.line()?, &mut self.clock, &self.look, host, step);
                Ok(true)
            }
        }
    }

    fn flush(&mut self, _: &ConnectionTable) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes a gap: the number of lost events, the cause, and the beginning of the gap.
pub(in crate::view) fn gap(
    line: &mut Vec<u8>,
    clock: &mut Clock,
    look: &Appearance,
    host: Option<&str>,
    gap: &Gap,
) {
    clock.write(line, gap.time);
    put_host(line, look, host);
    let (on, off) = if look.colour { (YELLOW, PLAIN) } else { ("", "") };
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
    let _ = match gap.count {
        0 => write!(line, " {on}events may be missing ({cause}) since "),
        count => write!(line, " {on}{count} events lost ({cause}) since "),
    };
    clock.write(line, gap.from);
    let _ = writeln!(line, "{off}");
}

/// Writes the host, if there are several hosts.
fn put_host(line: &mut Vec<u8>, look: &Appearance, host: Option<&str>) {
    if look.host_width > 0 {
        let host = Escaped(host.unwrap_or("-").as_bytes()).to_string();
        let _ = write!(line, " {host:<width$}", width = look.host_width);
    }
}

/// Writes the beginning of the heading, over the columns of [`place`].
///
/// A row with an offset of its own is longer by the offset. Few rows have an offset, and the other
/// rows stay narrow.
pub(super) fn time_heading(line: &mut Vec<u8>, style: &TimeStyle, look: &Appearance) {
    let (time, width) = match style {
        // The heading shows the offset, since a reader may not know the zone.
        TimeStyle::DateTime(_, offset) => {
            let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::fixed(*offset));
            (now.strftime("Time (%:z)").to_string(), 26)
        }
        TimeStyle::TimeOfDay(_) | TimeStyle::Rfc3339 => ("Time".to_owned(), 15),
    };
    let _ = write!(line, "{time:<width$}");
    if look.host_width > 0 {
        let _ = write!(line, " {:<width$}", "Host", width = look.host_width);
    }
    let _ = write!(
        line,
        " {:>7} {:<15} {:<3} {:<21} {:<21}",
        "PID", "Program name", "Dir", "Local Address", "Foreign Address",
    );
}

fn transition(
    line: &mut Vec<u8>,
    clock: &mut Clock,
    look: &Appearance,
    host: Option<&str>,
    step: &Step<'_>,
) {
    let Step { transition: t, connection, in_state, .. } = step;
    place(line, clock, look, host, t.time, connection);
    let _ = write!(line, " {:>11} -> {:<11} ", t.old, t.new);
    match in_state {
        Some(in_state) => {
            let _ = write!(line, "{:>8}", Elapsed(*in_state));
        }
        None => {
            let _ = write!(line, "{:>8}", "-");
        }
    }
    line.extend_from_slice(b"  ");
    why(line, look, step);
    end_line(line);
}

/// Writes the time, the host, the process, the direction and both ends.
pub(in crate::view) fn place(
    line: &mut Vec<u8>,
    clock: &mut Clock,
    look: &Appearance,
    host: Option<&str>,
    time: Mono,
    row: &Connection,
) {
    clock.write(line, time);
    put_host(line, look, host);
    match &row.owner {
        Some(owner) => {
            let comm = Escaped(&owner.comm).to_string();
            let _ = write!(line, " {:>7} {comm:<15}", PidText(owner.pid));
        }
        None => {
            let _ = write!(line, " {:>7} {:<15}", "-", "-");
        }
    }
    let direction = match row.direction {
        Some(Direction::Outbound) => "out",
        Some(Direction::Inbound) => "in",
        Some(Direction::Listen) => "lis",
        None => "-",
    };
    let _ = write!(line, " {direction:<3}");
    let Connection { tuple, binding, .. } = row;
    put_end(line, Host::local(tuple, binding), tuple.local.port(), &look.services, "?");
    put_end(line, Host::remote(tuple), tuple.remote.port(), &look.services, "*");
}

/// Writes the namespace, unless it is implied.
fn put_netns(line: &mut Vec<u8>, look: &Appearance, row: &Connection) {
    let name = row.labels.as_ref().and_then(|labels| labels.netns.as_deref());
    let is_implied = look.netns.is_empty() || look.netns.contains(&row.tuple.netns);
    match name {
        Some(name) => {
            let _ = write!(line, "netns={} ", Escaped(name.as_bytes()));
        }
        None if is_implied => {}
        None => {
            let _ = write!(line, "netns={} ", row.tuple.netns);
        }
    }
}

/// Writes the rest of a line: on the last line of a connection, why the connection ended.
pub(in crate::view) fn why(line: &mut Vec<u8>, look: &Appearance, step: &Step<'_>) {
    let t = step.transition;
    let failed = t.errno.is_some() || t.reset.is_some();
    if failed && look.colour {
        line.extend_from_slice(RED.as_bytes());
    }
    match step.verdict {
        Some(verdict) => {
            let _ = write!(line, "{verdict} ");
        }
        None if t.old == TcpState::TimeWait => line.extend_from_slice(b"expired "),
        None if t.is_last() => line.extend_from_slice(b"closed "),
        None => {}
    }
    match t.errno.map(|number| (number, errno::name(number))) {
        Some((_, Some(name))) => {
            let _ = write!(line, "{name} ");
        }
        Some((number, None)) => {
            let _ = write!(line, "errno {number} ");
        }
        None => {}
    }
    if let Some(side) = t.reset {
        let _ = write!(line, "RST {} ", side.name());
    }
    if failed && look.colour {
        line.extend_from_slice(PLAIN.as_bytes());
    }
    if let Some(totals) = &t.totals {
        put_totals(line, totals);
    }
    if t.orphan && !t.is_last() {
        line.extend_from_slice(b"orphan ");
    }
    if t.inferred {
        line.extend_from_slice(b"(inferred) ");
    }
    put_netns(line, look, step.connection);
}

/// Writes the totals of a connection that are not 0.
fn put_totals(line: &mut Vec<u8>, totals: &Totals) {
    for (name, bytes) in [("sent", totals.bytes_sent), ("received", totals.bytes_received)] {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
            let _ = write!(line, "{name} {} ", Bytes(bytes));
        }
    }
    if let Some(retransmits) = totals.retransmits.filter(|retransmits| *retransmits > 0) {
        let _ = write!(line, "retransmitted {retransmits} ");
    }
}

/// A number of bytes in three digits or so: `517`, `4.2K`, `38M`.
pub(in crate::view) struct Bytes(pub(in crate::view) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
        let (mut whole, mut tenths, mut unit) = (self.0, 0, 0);
        while whole >= 1024 {
            (whole, tenths, unit) = (whole >> 10, ((whole & 1023) * 10) >> 10, unit + 1);
        }
        if unit > 0 && whole < 10 {
            write!(f, "{whole}.{tenths}{}", UNITS[unit])
        } else {
            write!(f, "{whole}{}", UNITS[unit])
        }
    }
}

/// Writes an address and its port, in 21 columns at least: the port by name, `none` in place of
/// port 0.
fn put_end(line: &mut Vec<u8>, host: Host<'_>, port: u16, services: &Services, none: &str) {
    line.push(b' ');
    put_left(line, 21, |line| {
        host.put(line);
        let _ = match (port, services.name(Protocol::Tcp, port)) {
            (0, _) => write!(line, ":{none}"),
            (_, Some(name)) => write!(line, ":{}", Escaped(name.as_bytes())),
            (port, None) => write!(line, ":{port}"),
        };
    });
}
