//! The listing as netstat prints it.
//!
//! Columns are as wide as the first rows need, and keep that width: a listing of any length takes
//! no more memory than its beginning. A list of owners takes the room of a few: a longer list is
//! counted on a terminal, and shifts the rest of its own row in a pipe. What a terminal has no room
//! for follows its row, on a line of its own.

use std::{
    io::{self, Write},
    mem,
    num::NonZeroU64,
};

use super::{
    ListingNames, ListingView, NetstatColumns,
    cells::{put_endpoint, put_escaped, put_identity, put_info, put_known, put_timer},
    unix_rows::UnixRows,
};
use crate::{
    core::{
        process::SocketHolders,
        socket::{Protocol, Socket, UnixSocket},
        tcp::TcpState,
    },
    view::{
        language::{Headings, Language},
        own_lines::{put_line, put_parties, put_wide_owners},
        palette::{Palette, Tone},
        text::{
            host::Host,
            layout::{
                Column,
                Fold::{self, Hide, Shrink},
                Form::{Address, Number, Text},
                Layout,
            },
            output::Output,
            owners::put_owners,
            width::columns_of,
        },
    },
};

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
    pub(in crate::view) const fn words(self, language: &Language) -> &'static str {
        match self {
            Self::Connected => language.without_servers,
            Self::Listening => language.only_servers,
            Self::All => language.servers_and_established,
        }
    }
}

/// The most rows that are held until the widths of the columns are known.
const HEAD: usize = 1_000;
/// The room of a list of owners: a server may share one socket with hundreds of workers.
const OWNERS: usize = 30;

const PROTO: usize = 0;
const RECV_Q: usize = 1;
const SEND_Q: usize = 2;
const LOCAL: usize = 3;
const REMOTE: usize = 4;
const STATE: usize = 5;
const USER: usize = 6;
const INODE: usize = 7;
const PROGRAM: usize = 8;
const NETNS: usize = 9;
const TIMER: usize = 10;

