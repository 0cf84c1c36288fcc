//! Connections that ended, one line or one object each, and those that are still open.

use std::io::{self, Write};

use super::{
    cells::end_line,
    json,
    lines::{Appearance, place, time_heading, why},
    output::Output,
    time::{Clock, Span, Style},
};
use crate::core::{
    connection::{Connection, Step},
    event::Anchor,
};

/// How they are written.
enum Form {
    Lines(Appearance),
    Json,
}

/// Writes connections.
pub struct History<W> {
    out: Output<W>,
    clock: Clock,
    form: Form,
}

impl<W: Write> History<W> {
    /// Writes lines to `to`, beginning with the heading.
    ///
    /// # Errors
    /// What writing it answered.
    pub fn lines(to: W, look: Appearance) -> io::Result<Self> {
        let mut out = Output::new(to);
        let style = look.style();
        let line = out.line()?;
        time_heading(line, &style);
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(line, " {:>8}  Why", "Lifetime");
        Ok(Self { out, clock: Clock::new(style), form: Form::Lines(look) })
    }

    /// Writes JSON Lines to `to`.
    pub fn json(to: W) -> Self {
        Self { out: Output::new(to), clock: Clock::new(Style::Rfc3339), form: Form::Json }
    }

    /// Writes one that ended with this step.
    ///
    /// # Errors
    /// What writing it answered.
    pub fn closed(&mut self, anchor: Anchor, step: &Step<'_>) -> io::Result<()> {
        self.clock.anchor = anchor;
        let line = self.out.line()?;
        let look = match &self.form {
            Form::Lines(look) => look,
            Form::Json => {
                json::closed(line, &mut self.clock, step);
                return Ok(());
            }
        };
        let (time, epoch) = (step.transition.time, step.connection.id.epoch);
        place(line, &mut self.clock, look, time, step.connection);
        put_lifetime(line, epoch, time);
        why(line, look, step);
        end_line(line);
        Ok(())
    }

    /// Writes one that was open at the anchor's moment.
    ///
    /// # Errors
    /// What writing it answered.
    pub fn open(&mut self, anchor: Anchor, row: &Connection) -> io::Result<()> {
        self.clock.anchor = anchor;
        let line = self.out.line()?;
        let look = match &self.form {
            Form::Lines(look) => look,
            Form::Json => {
                json::row(line, &mut self.clock, anchor.monotonic, row, "");
                return Ok(());
            }
        };
        place(line, &mut self.clock, look, anchor.monotonic, row);
        put_lifetime(line, row.id.epoch, anchor.monotonic);
        let _ = write!(line, "open, {}", row.state);
        end_line(line);
        Ok(())
    }

    /// Writes everything out.
    ///
    /// # Errors
    /// What writing it answered.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn put_lifetime(line: &mut Vec<u8>, epoch: u64, time: u64) {
    let _ = match epoch {
        0 => write!(line, " {:>8}  ", "-"),
        _ => write!(line, " {:>8}  ", Span(time.saturating_sub(epoch))),
    };
}
