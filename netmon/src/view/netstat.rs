//! The listing as netstat prints it.
//!
//! Columns are as wide as the first rows need, and are not moved after that: a listing of any length
//! takes no more memory than its beginning.

use std::{
    io::{self, Write},
    mem,
    net::{IpAddr, SocketAddr},
};

use super::{
    output::{Output, put_address},
    rows::{Names, Rows},
};
use crate::core::{
    escape::Escaped,
    owners::{Owners, Process},
    socket::{Protocol, Socket, TcpInfo, Timer, UnixSocket},
    tcp::TcpState,
};

/// What is shown besides netstat's usual columns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns {
    /// The headings.
    pub heading: bool,
    /// PID/Program name.
    pub owners: bool,
    /// User, inode; and at the end cookie, namespace and cgroup.
    pub extended: bool,
    /// Timer.
    pub timers: bool,
    /// What TCP measures, on a line of its own.
    pub info: bool,
    /// The network namespace.
    pub netns: bool,
}

/// Which sockets the headings speak of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those with a connection.
    #[default]
    Connected,
    /// Those that wait for one.
    Listening,
    /// Both.
    All,
}

impl Scope {
    const fn words(self) -> &'static str {
        match self {
            Self::Connected => "w/o servers",
            Self::Listening => "only servers",
            Self::All => "servers and established",
        }
    }
}

/// Rows that are held until the width of the columns is known.
const HEAD: usize = 1_000;
/// As wide as netstat's, at least.
const ADDRESS: usize = 23;
const PROGRAM: usize = 19;
/// A host name or address is not cut below this, so that it says something.
const LEAST: usize = 15;

/// Writes rows as netstat does.
pub struct Netstat<W> {
    out: Output<W>,
    columns: Columns,
    scope: Scope,
    names: Names,
    /// Width of the terminal where rows are to fit it.
    terminal: Option<usize>,
    /// Rows that came before the widths were known.
    head: Vec<Socket>,
    widths: Option<Widths>,
    unix_heading: bool,
}

#[derive(Clone, Copy, Debug)]
struct Widths {
    local: usize,
    remote: usize,
    program: usize,
}

impl<W: Write> Netstat<W> {
    /// Writes to `to`; `terminal` is the width that rows are to fit, none for a file or a pipe, where
    /// nothing is cut.
    pub fn new(
        to: W,
        columns: Columns,
        scope: Scope,
        names: Names,
        terminal: Option<usize>,
    ) -> Self {
        Self {
            out: Output::new(to),
            columns,
            scope,
            names,
            terminal,
            head: Vec::new(),
            widths: None,
            unix_heading: false,
        }
    }

    /// Settles the widths and writes what was held for them.
    fn begin(&mut self, owners: &Owners) -> io::Result<()> {
        let head = mem::take(&mut self.head);
        let mut widths = Widths { local: ADDRESS, remote: ADDRESS, program: PROGRAM };
        let mut scratch = Vec::new();
        let mut width = |put: &mut dyn FnMut(&mut Vec<u8>)| {
            scratch.clear();
            put(&mut scratch);
            columns_of(&scratch)
        };
        for socket in &head {
            let (local, remote) = (socket.tuple.local, socket.tuple.remote);
            let names = &mut self.names;
            widths.local = widths.local.max(width(&mut |out| {
                put_endpoint(out, names, socket.protocol, local, usize::MAX);
            }));
            widths.remote = widths.remote.max(width(&mut |out| {
                put_endpoint(out, names, socket.protocol, remote, usize::MAX);
            }));
            if self.columns.owners {
                widths.program =
                    widths.program.max(width(&mut |out| put_owners(out, &owners.of(socket.inode))));
            }
        }
        if let Some(terminal) = self.terminal {
            widths.fit(terminal, self.columns);
        }
        self.widths = Some(widths);
        if self.columns.heading {
            self.heading(widths)?;
        }
        head.iter().try_for_each(|socket| self.row(socket, owners, widths))
    }

    fn heading(&mut self, widths: Widths) -> io::Result<()> {
        let Columns { owners, extended, timers, netns, .. } = self.columns;
        let out = self.out.line()?;
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(out, "Active Internet connections ({})", self.scope.words());
        let _ = write!(
            out,
            "{:<5} {:>6} {:>6} {:<local$} {:<remote$} {:<11}",
            "Proto",
            "Recv-Q",
            "Send-Q",
            "Local Address",
            "Foreign Address",
            "State",
            local = widths.local,
            remote = widths.remote,
        );
        if extended {
            let _ = write!(out, " {:<10} {:<10}", "User", "Inode");
        }
        if owners {
            let _ = write!(out, " {:<width$}", "PID/Program name", width = widths.program);
        }
        if netns {
            let _ = write!(out, " {:<12}", "Netns");
        }
        if timers {
            let _ = write!(out, " {:<27}", "Timer");
        }
        end_line(out);
        Ok(())
    }

