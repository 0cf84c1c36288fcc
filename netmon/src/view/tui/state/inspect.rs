//! The connection in the detail view.

use std::time::Duration;

use super::{Mode, ScreenState};
use crate::{
    core::{
        connection::Connection, id::ConnectionId, table::ConnectionTable, tcp::TcpState, time::Mono,
    },
    view::tui::{
        history::{ConnectionHistory, Histories},
        time_travel::{Inspected, NameQuery, ScreenQuery},
    },
};

/// The time between two questions about the socket in the detail view.
const INSPECT_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that is known of the connection in the detail view.
#[derive(Clone, Debug)]
pub(in crate::view::tui) struct Detail {
    pub(in crate::view::tui) row: Connection,
    pub(in crate::view::tui) history: ConnectionHistory,
    pub(in crate::view::tui) is_gone: bool,
    pub(in crate::view::tui) user: Option<String>,
    pub(in crate::view::tui) inspected: Option<Box<Inspected>>,
}

impl ScreenState {
    /// Shows `inspected` in the detail view. A connection that is not there any more stays as it
    /// was.
    pub(super) fn look(&mut self, inspected: Option<InspectedRow>, now: Mono) {
        let Some(InspectedRow { row, history, is_gone }) = inspected else {
            match &mut self.detail {
                Some(detail) => detail.is_gone = true,
                None => self.mode = Mode::List,
            }
            return;
        };
        let owner = row.owner.as_deref();
        let user = owner.and_then(|owner| Some(self.name(NameQuery::User(owner.uid))?.to_owned()));
        let previous =
            self.detail.take().filter(|previous| previous.row.id.cookie == row.id.cookie);
        let is_due = self.inspected_at.is_none_or(|last| last + INSPECT_INTERVAL <= now);
        let is_there = !is_gone && self.past.is_none() && row.state != TcpState::TimeWait;
        if is_there && is_due {
            self.inspected_at = Some(now);
            self.questions.push(ScreenQuery::Inspect(row.tuple, row.id.cookie));
        }
        // The id may be another: the beginning may have been reported since.
        self.mode = Mode::Detail(row.id);
        self.detail = Some(Detail {
            inspected: previous
                .and_then(|previous| previous.inspected)
                .filter(|_| self.past.is_none()),
            history,
            row,
            is_gone,
            user,
        });
    }
}

/// The row and the history of the connection in the detail view.
pub(super) struct InspectedRow {
    row: Connection,
    history: ConnectionHistory,
    is_gone: bool,
}

impl InspectedRow {
    /// Returns a connection that was listed and of which nothing else is known any more.
    pub(super) fn gone(row: &Connection) -> Self {
        Self { row: row.clone(), history: ConnectionHistory::default(), is_gone: true }
    }
}

/// Returns the connection `id`, also if its beginning was reported since, or if the connection is
/// gone.
pub(super) fn find(
    table: &ConnectionTable,
    histories: &Histories,
    id: ConnectionId,
) -> Option<InspectedRow> {
    // A connection that a dump found has an earlier epoch once its beginning was reported.
    let has_begun_earlier =
        |row: &Connection| row.id.cookie == id.cookie && row.id.epoch < id.epoch;
    let is_it = |row: &Connection| row.id == id;
    let mut rows = table.rows();
    let row = rows.find(|row| is_it(row));
    if let Some(row) = row.or_else(|| table.rows().find(|row| has_begun_earlier(row))) {
        let history = histories.of(row).cloned().unwrap_or_default();
        return Some(InspectedRow { row: row.clone(), history, is_gone: false });
    }
    let mut gone = histories.gone().chain(histories.focus_end());
    let gone = gone.find(|gone| is_it(&gone.connection))?;
    Some(InspectedRow {
        row: gone.connection.clone(),
        history: gone.history.clone(),
        is_gone: true,
    })
}
