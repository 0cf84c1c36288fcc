//! Connections that ended and connections that are still open, one line or one object each.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{
    json::{self, JsonContext},
    lines::{self, Appearance, place, time_heading, why},
};
use crate::{
    core::{
        change::Step,
        connection::Connection,
        loss::Gap,
        time::{Anchor, Mono},
    },
    view::{
        listing::cells::end_line,
        text::{
            clock::{Clock, Elapsed, TimeStyle},
            output::Output,
        },
    },
};

/// The form of the output.
enum Form {
    Lines(Appearance),
    Json,
}

/// Writes connections.
pub(crate) struct HistoryView<W> {
    out: Output<W>,
    clock: Clock,
    context: JsonContext,
    form: Form,
}

impl<W: Write> HistoryView<W> {
    /// Writes lines to `to`, beginning with the heading.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn lines(to: W, look: Appearance) -> io::Result<Self> {
        let mut out = Output::new(to);
        let style = look.style();
        let line = out.line()?;
        time_heading(line, &style, &look);
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(line, " {:>8}  Why", "Lifetime");
        let (clock, context) = (Clock::new(style), JsonContext::new());
        Ok(Self { out, clock, context, form: Form::Lines(look) })
    }

    /// Writes JSON Lines to `to`.
    pub(crate) fn json(to: W) -> Self {
        let (clock, context) = (Clock::new(TimeStyle::Rfc3339), JsonContext::new());
        Self { out: Output::new(to), clock, context, form: Form::Json }
    }

    /// Sets the host of the rows that follow.
    pub(crate) fn host(&mut self, host: &Arc<str>) {
        self.context.host = Some(Arc::clone(host));
    }

    /// Ties the clocks of the rows that follow.
    fn tie(&mut self, anchor: Anchor) {
        (self.clock.anchor, self.context.clock.anchor) = (anchor, anchor);
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
        self.tie(anchor);
        let line = self.out.line()?;
        let look = match &self.form {
            Form::Lines(look) => look,
            Form::Json => {
                json::closed(line, &mut self.context, step, community_id().as_deref());
                return Ok(());
            }
        };
        let time = step.transition.time;
        let host = self.context.host.as_deref();
        place(line, &mut self.clock, look, host, time, step.connection);
        put_lifetime(line, step.connection, time);
        why(line, look, step);
        end_line(line);
        Ok(())
    }

    /// Writes a connection that was open at the moment of `anchor`.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn open(&mut self, anchor: Anchor, row: &Connection) -> io::Result<()> {
        self.tie(anchor);
        let line = self.out.line()?;
        let look = match &self.form {
            Form::Lines(look) => look,
            Form::Json => {
                json::row(line, &mut self.context, anchor.monotonic, row, "");
                return Ok(());
            }
        };
        let host = self.context.host.as_deref();
        place(line, &mut self.clock, look, host, anchor.monotonic, row);
        put_lifetime(line, row, anchor.monotonic);
        let _ = write!(line, "open, {}", row.state);
        end_line(line);
        Ok(())
    }

    /// Writes that events are missing.
    ///
    /// # Errors
    /// The error of the output.
    pub(crate) fn gap(&mut self, anchor: Anchor, gap: &Gap) -> io::Result<()> {
        self.tie(anchor);
        match &self.form {
            Form::Lines(look) => {
                let host = self.context.host.as_deref();
                lines::gap(self.out.line()?, &mut self.clock, look, host, gap);
                Ok(())
            }
            Form::Json => json::gap(&mut self.out, &mut self.context, gap, true),
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

fn put_lifetime(line: &mut Vec<u8>, row: &Connection, time: Mono) {
    let _ = match row.lifetime(time) {
        None => write!(line, " {:>8}  ", "-"),
        Some(lifetime) => write!(line, " {:>8}  ", Elapsed(lifetime)),
    };
}
