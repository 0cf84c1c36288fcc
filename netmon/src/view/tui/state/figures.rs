//! Questions about traffic: as few as what is shown takes.

use std::collections::BTreeSet;

use super::{Mode, ScreenState};
use crate::{
    core::{connection::Connection, table::ConnectionTable, time::Mono},
    view::tui::{
        rows::Row,
        time_travel::ScreenQuery,
        traffic::{TrafficFigures, TrafficOf, TrafficScope},
    },
};

/// The most namespaces that are asked at once. The traffic of the others is not known.
const NAMESPACES: usize = 64;

impl ScreenState {
    pub(super) fn traffic_of(&self) -> TrafficOf<'_> {
        let latest = self.past.is_none().then_some(&self.traffic.latest);
        TrafficOf { latest, histories: &self.activity().histories }
    }

    /// Returns the traffic of a connection, as far as it is known.
    pub(in crate::view::tui) fn figures(&self, row: &Connection) -> Option<TrafficFigures> {
        self.traffic_of().row(row)
    }

    /// Returns whether the list or its order has traffic of all connections.
    fn takes_all_traffic(&self) -> bool {
        self.settings.group.is_some() || self.settings.sort.is_traffic()
    }

    /// Returns whether traffic is rarer than every second, since there are many sockets.
    pub(in crate::view::tui) fn has_rare_traffic(&self) -> bool {
        let traffic = &self.traffic;
        self.takes_all_traffic() && traffic.latest.is_all && traffic.interval().as_secs() > 1
    }

    /// Asks for the traffic that is shown, if it is time.
    pub(super) fn ask_traffic(&mut self, table: &ConnectionTable, now: Mono) {
        let is_live =
            self.past.is_none() && self.frozen.is_none() && matches!(self.mode, Mode::List);
        let is_all = self.takes_all_traffic();
        let is_shown = is_all || self.places().iter().any(|place| place.column.is_traffic());
        if !is_live || !is_shown || self.list.length == 0 || !self.traffic.is_due(now) {
            return;
        }
        let scope = if is_all {
            let namespaces: BTreeSet<u32> = table.rows().map(|row| row.tuple.netns).collect();
            TrafficScope::Namespaces(namespaces.into_iter().take(NAMESPACES).collect())
        } else {
            let open = |row: &Row| match row {
                Row::Connection { row, is_gone: false, .. } => Some((row.tuple, row.id.cookie)),
                _ => None,
            };
            TrafficScope::Rows(self.list.rows.iter().filter_map(open).collect())
        };
        self.questions.push(ScreenQuery::Traffic(scope));
    }
}
