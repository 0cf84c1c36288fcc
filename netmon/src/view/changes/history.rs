//! Connections that ended and connections that are still open, one line or one object each.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{
    appearance::Appearance,
    cells::{ConnectionLines, LineFacts},
    json::{self, JsonContext},
    why::why,
};
use crate::{
    core::{change::Step, connection::Connection, loss::Gap, time::Anchor},
    view::text::output::Output,
};

/// The form of the output.
enum Form {
    Lines(Box<ConnectionLines>),
    Json(JsonContext),
}

/// Writes connections.
pub(crate) struct HistoryView<W> {
    out: Output<W>,
    form: Form,
}

impl<W: Write> HistoryView<W> {
    /// Writes lines to `to`, beginning with the heading.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn lines(to: W, look: Appearance) -> io::Result<Self> {
        let (mut out, mut lines) = (Output::new(to), ConnectionLines::of_connections(look));
        lines.heading(out.line()?);
        Ok(Self { out, form: Form::Lines(Box::new(lines)) })
    }

    /// Writes JSON Lines to `to`.
    pub(crate) fn json(to: W) -> Self {
        Self { out: Output::new(to), form: Form::Json(JsonContext::new()) }
    }

    /// Sets the host of the rows that follow.
    pub(crate) fn host(&mut self, host: &Arc<str>) {
        let of = match &mut self.form {
            Form::Lines(lines) => &mut lines.host,
            Form::Json(context) => &mut context.host,
        };
        *of = Some(Arc::clone(host));
    }

    /// Writes a connection that ended with `step`.
    ///
    /// `community_id` returns the name that other tools have for the flow. Only JSON needs the
    /// name.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn closed(
        &mut self,
        anchor: Anchor,
        step: &Step<'_>,
        community_id: impl FnOnce() -> Option<String>,
    ) -> io::Result<()> {
        let out = self.out.line()?;
        match &mut self.form {
            Form::Lines(lines) => {
                lines.tie(anchor);
                let (time, connection) = (step.transition.time, step.connection);
                let (new, span) = (connection.state, connection.lifetime(time));
                let facts = LineFacts { time, connection, old: None, new, span };
                lines.write(out, facts, |line, look| why(line, look, step));
            }
            Form::Json(context) => {
                context.clock.anchor = anchor;
                json::closed(out, context, step, community_id().as_deref());
            }
        }
        Ok(())
    }

    /// Writes a connection that was open at the moment of `anchor`.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn open(&mut self, anchor: Anchor, row: &Connection) -> io::Result<()> {
        let (out, time) = (self.out.line()?, anchor.monotonic);
        match &mut self.form {
            Form::Lines(lines) => {
                lines.tie(anchor);
                let (new, span) = (row.state, row.lifetime(time));
                let facts = LineFacts { time, connection: row, old: None, new, span };
                lines.write(out, facts, |line, _| {
                    // Writing to a vector does not fail.
                    let _ = write!(line, "open, {new}");
                });
            }
            Form::Json(context) => {
                context.clock.anchor = anchor;
                json::row(out, context, time, row, "");
            }
        }
        Ok(())
    }

    /// Writes that events are missing.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn gap(&mut self, anchor: Anchor, gap: &Gap) -> io::Result<()> {
        match &mut self.form {
            Form::Lines(lines) => {
                lines.tie(anchor);
                lines.gap(self.out.line()?, gap);
                Ok(())
            }
            Form::Json(context) => {
                context.clock.anchor = anchor;
                json::gap(&mut self.out, context, gap, true)
            }
        }
    }

    /// Writes the buffered lines or objects out.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
