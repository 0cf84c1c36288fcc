//! The listing of sockets.

use std::{io::Write, num::NonZeroU64};

use super::AddressNames;
use crate::{
    core::{
        escape::Escaped,
        id::HolderKey,
        process::SocketHolders,
        socket::{Socket, UnixSocket},
        tcp::TcpState,
    },
    view::{
        language::Language,
        listing::{
            cells::{put_timer, put_unix_path},
            netstat::Listening,
        },
        text::{owners::put_owners, width::columns_of},
    },
};

/// The width of the column of owners.
const OWNERS_WIDTH: usize = 20;

/// The columns besides the usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketColumns {
    pub(crate) owners: bool,
    /// User and inode.
    pub(crate) extended: bool,
    pub(crate) timers: bool,
}

/// The table that a socket of the internet is in, in netstat's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SocketKind {
    Tcp,
    Udp,
    UdpLite,
    Raw,
}

impl SocketKind {
    /// Returns the word of the first column.
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpLite => "udpl",
            Self::Raw => "raw",
        }
    }
}

/// Writes sockets, row after row.
pub(crate) struct SocketTable<'a> {
    scope: Listening,
    columns: SocketColumns,
    language: &'static Language,
    names: &'a mut AddressNames,
    owners: &'a SocketHolders,
    /// The text of an end.
    end: Vec<u8>,
}

impl<'a> SocketTable<'a> {
    pub(crate) fn new(
        scope: Listening,
        columns: SocketColumns,
        language: &'static Language,
        names: &'a mut AddressNames,
        owners: &'a SocketHolders,
    ) -> Self {
        Self { scope, columns, language, names, owners, end: Vec::new() }
    }

    /// Writes the headings over the sockets of the internet.
    pub(crate) fn put_heading(&self, out: &mut Vec<u8>) {
        let Self { scope, columns, language, .. } = self;
        let headings = &language.headings;
        // Writing to a vector does not fail, here and below.
        let _ = write!(
            out,
            "{} ({})\n{:<5} {:>6} {:>6} {:<23} {:<23} {:<11}",
            language.internet,
            scope.words(language),
            headings.proto,
            headings.recv_q,
            headings.send_q,
            headings.local_address,
            headings.foreign_address,
            headings.state
        );
        if columns.extended {
            let _ = write!(out, " {:<10} {:<10}", headings.user, headings.inode);
        }
        if columns.owners {
            let _ = write!(out, " {:<OWNERS_WIDTH$}", headings.program);
        }
        let timer = if columns.timers { [" ", headings.timer] } else { [""; 2] };
        let _ = writeln!(out, "{}{}", timer[0], timer[1]);
    }

    /// Writes a socket of the internet.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, kind: SocketKind, socket: &Socket) {
        let Socket { protocol, tuple, .. } = socket;
        let number = |number: Option<u32>| number.unwrap_or(0);
        // The table of the kernel that netstat reads does not have a listener's limit.
        let is_listener = socket.state == TcpState::Listen;
        let send_q = if is_listener { 0 } else { number(socket.send_q) };
        let family = if socket.ipv6 { "6" } else { "" };
        let _ = write!(
            out,
            "{}{family:<width$} {:>6} {send_q:>6}",
            kind.name(),
            number(socket.recv_q),
            width = 5 - kind.name().len()
        );
        for end in [tuple.local, tuple.remote] {
            self.end.clear();
            self.names.put_end(&mut self.end, *protocol, (end.ip(), end.port()));
            out.push(b' ');
            pad(out, 23, |out| out.extend_from_slice(&self.end));
        }
        let _ = match (kind, socket.state) {
            (SocketKind::Raw, state) => write!(out, " {:<11}", state as u8),
            (SocketKind::Udp | SocketKind::UdpLite, TcpState::Close) => write!(out, " {:<11}", ""),
            (_, state) => write!(out, " {:<11}", (self.language.state)(state)),
        };
        if self.columns.extended {
            let uid = number(socket.uid);
            match self.names.users.name(uid) {
                Some(name) => _ = write!(out, " {:<10}", Escaped(name.as_bytes()).to_string()),
                None => _ = write!(out, " {uid:<10}"),
            }
            let _ = write!(out, " {:<10}", socket.inode.map_or(0, NonZeroU64::get));
        }
        if self.columns.owners {
            self.put_owners(out, socket.holder_key());
        }
        if self.columns.timers {
            out.push(b' ');
            put_timer(out, socket, self.language);
        }
        out.push(b'\n');
    }

    /// Writes the headings over unix sockets.
    pub(crate) fn put_unix_heading(&self, out: &mut Vec<u8>) {
        let headings = &self.language.headings;
        let _ = write!(
            out,
            "{} ({})\n{:<5} {:<6} {:<11} {:<10} {:<13} {:<8}",
            self.language.unix,
            self.scope.words(self.language),
            headings.proto,
            headings.references,
            headings.flags,
            headings.kind,
            headings.state,
            headings.unix_inode
        );
        if self.columns.owners {
            let _ = write!(out, " {:<OWNERS_WIDTH$}", headings.program);
        }
        let _ = writeln!(out, " {}", headings.path);
    }

    /// Writes a unix socket.
    pub(crate) fn put_unix(&self, out: &mut Vec<u8>, socket: &UnixSocket) {
        let _ = write!(
            out,
            "unix  {:<6} {:<11} {:<10} {:<13} {:<8}",
            socket.references.unwrap_or(0),
            if socket.listening { "[ ACC ]" } else { "[ ]" },
            socket.kind_name(),
            (self.language.unix_state)(socket),
            socket.inode.map_or(0, NonZeroU64::get)
        );
        if self.columns.owners {
            self.put_owners(out, socket.holder_key());
        }
        out.push(b' ');
        if let Some(path) = &socket.path {
            put_unix_path(out, path, socket.is_abstract);
        }
        out.push(b'\n');
    }

    fn put_owners(&self, out: &mut Vec<u8>, key: Option<HolderKey>) {
        out.push(b' ');
        let owners = self.owners.of(key);
        pad(out, OWNERS_WIDTH, |out| put_owners(out, &owners, usize::MAX));
    }
}

/// Writes a text and fills its column with spaces.
fn pad(out: &mut Vec<u8>, width: usize, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out);
    let missing = width.saturating_sub(columns_of(&out[start..]));
    out.extend(std::iter::repeat_n(b' ', missing));
}
