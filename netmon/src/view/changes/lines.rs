//! One line for each transition, for people.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{
    appearance::Appearance,
    cells::{ConnectionLines, LineFacts},
    why::{found, why},
};
use crate::{
    core::{
        change::{Change, Resync},
        table::ConnectionTable,
    },
    session::View,
    view::text::{
        clock::Elapsed,
        netns::NetnsNames,
        output::{Output, Sink},
    },
};

/// Writes changes as lines.
pub struct Lines<W> {
    out: Output<W>,
    lines: ConnectionLines,
}

impl<W: Sink> Lines<W> {
    /// Writes to `to`, beginning with the heading. Rows that come from no journal
    /// have the names of network namespaces from `names`.
    ///
    /// # Errors
    /// The error of the output.
    pub fn new(to: W, look: Appearance, names: NetnsNames) -> io::Result<Self> {
        let mut lines = ConnectionLines::of_transitions(look, names);
        let mut out = Output::new(to);
        lines.heading(out.line()?);
        out.flush()?;
        Ok(Self { out, lines })
    }
}

impl<W: Sink> View for Lines<W> {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        match change {
            Change::Anchor(anchor) => {
                self.lines.tie(*anchor);
                Ok(false)
            }
            Change::Host(host) => {
                self.lines.host = Some(Arc::clone(host));
                Ok(false)
            }
            Change::Owned { .. } | Change::Reconciled { .. } => Ok(false),
            Change::Found { time, connection, initial } => {
                let (time, connection, new) = (*time, *connection, connection.state);
                let facts =
                    LineFacts { time, is_open: false, connection, old: None, new, span: None };
                self.lines.write(self.out.line()?, facts, |parts| found(parts, *initial));
                Ok(true)
            }
            Change::Gap(gap) => {
                self.lines.gap(self.out.line()?, gap);
                Ok(false)
            }
            Change::Resync(resync) => {
                self.resync(resync)?;
                Ok(false)
            }
            Change::Opened(step)
            | Change::StateChanged(step)
            | Change::Closed(step)
            | Change::Expired(step) => {
                let t = step.transition;
                let (connection, span) = (step.connection, step.in_state);
                let (time, old, new) = (t.time, Some(t.old), t.new);
                let facts = LineFacts { time, is_open: false, connection, old, new, span };
                self.lines.write(self.out.line()?, facts, |parts| why(parts, step));
                Ok(true)
            }
        }
    }

    fn flush(&mut self, _: &ConnectionTable) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Sink> Lines<W> {
    fn resync(&mut self, resync: &Resync) -> io::Result<()> {
        self.lines.note(self.out.line()?, resync.time, |line, _| {
            // Writing to a vector does not fail.
            let _ = match resync.distance {
                Some(distance) => write!(
                    line,
                    "comparisons with the kernel's tables are {} apart: until the next, missed \
                     changes are not corrected",
                    Elapsed(distance)
                ),
                None => write!(
                    line,
                    "compared with the kernel's tables: {} connections found, {} moved on, {} \
                     ended",
                    resync.found, resync.moved, resync.ended
                ),
            };
        });
        Ok(())
    }
}
