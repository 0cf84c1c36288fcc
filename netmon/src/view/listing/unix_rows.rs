//! The rows of unix sockets, as netstat prints them.

use std::{io::Write, num::NonZeroU64};

use super::{
    ListingNames, NetstatColumns,
    cells::{put_known, put_unix_path},
};
use crate::{
    core::{process::SocketHolders, socket::UnixSocket},
    view::{
        language::{Headings, Language},
        own_lines::put_wide_owners,
        palette::{Palette, Tone},
        text::{
            layout::{
                Column,
                Fold::{self, Hide, Shrink},
                Form::Text,
                Layout,
            },
            owners::put_owners,
        },
    },
};

const PROGRAM: usize = 6;
const NETNS: usize = 7;
/// Returns the headings, each with the widths of its column in a pipe and on a terminal, at least.
fn headings(of: &Headings) -> [(&'static str, usize, usize); 8] {
    [
        (of.proto, 5, 5),
        (of.references, 6, 6),
        (of.flags, 11, 7),
        (of.kind, 10, 9),
        (of.state, 13, 9),
        (of.unix_inode, 9, 6),
        (of.program, 19, 16),
        (of.netns, 12, 5),
    ]
}
const FOLDS: &[Fold] = &[Hide(1), Hide(2), Hide(4), Shrink(PROGRAM, 8), Hide(3), Shrink(NETNS, 5)];

/// The form of rows of unix sockets. Columns grow, since no row waits for the next.
pub(super) struct UnixRows {
    pub(super) layout: Layout<8>,
    /// The heading over the rest of a line.
    path: String,
    state: fn(&UnixSocket) -> &'static str,
    wide_owner: bool,
}

impl UnixRows {
    /// Makes rows, with owners and namespaces as the columns of other sockets have them.
    pub(super) fn new(
        terminal: Option<usize>,
        palette: Palette,
        columns: NetstatColumns,
        language: &Language,
    ) -> Self {
        let NetstatColumns { owners, wide_owner, netns, .. } = columns;
        let mut at = 0;
        let columns = headings(&language.headings).map(|(heading, piped, shown)| {
            let width = if terminal.is_some() { shown } else { piped };
            let has = match at {
                PROGRAM => owners,
                NETNS => netns,
                _ => true,
            };
            at += 1;
            Column::new(heading, Text, if has { width } else { 0 })
        });
        let path = format!("  {}", language.headings.path);
        let layout = Layout::new(terminal, palette, columns, FOLDS);
        Self { layout, path, state: language.unix_state, wide_owner }
    }

    pub(super) fn heading(&mut self, out: &mut Vec<u8>) {
        self.layout.heading(out, &self.path);
    }

    pub(super) fn put(
        &mut self,
        out: &mut Vec<u8>,
        socket: &UnixSocket,
        owners: &SocketHolders,
        names: &mut ListingNames,
    ) {
        let owners = owners.of(socket.holder_key());
        let netns = names.netns(socket.netns);
        let state = (self.state)(socket);
        self.layout.row(out, &self.path, |layout, out| {
            let start = out.len();
            let references = socket.references.map(u64::from);
            let flags = if socket.listening { "[ ACC ]" } else { "[ ]" };
            let room = match layout.terminal() {
                Some(_) => layout.width(PROGRAM),
                None => usize::MAX,
            };
            layout.cell(out, 0, Tone::Plain, |out| out.extend_from_slice(b"unix"));
            layout.cell(out, 1, Tone::Plain, |out| put_known(out, references));
            layout.cell(out, 2, Tone::Plain, |out| out.extend_from_slice(flags.as_bytes()));
            layout.cell(out, 3, Tone::Plain, |out| {
                out.extend_from_slice(socket.kind_name().as_bytes());
            });
            layout.cell(out, 4, Tone::Plain, |out| out.extend_from_slice(state.as_bytes()));
            layout
                .cell(out, 5, Tone::Plain, |out| put_known(out, socket.inode.map(NonZeroU64::get)));
            layout.cell(out, PROGRAM, Tone::Plain, |out| put_owners(out, &owners, room));
            // Writing to a vector does not fail.
            layout.cell(out, NETNS, Tone::Plain, |out| _ = write!(out, "{netns}"));
            let free = out.len();
            if let Some(path) = &socket.path {
                out.extend_from_slice(b"  ");
                put_unix_path(out, path, socket.is_abstract);
            }
            layout.end(out, start, free);
        });
        if self.wide_owner {
            put_wide_owners(out, &self.layout, &owners);
        }
    }
}