    fn row(&mut self, socket: &Socket, owners: &Owners, widths: Widths) -> io::Result<()> {
        let out = self.out.line()?;
        let names = &mut self.names;
        let six = if socket.ipv6 { "6" } else { "" };
        put_left(out, 5, |out| {
            out.extend_from_slice(socket.protocol.name().as_bytes());
            out.extend_from_slice(six.as_bytes());
        });
        put_right(out, 6, Some(socket.recv_q));
        put_right(out, 6, socket.send_q);
        out.push(b' ');
        let Socket { protocol, tuple, .. } = *socket;
        put_left(out, widths.local, |out| {
            put_endpoint(out, names, protocol, tuple.local, widths.local);
        });
        out.push(b' ');
        put_left(out, widths.remote, |out| {
            put_endpoint(out, names, protocol, tuple.remote, widths.remote);
        });
        out.push(b' ');
        put_left(out, 11, |out| {
            // Without a connection UDP has no state that a person would call one.
            if protocol == Protocol::Tcp || socket.state != TcpState::Close {
                out.extend_from_slice(socket.state.name().as_bytes());
            }
        });
        if self.columns.extended {
            out.push(b' ');
            put_left(out, 10, |out| match socket.uid.map(|uid| (uid, names.users.name(uid))) {
                Some((_, Some(name))) => put_escaped(out, name.as_bytes()),
                Some((uid, None)) => put_number(out, u64::from(uid)),
                None => out.push(b'-'),
            });
            out.push(b' ');
            put_left(out, 10, |out| match socket.inode {
                Some(inode) => put_number(out, inode.get()),
                None => out.push(b'-'),
            });
        }
        if self.columns.owners {
            out.push(b' ');
            put_left(out, widths.program, |out| put_owners(out, &owners.of(socket.inode)));
        }
        if self.columns.netns {
            out.push(b' ');
            put_left(out, 12, |out| match names.namespaces.name(tuple.netns) {
                Some(name) => put_escaped(out, name.as_bytes()),
                None => put_number(out, u64::from(tuple.netns)),
            });
        }
        if self.columns.timers {
            out.push(b' ');
            put_left(out, 27, |out| put_timer(out, socket));
        }
        if self.columns.extended {
            put_identity(out, socket, names);
        }
        end_line(out);
        if self.columns.info
            && let Some(info) = &socket.info
        {
            put_info(out, info);
        }
        Ok(())
    }
}

impl<W: Write> Rows for Netstat<W> {
    fn socket(&mut self, socket: &Socket, owners: &Owners) -> io::Result<()> {
        if let Some(widths) = self.widths {
            return self.row(socket, owners, widths);
        }
        self.head.push(socket.clone());
        if self.head.len() == HEAD { self.begin(owners) } else { Ok(()) }
    }

    fn unix(&mut self, socket: &UnixSocket, owners: &Owners) -> io::Result<()> {
        if self.widths.is_none() && !self.head.is_empty() {
            self.begin(owners)?;
        }
        if self.columns.heading && !mem::replace(&mut self.unix_heading, true) {
            let out = self.out.line()?;
            let _ = writeln!(out, "Active UNIX domain sockets ({})", self.scope.words());
            let _ = write!(out, "Proto RefCnt Flags       Type       State         I-Node   ");
            if self.columns.owners {
                let _ = write!(out, " {:<PROGRAM$}", "PID/Program name");
            }
            out.extend_from_slice(b"  Path\n");
        }
        let out = self.out.line()?;
        let flags = if socket.listening { "[ ACC ]" } else { "[ ]" };
        let _ = write!(
            out,
            "unix  {:<6} {flags:<11} {:<10} {:<13}",
            socket.references,
            socket.kind_name(),
            socket.state_name()
        );
        put_left(out, 9, |out| match socket.inode {
            Some(inode) => put_number(out, inode.get()),
            None => out.push(b'-'),
        });
        if self.columns.owners {
            out.push(b' ');
            put_left(out, PROGRAM, |out| put_owners(out, &owners.of(socket.inode)));
        }
        if let Some(path) = &socket.path {
            out.extend_from_slice(b"  ");
            put_escaped(out, path);
        }
        end_line(out);
        Ok(())
    }

    fn finish(&mut self, owners: &Owners) -> io::Result<()> {
        if self.widths.is_none() && !self.unix_heading {
            self.begin(owners)?;
        }
        self.out.flush()
    }
}

impl Widths {
    /// Takes from the addresses what the terminal has no room for, and from both alike.
    fn fit(&mut self, terminal: usize, columns: Columns) {
        let Columns { owners, extended, timers, netns, .. } = columns;
        let others = [
            (true, 5 + 1 + 6 + 1 + 6 + 1 + 1 + 1 + 11),
            (extended, 22),
            (owners, 1 + self.program),
            (netns, 13),
            (timers, 28),
        ];
        let taken: usize = others.iter().filter_map(|(on, width)| on.then_some(width)).sum();
        let room = terminal.saturating_sub(taken).max(2 * LEAST);
        if self.local + self.remote > room {
            let half = room / 2;
            self.local = self.local.min(half.max(room.saturating_sub(self.remote)));
            self.remote = self.remote.min(room - self.local);
        }
    }
}