/// Returns the headings, each with the width of its column in a pipe at least, which is netstat's.
fn headings(of: &Headings) -> [(&'static str, usize); 11] {
    [
        (of.proto, 5),
        (of.recv_q, 6),
        (of.send_q, 6),
        (of.local_address, 23),
        (of.foreign_address, 23),
        (of.state, 11),
        (of.user, 10),
        (of.inode, 10),
        (of.program, 19),
        (of.netns, 12),
        (of.timer, 27),
    ]
}

/// Columns that are left out follow on a line of their own; of the queues, those that are not
/// empty.
const FOLDS: &[Fold] = &[
    Hide(TIMER),
    Hide(INODE),
    Hide(NETNS),
    Hide(USER),
    Hide(SEND_Q),
    Hide(RECV_Q),
    Shrink(PROGRAM, 16),
    Shrink(REMOTE, 21),
    Shrink(LOCAL, 21),
    Shrink(PROGRAM, 12),
    Shrink(REMOTE, 12),
    Shrink(LOCAL, 12),
    Hide(PROGRAM),
    Shrink(REMOTE, 7),
    Shrink(LOCAL, 7),
];

/// Writes rows as netstat does.
pub struct Netstat<W> {
    out: Output<W>,
    scope: Listening,
    rows: Rows,
    /// Width of the terminal that rows must fit; none for a file or a pipe.
    terminal: Option<usize>,
    /// Rows that came before the widths were known.
    head: Vec<Socket>,
    has_begun: bool,
    unix: UnixRows,
    has_unix: bool,
}

/// The form of rows.
struct Rows {
    columns: NetstatColumns,
    names: ListingNames,
    layout: Layout<11>,
    /// The room of a list of owners.
    room: usize,
    /// The parts of a row that have no room in their columns.
    folded: Vec<u8>,
}

/// Returns the layout of the columns, which only measures rows.
fn layout(
    columns: NetstatColumns,
    terminal: Option<usize>,
    palette: Palette,
    of: &Headings,
) -> Layout<11> {
    let NetstatColumns { owners, extended, timers, netns, .. } = columns;
    let mut at = 0;
    let headings = headings(of).map(|(heading, width)| {
        let (form, has) = match at {
            RECV_Q | SEND_Q => (Number, true),
            LOCAL | REMOTE => (Address, true),
            USER | INODE => (Text, extended),
            PROGRAM => (Text, owners),
            NETNS => (Text, netns),
            TIMER => (Text, timers),
            _ => (Text, true),
        };
        at += 1;
        let width = if terminal.is_some() { columns_of(heading.as_bytes()) } else { width };
        Column::new(heading, form, if has { width } else { 0 })
    });
    let mut layout = Layout::measuring(palette, headings, FOLDS);
    layout.shorten(LOCAL, of.local);
    layout.shorten(REMOTE, of.foreign);
    layout
}

/// Returns both ends of a socket, with their ports.
fn ends(socket: &Socket) -> [(Host<'_>, u16); 2] {
    let Socket { tuple, binding, .. } = socket;
    [(Host::local(tuple, binding), tuple.local.port()), (Host::remote(tuple), tuple.remote.port())]
}

impl<W: Write> Netstat<W> {
    /// Writes to `to`. Rows fit the width `terminal`; without a width, as for a file or a pipe,
    /// nothing is cut. With `colour`, states have colours.
    pub fn new(
        to: W,
        columns: NetstatColumns,
        scope: Listening,
        names: ListingNames,
        terminal: Option<usize>,
        colour: bool,
    ) -> Self {
        let palette = Palette { colour };
        let language = names.language;
        let layout = layout(columns, terminal, palette, &language.headings);
        Self {
            out: Output::new(to),
            scope,
            rows: Rows { columns, names, layout, room: OWNERS, folded: Vec::new() },
            terminal,
            head: Vec::new(),
            has_begun: false,
            unix: UnixRows::new(terminal, palette, columns, language),
            has_unix: false,
        }
    }

    /// Settles the columns and their widths, then writes the heading and the rows that were held.
    /// `is_all` means that no other rows come.
    fn begin(&mut self, owners: &SocketHolders, is_all: bool) -> io::Result<()> {
        self.has_begun = true;
        let head = mem::take(&mut self.head);
        let Rows { columns, names, layout, .. } = &mut self.rows;
        let is_own = |socket: &Socket| Some(socket.tuple.netns) == names.own_netns;
        if columns.netns && is_all && head.iter().all(is_own) {
            layout.remove(NETNS);
        }
        let mut scratch = Vec::new();
        for socket in &head {
            scratch.clear();
            self.rows.put(&mut scratch, socket, owners);
        }
        let layout = &mut self.rows.layout;
        layout.settle(self.terminal, false);
        self.rows.room = match self.terminal {
            Some(_) if !layout.is_folded(PROGRAM) => layout.width(PROGRAM),
            Some(_) => OWNERS,
            None => usize::MAX,
        };
        if self.rows.columns.heading {
            let out = self.out.line()?;
            let language = self.rows.names.language;
            title(out, layout, language.internet, self.scope.words(language));
            layout.heading(out, "");
        }
        head.iter().try_for_each(|socket| self.row(socket, owners))
    }

    fn row(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()> {
        self.rows.put(self.out.line()?, socket, owners);
        Ok(())
    }
}

/// Writes the line above the headings.
fn title<const N: usize>(out: &mut Vec<u8>, layout: &Layout<N>, of: &str, scope: &str) {
    let start = out.len();
    // Writing to a vector does not fail.
    let _ = write!(out, "{of} ({scope})");
    layout.end(out, start, start);
}

/// The cells of a row.
struct Cells<'a> {
    layout: &'a mut Layout<11>,
    /// The parts of the row that have no room in their columns.
    folded: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
}

impl Cells<'_> {
    /// Writes a cell. If the column of the cell is folded, keeps the cell, with `word` before it.
    #[inline]
    fn put(&mut self, at: usize, word: &str, put: impl FnOnce(&mut Vec<u8>)) {
        self.put_toned(at, word, Tone::Plain, put);
    }

    #[inline]
    fn put_queue(&mut self, at: usize, word: &str, length: Option<u32>, is_limit: bool) {
        if !self.layout.is_folded(at) || length.is_some_and(|length| length > 0 && !is_limit) {
            self.put(at, word, |out| put_known(out, length.map(u64::from)));
        }
    }

    #[inline]
    fn put_toned(&mut self, at: usize, word: &str, tone: Tone, put: impl FnOnce(&mut Vec<u8>)) {
        if self.layout.is_folded(at) {
            self.folded.push(b' ');
            self.folded.extend_from_slice(word.as_bytes());
            put(self.folded);
        } else {
            self.layout.cell(self.out, at, tone, put);
        }
    }
}

impl Rows {
    fn put(&mut self, out: &mut Vec<u8>, socket: &Socket, owners: &SocketHolders) {
        let Self { columns, names, layout, room, folded } = self;
        let Socket { protocol, tuple, .. } = *socket;
        let [local, remote] = ends(socket);
        let start = out.len();
        let mut cells = Cells { layout, folded, out };
        cells.put(PROTO, "", |out| {
            out.extend_from_slice(protocol.name().as_bytes());
            out.extend_from_slice(if socket.ipv6 { b"6" } else { b"" });
        });
        cells.put_queue(RECV_Q, "recv-q:", socket.recv_q, false);
        // The Send-Q of a listener is a limit, and not the length of a queue.
        cells.put_queue(SEND_Q, "send-q:", socket.send_q, socket.is_listening());
        cells.put(LOCAL, "", |out| put_endpoint(out, names, protocol, local));
        cells.put(REMOTE, "", |out| put_endpoint(out, names, protocol, remote));
        cells.put_toned(STATE, "", Tone::of_state(socket.state), |out| {
            // A person would not call CLOSE a state of UDP: the socket has no connection.
            if protocol == Protocol::Tcp || socket.state != TcpState::Close {
                out.extend_from_slice((names.language.state)(socket.state).as_bytes());
            }
        });
        if columns.extended {
            cells.put(USER, "user:", |out| match socket.uid.map(|uid| names.users.name(uid)) {
                Some(Some(name)) => put_escaped(out, name.as_bytes()),
                _ => put_known(out, socket.uid.map(u64::from)),
            });
            cells.put(INODE, "inode:", |out| put_known(out, socket.inode.map(NonZeroU64::get)));
        }
        if columns.owners {
            let owners = owners.of(socket.holder_key());
            cells.put(PROGRAM, "", |out| put_owners(out, &owners, *room));
        }
        if columns.netns {
            let netns = names.netns(tuple.netns);
            // Without a column, the own namespace is implied, and the identity has the others.
            if !(cells.layout.is_folded(NETNS) && (netns.is_own() || columns.extended)) {
                // Writing to a vector does not fail.
                cells.put(NETNS, "netns:", |out| _ = write!(out, "{netns}"));
            }
        }
        if columns.timers {
            cells.put(TIMER, "timer:", |out| put_timer(out, socket, names.language));
        }
        let free = out.len();
        out.append(folded);
        if columns.extended {
            put_identity(out, socket, names);
        }
        layout.end(out, start, free);
        match &socket.row {
            _ if !columns.wide_owner => {}
            Some(row) => put_parties(out, layout, row),
            None => put_wide_owners(out, layout, &owners.of(socket.holder_key())),
        }
        if let Some(info) = socket.info.as_ref().filter(|_| columns.info) {
            put_line(out, layout, |out| put_info(out, info));
        }
    }
}

impl<W: Write> ListingView for Netstat<W> {
    fn socket(&mut self, socket: &Socket, owners: &SocketHolders) -> io::Result<()> {
        if self.has_begun {
            return self.row(socket, owners);
        }
        self.head.push(socket.clone());
        if self.head.len() == HEAD { self.begin(owners, false) } else { Ok(()) }
    }

    fn unix(&mut self, socket: &UnixSocket, owners: &SocketHolders) -> io::Result<()> {
        if !self.has_begun && !self.head.is_empty() {
            self.begin(owners, true)?;
        }
        let (out, rows) = (self.out.line()?, &mut self.unix);
        if !mem::replace(&mut self.has_unix, true) && self.rows.columns.heading {
            let language = self.rows.names.language;
            title(out, &rows.layout, language.unix, self.scope.words(language));
            rows.heading(out);
        }
        rows.put(out, socket, owners, &mut self.rows.names);
        Ok(())
    }

    fn finish(&mut self, owners: &SocketHolders) -> io::Result<()> {
        if !self.has_begun && !self.has_unix {
            self.begin(owners, true)?;
        }
        self.out.flush()
    }
}
