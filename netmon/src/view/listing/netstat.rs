//! The listing as netstat prints it.
//!
//! Columns are as wide as the first rows need, and keep that width: a listing of any length takes
//! no more memory than its beginning.

use std::{
    io::{self, Write},
    mem,
};

use super::{
    ListingNames, ListingView,
    cells::{
        columns_of, digits, end_line, put_endpoint, put_escaped, put_identity, put_info, put_left,
        put_number, put_owners, put_right, put_timer, put_unix_path,
    },
};
use crate::{
    core::{
        process::SocketHolders,
        socket::{Protocol, Socket, UnixSocket},
        tcp::TcpState,
    },
    view::text::{host::Host, output::Output},
};

/// The parts of a listing besides netstat's usual columns.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetstatColumns {
    /// The headings.
    pub heading: bool,
    /// PID/Program name.
    pub owners: bool,
    /// Every process that holds a socket, however many do.
    pub all_owners: bool,
    /// User, inode; and at the end cookie, namespace and cgroup.
    pub extended: bool,
    /// Timer.
    pub timers: bool,
    /// TCP's measurements, on a line of their own.
    pub info: bool,
    /// The network namespace.
    pub netns: bool,
}

impl NetstatColumns {
    /// Returns the most processes that a row names.
    const fn most_owners(self) -> usize {
        if self.all_owners { usize::MAX } else { OWNERS }
    }
}

/// The sockets that the headings name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listening {
    /// Sockets with a connection.
    #[default]
    Connected,
    /// Sockets that wait for a connection.
    Listening,
    /// Both kinds.
    All,
}

impl Listening {
    const fn words(self) -> &'static str {
        match self {
            Self::Connected => "w/o servers",
            Self::Listening => "only servers",
            Self::All => "servers and established",
        }
    }
}

/// The most rows that are held until the widths of the columns are known.
const HEAD: usize = 1_000;
/// Columns are as wide as netstat's, at least.
const QUEUE: usize = 6;
const ADDRESS: usize = 23;
const PROGRAM: usize = 19;
/// The most processes in a row: a server may share one socket with hundreds of workers.
const OWNERS: usize = 3;
/// The least width of a cut address: room for any IPv4 address with its port.
const LEAST: usize = 21;

/// Writes rows as netstat does.
pub struct Netstat<W> {
    out: Output<W>,
    columns: NetstatColumns,
    scope: Listening,
    names: ListingNames,
    /// Width of the terminal that rows must fit; none for a file or a pipe.
    terminal: Option<usize>,
    /// Rows that came before the widths were known.
    head: Vec<Socket>,
    widths: Option<Widths>,
    unix_heading: bool,
}

