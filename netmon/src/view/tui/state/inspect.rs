//! A connection that is looked at closely.

use super::{Mode, ScreenState};
use crate::{
    core::{connection::Connection, event::ConnectionId, table::ConnectionTable, tcp::TcpState},
    view::tui::{
        history::{ConnectionHistory, Histories},
        time_travel::{Inspected, NameQuery, ScreenQuery},
    },
};

/// A socket that is looked at closely is asked about so often, ns.
const INSPECTED_EVERY: u64 = 1_000_000_000;

/// What is known of it.
#[derive(Clone, Debug)]
pub(in crate::view::tui) struct Detail {
    pub(in crate::view::tui) row: Connection,
    pub(in crate::view::tui) history: ConnectionHistory,
    pub(in crate::view::tui) is_gone: bool,
    pub(in crate::view::tui) user: Option<String>,
    pub(in crate::view::tui) cgroup: Option<String>,
    pub(in crate::view::tui) inspected: Option<Box<Inspected>>,
}

impl ScreenState {
    /// Looks closely at what was found; what is not there any more stays as it was.
    pub(super) fn look(&mut self, found: Option<InspectedRow>, now: u64) {
        let Some(InspectedRow { row, history, is_gone }) = found else {
            match &mut self.detail {
                Some(detail) => detail.is_gone = true,
                None => self.mode = Mode::List,
            }
            return;
        };
        let owner = row.owner.as_deref();
        let user = owner.and_then(|owner| Some(self.name(NameQuery::User(owner.uid))?.to_owned()));
        let cgroup =
            owner.and_then(|owner| Some(self.name(NameQuery::Cgroup(owner.cgroup))?.to_owned()));
        let known = self.detail.take().filter(|known| known.row.id.cookie == row.id.cookie);
        let is_due = self.inspected.is_none_or(|asked| asked + INSPECTED_EVERY <= now);
        let is_there = !is_gone && self.past.is_none() && row.state != TcpState::TimeWait;
        if is_there && is_due {
            self.inspected = Some(now);
            self.asks.push(ScreenQuery::Inspect(row.tuple, row.id.cookie));
        }
        // Its beginning may have been told later.
        self.mode = Mode::Detail(row.id);
        self.detail = Some(Detail {
            inspected: known.and_then(|known| known.inspected).filter(|_| self.past.is_none()),
            history,
            row,
            is_gone,
            user,
            cgroup,
        });
    }
}

/// Where it was found.
pub(super) struct InspectedRow {
    row: Connection,
    history: ConnectionHistory,
    is_gone: bool,
}

/// The connection, though its beginning was told since, or it is gone.
pub(super) fn find(
    table: &ConnectionTable,
    histories: &Histories,
    id: ConnectionId,
) -> Option<InspectedRow> {
    // A connection that a dump found has an earlier epoch once its beginning was told.
    let has_begun_earlier =
        |row: &Connection| row.id.cookie == id.cookie && row.id.epoch < id.epoch;
    let is_it = |row: &Connection| row.id == id;
    let mut rows = table.rows();
    let row = rows.find(|row| is_it(row));
    if let Some(row) = row.or_else(|| table.rows().find(|row| has_begun_earlier(row))) {
        let history = histories.of(row).cloned().unwrap_or_default();
        return Some(InspectedRow { row: row.clone(), history, is_gone: false });
    }
    let mut gone = histories.gone().chain(histories.ended());
    let gone = gone.find(|gone| is_it(&gone.connection))?;
    Some(InspectedRow {
        row: gone.connection.clone(),
        history: gone.history.clone(),
        is_gone: true,
    })
}