/// Writes what `put` puts, and spaces up to `width`.
#[inline]
fn put_left(out: &mut Vec<u8>, width: usize, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out);
    let used = columns_of(&out[start..]);
    out.resize(out.len() + width.saturating_sub(used), b' ');
}

/// A space and a number, to the right.
#[inline]
fn put_right(out: &mut Vec<u8>, width: usize, number: Option<u32>) {
    let mut digits = itoa::Buffer::new();
    let text = number.map_or("-", |number| digits.format(number));
    out.resize(out.len() + 1 + width.saturating_sub(text.len()), b' ');
    out.extend_from_slice(text.as_bytes());
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn put_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let _ = write!(out, "{}", Escaped(text));
}

/// How many columns the text takes; names from outside were escaped, and wide scripts are rare in them.
fn columns_of(text: &[u8]) -> usize {
    if text.is_ascii() { text.len() } else { String::from_utf8_lossy(text).chars().count() }
}

/// An address and its port, the address cut where both do not fit `width`.
fn put_endpoint(
    out: &mut Vec<u8>,
    names: &mut Names,
    protocol: Protocol,
    end: SocketAddr,
    width: usize,
) {
    let start = out.len();
    match names.hosts.name(end.ip()) {
        Some(host) => put_escaped(out, host.as_bytes()),
        None => match end.ip() {
            address @ IpAddr::V4(_) => put_address(out, address),
            address @ IpAddr::V6(_) => {
                out.push(b'[');
                put_address(out, address);
                out.push(b']');
            }
        },
    }
    let host = out.len();
    out.push(b':');
    match (end.port(), names.services.name(protocol, end.port())) {
        (0, _) => out.push(b'*'),
        (_, Some(name)) => put_escaped(out, name.as_bytes()),
        (port, None) => put_number(out, u64::from(port)),
    }
    if width == usize::MAX || columns_of(&out[start..]) <= width {
        return;
    }
    let port = out.split_off(host);
    let text = String::from_utf8_lossy(&out[start..]).into_owned();
    out.truncate(start);
    let room = width.saturating_sub(columns_of(&port) + 1);
    out.extend(text.chars().take(room).collect::<String>().bytes());
    out.extend_from_slice("…".as_bytes());
    out.extend_from_slice(&port);
}

fn put_owners(out: &mut Vec<u8>, owners: &[&Process]) {
    if owners.is_empty() {
        out.push(b'-');
    }
    for (i, process) in owners.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put_number(out, u64::from(process.pid));
        out.push(b'/');
        put_escaped(out, &process.comm);
    }
}

/// As netstat: what for, seconds left, retransmissions, probes.
fn put_timer(out: &mut Vec<u8>, socket: &Socket) {
    let (name, left) = match socket.timer {
        Some(Timer { kind, left }) => (kind.name(), left.as_secs_f64()),
        None => ("off", 0.0),
    };
    let _ = write!(out, "{name} ({left:.2}/{}/{})", socket.retransmits, socket.probes);
}

/// As `ss -e`: what identifies it.
fn put_identity(out: &mut Vec<u8>, socket: &Socket, names: &mut Names) {
    if let Some(cookie) = socket.cookie {
        let _ = write!(out, " sk:{cookie:x}");
    }
    let _ = write!(out, " netns:{}", socket.tuple.netns);
    if let Some(cgroup) = socket.cgroup {
        out.extend_from_slice(b" cgroup:");
        match names.cgroups.name(cgroup.get()) {
            Some(path) => put_escaped(out, path.as_bytes()),
            None => put_number(out, cgroup.get()),
        }
    }
}

/// As `ss -i`: a line of its own.
fn put_info(out: &mut Vec<u8>, info: &TcpInfo) {
    let ms = |us: u32| f64::from(us) / 1_000.0;
    out.push(b'\t');
    if let Some(rtt) = info.rtt_us {
        let _ = write!(out, " rtt:{:.3}/{:.3}", ms(rtt), ms(info.rttvar_us));
    }
    let _ = write!(out, " rto:{} mss:{} cwnd:{}", ms(info.rto_us), info.mss, info.cwnd);
    if let Some(ssthresh) = info.ssthresh {
        let _ = write!(out, " ssthresh:{ssthresh}");
    }
    let _ = write!(
        out,
        " bytes_sent:{} bytes_retrans:{} bytes_acked:{} bytes_received:{} unacked:{} retrans:{}/{}",
        info.bytes_sent,
        info.bytes_retrans,
        info.bytes_acked,
        info.bytes_received,
        info.unacked,
        info.retrans_out,
        info.retransmits
    );
    if let Some(rate) = info.delivery_rate {
        let _ = write!(out, " delivery_rate:{}bps", rate.saturating_mul(8));
    }
    out.push(b'\n');
}

fn end_line(out: &mut Vec<u8>) {
    while out.last() == Some(&b' ') {
        out.pop();
    }
    out.push(b'\n');
}