/// Returns both ends of a socket, with their ports.
fn ends(socket: &Socket) -> [(Host<'_>, u16); 2] {
    let Socket { tuple, binding, .. } = socket;
    [(Host::local(tuple, binding), tuple.local.port()), (Host::remote(tuple), tuple.remote.port())]
}

#[derive(Clone, Copy, Debug)]
struct Widths {
    recv_q: usize,
    send_q: usize,
    local: usize,
    remote: usize,
    program: usize,
}

impl<W: Write> Netstat<W> {
    /// Writes to `to`. Rows fit the width `terminal`; without a width, as for a file or a pipe,
    /// nothing is cut.
    pub fn new(
        to: W,
        columns: NetstatColumns,
        scope: Listening,
        names: ListingNames,
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

    /// Settles the widths, then writes the heading and the rows that were held.
    fn begin(&mut self, owners: &SocketHolders) -> io::Result<()> {
        let head = mem::take(&mut self.head);
        let mut widths = Widths {
            recv_q: QUEUE,
            send_q: QUEUE,
            local: ADDRESS,
            remote: ADDRESS,
            program: PROGRAM,
        };
        let mut scratch = Vec::new();
        let mut width = |put: &mut dyn FnMut(&mut Vec<u8>)| {
            scratch.clear();
            put(&mut scratch);
            columns_of(&scratch)
        };
        for socket in &head {
            let [local, remote] = ends(socket);
            let names = &mut self.names;
            widths.recv_q = widths.recv_q.max(digits(socket.recv_q));
            widths.send_q = widths.send_q.max(digits(socket.send_q));
            widths.local = widths.local.max(width(&mut |out| {
                put_endpoint(out, names, socket.protocol, local, usize::MAX);
            }));
            widths.remote = widths.remote.max(width(&mut |out| {
                put_endpoint(out, names, socket.protocol, remote, usize::MAX);
            }));
            if self.columns.owners {
                let most = self.columns.most_owners();
                widths.program = widths.program.max(width(&mut |out| {
                    put_owners(out, &owners.of(socket.holder_key()), most);
                }));
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
        let NetstatColumns { owners, extended, timers, netns, .. } = self.columns;
        let out = self.out.line()?;
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(out, "Active Internet connections ({})", self.scope.words());
        let _ = write!(
            out,
            "{:<5} {:>recv_q$} {:>send_q$} {:<local$} {:<remote$} {:<11}",
            "Proto",
            "Recv-Q",
            "Send-Q",
            "Local Address",
            "Foreign Address",
            "State",
            recv_q = widths.recv_q,
            send_q = widths.send_q,
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

    fn row(&mut self, socket: &Socket, owners: &SocketHolders, widths: Widths) -> io::Result<()> {
        let out = self.out.line()?;
        let names = &mut self.names;
        let six = if socket.ipv6 { "6" } else { "" };
        put_left(out, 5, |out| {
            out.extend_from_slice(socket.protocol.name().as_bytes());
            out.extend_from_slice(six.as_bytes());
        });
        put_right(out, widths.recv_q, socket.recv_q);
        put_right(out, widths.send_q, socket.send_q);
        out.push(b' ');
        let Socket { protocol, tuple, .. } = *socket;
        let [local, remote] = ends(socket);
        // Only a terminal has a width that rows must not exceed.
        let limit = |width| if self.terminal.is_some() { width } else { usize::MAX };
        put_left(out, widths.local, |out| {
            put_endpoint(out, names, protocol, local, limit(widths.local));
        });
        out.push(b' ');
        put_left(out, widths.remote, |out| {
            put_endpoint(out, names, protocol, remote, limit(widths.remote));
        });
        out.push(b' ');
        put_left(out, 11, |out| {
            // A person would not call CLOSE a state of UDP: the socket has no connection.
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
            let most = self.columns.most_owners();
            out.push(b' ');
            put_left(out, widths.program, |out| {
                put_owners(out, &owners.of(socket.holder_key()), most);
            });
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

impl<W: Write> ListingView for Netstat<W> {
    fn socket(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()> {
        if let Some(widths) = self.widths {
            return self.row(socket, owners, widths);
        }
        self.head.push(socket.clone());
        if self.head.len() == HEAD { self.begin(owners) } else { Ok(()) }
    }

    fn unix(&mut self, socket: &UnixSocket, owners: &SocketHolders) -> io::Result<()> {
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
        out.extend_from_slice(b"unix  ");
        put_left(out, 6, |out| match socket.references {
            Some(references) => put_number(out, references.into()),
            None => out.push(b'-'),
        });
        let _ = write!(out, " {flags:<11} {:<10} {:<13} ", socket.kind_name(), socket.state_name());
        put_left(out, 9, |out| match socket.inode {
            Some(inode) => put_number(out, inode.get()),
            None => out.push(b'-'),
        });
        if self.columns.owners {
            let most = self.columns.most_owners();
            out.push(b' ');
            put_left(out, PROGRAM, |out| put_owners(out, &owners.of(socket.holder_key()), most));
        }
        if let Some(path) = &socket.path {
            out.extend_from_slice(b"  ");
            put_unix_path(out, path, socket.is_abstract);
        }
        end_line(out);
        Ok(())
    }

    fn finish(&mut self, owners: &SocketHolders) -> io::Result<()> {
        if self.widths.is_none() && !self.unix_heading {
            self.begin(owners)?;
        }
        self.out.flush()
    }
}

impl Widths {
    /// Cuts the addresses to the room of the terminal, both alike.
    fn fit(&mut self, terminal: usize, columns: NetstatColumns) {
        let NetstatColumns { owners, extended, timers, netns, .. } = columns;
        let others = [
            (true, 5 + 1 + self.recv_q + 1 + self.send_q + 1 + 1 + 1 + 11),
            (extended, 22),
            (owners, 1 + self.program.min(PROGRAM)),
            (netns, 13),
            (timers, 28),
        ];
        let fixed: usize = others.iter().filter_map(|(on, width)| on.then_some(width)).sum();
        let room = terminal.saturating_sub(fixed).max(2 * LEAST);
        if self.local + self.remote > room {
            let half = room / 2;
            self.local = self.local.min(half.max(room.saturating_sub(self.remote)));
            self.remote = self.remote.min(room - self.local);
        }
    }
}
