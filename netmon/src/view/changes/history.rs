//! Connections that ended and connections that are still open, one line or one object each.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{
    appearance::Appearance,
    cells::{ConnectionLines, LineFacts},
    json::{self, JsonContext},
    why::{open, why},
};
use crate::{
    core::{change::Step, connection::Connection, event::Transition, loss::Gap, time::Anchor},
    view::text::output::Output,
};

/// The most entries that are held until the widths of the columns are known.
const HEAD: usize = 1_000;

/// A connection of a history.
#[derive(Clone, Debug)]
pub(crate) struct HistoryRow {
    pub(crate) host: Arc<str>,
    /// The clocks at the end of the connection, or at the moment at which it is open.
    pub(crate) anchor: Anchor,
    pub(crate) connection: Connection,
    /// The last transition; none if the connection is open.
    pub(crate) end: Option<Transition>,
}

impl HistoryRow {
    /// Returns the end as a change.
    pub(crate) fn step(&self) -> Option<Step<'_>> {
        self.end.as_ref().map(|transition| Step {
            transition,
            connection: &self.connection,
            in_state: None,
            verdict: self.connection.verdict,
            corrected: false,
        })
    }
}

/// An entry of a history.
#[derive(Clone, Debug)]
pub(crate) enum HistoryEntry {
    Row(Box<HistoryRow>),
    /// Events that are missing in the journal of a host.
    Gap(Arc<str>, Anchor, Gap),
}

/// The form of the output.
enum Form {
    Lines(Box<ConnectionLines>),
    /// With the function that names a flow as other tools do.
    Json(Box<JsonContext>, fn(&Connection) -> Option<String>),
}

/// Writes connections.
pub(crate) struct HistoryView<W> {
    out: Output<W>,
    form: Form,
    /// Entries that came before the widths were known; none once the widths are known.
    head: Option<Vec<HistoryEntry>>,
}

impl<W: Write> HistoryView<W> {
    /// Writes lines to `to`.
    pub(crate) fn lines(to: W, look: Appearance) -> Self {
        let lines = Box::new(ConnectionLines::of_connections(look));
        let (out, form) = (Output::new(to), Form::Lines(lines));
        Self { out, form, head: Some(Vec::new()) }
    }

    /// Writes JSON Lines to `to`. `community_id` returns the name that other tools have for the
    /// flow of a connection.
    pub(crate) fn json(to: W, community_id: fn(&Connection) -> Option<String>) -> Self {
        let form = Form::Json(Box::new(JsonContext::new(Box::new(|_| None))), community_id);
        Self { out: Output::new(to), form, head: None }
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn put(&mut self, entry: HistoryEntry) -> io::Result<()> {
        let Some(head) = &mut self.head else { return self.write(&entry) };
        head.push(entry);
        if head.len() == HEAD { self.settle() } else { Ok(()) }
    }

    /// Settles the widths, then writes the heading and the entries that were held.
    fn settle(&mut self) -> io::Result<()> {
        let Some(head) = self.head.take() else { return Ok(()) };
        if let Form::Lines(lines) = &mut self.form {
            let mut scratch = Vec::new();
            for entry in &head {
                scratch.clear();
                put_lines(&mut scratch, lines, entry);
            }
            lines.settle();
            lines.heading(self.out.line()?);
        }
        head.iter().try_for_each(|entry| self.write(entry))
    }

    fn write(&mut self, entry: &HistoryEntry) -> io::Result<()> {
        let host = Some(Arc::clone(entry.host()));
        match &mut self.form {
            Form::Lines(lines) => {
                lines.host = host;
                put_lines(self.out.line()?, lines, entry);
                Ok(())
            }
            Form::Json(context, community_id) => {
                context.host = host;
                put_json(&mut self.out, context, *community_id, entry)
            }
        }
    }

    /// Writes the buffered lines or objects out.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.settle()?;
        self.out.flush()
    }
}

impl HistoryEntry {
    fn host(&self) -> &Arc<str> {
        match self {
            Self::Row(row) => &row.host,
            Self::Gap(host, ..) => host,
        }
    }
}

fn put_lines(out: &mut Vec<u8>, lines: &mut ConnectionLines, entry: &HistoryEntry) {
    let row = match entry {
        HistoryEntry::Row(row) => row,
        HistoryEntry::Gap(_, anchor, gap) => {
            lines.tie(*anchor);
            return lines.gap(out, gap);
        }
    };
    lines.tie(row.anchor);
    let connection = &row.connection;
    let time = row.end.as_ref().map_or(row.anchor.monotonic, |end| end.time);
    let facts = LineFacts {
        time,
        is_open: row.end.is_none(),
        connection,
        old: None,
        new: connection.state,
        span: connection.lifetime(time),
    };
    match row.step() {
        Some(step) => lines.write(out, facts, |parts| why(parts, &step)),
        None => lines.write(out, facts, |parts| open(parts, connection.state)),
    }
}

fn put_json<W: Write>(
    out: &mut Output<W>,
    context: &mut JsonContext,
    community_id: fn(&Connection) -> Option<String>,
    entry: &HistoryEntry,
) -> io::Result<()> {
    match entry {
        HistoryEntry::Gap(_, anchor, gap) => {
            context.clock.anchor = *anchor;
            return json::gap(out, context, gap, true);
        }
        HistoryEntry::Row(row) => {
            context.clock.anchor = row.anchor;
            let (line, connection) = (out.line()?, &row.connection);
            match row.step() {
                Some(step) => {
                    json::closed(line, context, &step, community_id(connection).as_deref());
                }
                None => json::row(line, context, row.anchor.monotonic, connection, ""),
            }
        }
    }
    Ok(())
}
