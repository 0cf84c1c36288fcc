//! The list held still, to be read: its rows are those of one moment.

use super::ScreenState;
use crate::{
    core::{connection::Connection, id::ConnectionId, table::ConnectionTable, time::Mono},
    view::tui::{
        activity::Activity,
        groups::Flows,
        history::{Gone, Latest},
    },
};

/// Everything that the list shows, of one moment.
#[derive(Debug)]
pub(in crate::view::tui) struct Frozen {
    /// The moment.
    pub(in crate::view::tui) at: Mono,
    /// The connections, also those that the filter does not admit, since the filter may change.
    rows: Vec<Connection>,
    gone: Vec<Gone>,
    pub(in crate::view::tui) latest: Vec<Latest>,
    pub(super) flows: Flows,
}

impl Frozen {
    pub(super) fn new(table: &ConnectionTable, activity: &Activity, at: Mono) -> Self {
        Self {
            at,
            rows: table.rows().cloned().collect(),
            gone: activity.histories.gone().cloned().collect(),
            latest: activity.histories.latest().cloned().collect(),
            flows: activity.flows.clone(),
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&Connection, Option<&Gone>)> {
        with_gone(self.rows.iter(), self.gone.iter())
    }

    /// Returns a connection as it was.
    pub(super) fn find(&self, id: ConnectionId) -> Option<&Connection> {
        self.rows().map(|(row, _)| row).find(|row| row.id == id)
    }
}

/// Returns the rows of a table and the rows that are gone.
pub(super) fn rows<'a>(
    table: &'a ConnectionTable,
    activity: &'a Activity,
) -> impl Iterator<Item = (&'a Connection, Option<&'a Gone>)> {
    with_gone(table.rows(), activity.histories.gone())
}

fn with_gone<'a>(
    rows: impl Iterator<Item = &'a Connection>,
    gone: impl Iterator<Item = &'a Gone>,
) -> impl Iterator<Item = (&'a Connection, Option<&'a Gone>)> {
    rows.map(|row| (row, None)).chain(gone.map(|gone| (&gone.connection, Some(gone))))
}

impl ScreenState {
    /// Holds the list still from the next look on, or lets the list go on.
    pub(super) fn freeze(&mut self) {
        if self.past.is_some() {
            return self.show_message("the past stands still by itself");
        }
        self.is_freezing = self.frozen.take().is_none() && !self.is_freezing;
    }

    /// Returns the moment of the rows in the list.
    pub(in crate::view::tui) fn list_time(&self) -> Mono {
        self.frozen.as_ref().map_or(self.now, |frozen| frozen.at)
    }

    /// Returns the latest transitions beside the list, the latest first.
    pub(in crate::view::tui) fn latest(&self) -> Vec<&Latest> {
        match &self.frozen {
            Some(frozen) => frozen.latest.iter().rev().collect(),
            None => self.activity().histories.latest().rev().collect(),
        }
    }
}
