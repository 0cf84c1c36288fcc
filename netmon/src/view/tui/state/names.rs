//! Names that the screen asks for.

use std::{collections::BTreeSet, time::Duration};

use super::ScreenState;
use crate::{
    core::{connection::Connection, services::Services, time::Mono},
    view::{
        text::netns::Netns,
        tui::{
            cells::width_of_ends,
            history::Latest,
            rows::Row,
            time_travel::{NameQuery, ScreenQuery},
        },
    },
};

/// The time for which the names of network namespaces are not asked for again.
const NAMES_LAST: Duration = Duration::from_secs(2);

impl ScreenState {
    /// Returns the names of ports, unless ports are shown as numbers.
    pub(in crate::view::tui) fn services(&self) -> Option<&Services> {
        (!self.options.numeric).then_some(&self.options.services)
    }

    /// Notes the width of the widest address in sight.
    pub(super) fn note_widths(&mut self) {
        let services = self.services();
        let of_row = |row: &Row| match row {
            Row::Connection { row, .. } => width_of_ends(&row.tuple, &row.binding, services),
            Row::Group { .. } => 0,
        };
        let of_latest = |row: &&Latest| width_of_ends(&row.tuple, &row.binding, services);
        let rows = self.list.rows.iter().map(of_row);
        let latest = self.latest();
        let latest = latest.iter().take(self.areas().latest.height.into()).map(of_latest);
        let widest = rows.chain(latest).max().unwrap_or(0);
        let widest = u16::try_from(widest).unwrap_or(u16::MAX);
        self.address_width = self.address_width.max(widest);
    }

    /// Returns a name, if the name is known yet; asks for the name once.
    pub(super) fn name(&mut self, of: NameQuery) -> Option<&str> {
        let questions = &mut self.questions;
        let name = self.names.entry(of).or_insert_with(|| {
            questions.push(ScreenQuery::Name(of));
            None
        });
        name.as_deref()
    }

    /// Returns a name, if the name is known.
    pub(in crate::view::tui) fn known_name(&self, of: NameQuery) -> Option<&str> {
        self.names.get(&of)?.as_deref()
    }

    /// Returns the network namespace of a row. A row of the past has the name and the own namespace
    /// of then.
    pub(in crate::view::tui) fn netns<'a>(&'a self, row: &'a Connection) -> Netns<'a> {
        let inum = row.tuple.netns;
        match row.labels.as_deref() {
            Some(labels) => Netns { inum, own: labels.own_netns, name: labels.netns.as_deref() },
            None => {
                let name = self.known_name(NameQuery::Netns(inum));
                Netns { inum, own: self.options.own_netns, name }
            }
        }
    }

    /// Notes whether rows of other namespaces than the own one were in sight, which does not change
    /// back, and asks for the names of those that are in sight. Asks again after a while: the
    /// kernel gives the inode number of a namespace that has ended to the next one.
    pub(super) fn name_namespaces(&mut self, now: Mono) {
        let shown = self.list.rows.iter().filter_map(|row| match row {
            Row::Connection { row, .. } => Some(row),
            Row::Group { .. } => None,
        });
        let others = shown.chain(self.detail.iter().map(|detail| &detail.row));
        let others: BTreeSet<u32> =
            others.filter(|row| !self.netns(row).is_own()).map(|row| row.tuple.netns).collect();
        self.has_other_namespaces |= !others.is_empty();
        // A journal has the names.
        if self.past.is_some() {
            return;
        }
        let is_due = self.namespaces_named_at.is_none_or(|at| at + NAMES_LAST <= now);
        if is_due && !others.is_empty() {
            self.namespaces_named_at = Some(now);
        }
        for of in others.into_iter().map(NameQuery::Netns) {
            if is_due || !self.names.contains_key(&of) {
                self.names.entry(of).or_default();
                self.questions.push(ScreenQuery::Name(of));
            }
        }
    }

    /// Notes the last step of each connection in sight.
    pub(super) fn note_steps(&mut self) {
        let mut rows = std::mem::take(&mut self.list.rows);
        let histories = &self.activity().histories;
        for row in &mut rows {
            if let Row::Connection { row, last, .. } = row {
                *last = histories.last_step(row);
            }
        }
        self.list.rows = rows;
    }

    pub(super) fn name_groups(&mut self) {
        let mut rows = std::mem::take(&mut self.list.rows);
        for row in &mut rows {
            if let Row::Group { key, owner, name, .. } = row {
                *name = key.name(owner.as_deref(), self.services());
            }
        }
        self.list.rows = rows;
    }
}
