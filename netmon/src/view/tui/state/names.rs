//! Names that the screen asks for.

use super::ScreenState;
use crate::{
    core::services::Services,
    view::tui::{
        cells::width_of_ends,
        groups,
        history::Latest,
        rows::Row,
        time_travel::{NameQuery, ScreenQuery},
    },
};

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

    /// Notes whether rows that were in sight have several namespaces, which does not change back,
    /// and asks for the names of those that are in sight.
    pub(super) fn name_namespaces(&mut self) {
        let namespaces: Vec<u32> = self.list.rows.iter().filter_map(Row::netns).collect();
        for netns in &namespaces {
            let first = *self.first_namespace.get_or_insert(*netns);
            self.has_many_namespaces |= *netns != first;
        }
        if self.has_many_namespaces && self.past.is_none() {
            for inum in namespaces {
                let _ = self.name(NameQuery::Netns(inum));
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
                let cgroup = match key {
                    groups::GroupKey::Cgroup(Some(id)) => {
                        self.name(NameQuery::Cgroup(*id)).map(ToOwned::to_owned)
                    }
                    _ => None,
                };
                *name = key.name(owner.as_deref(), self.services(), cgroup.as_deref());
            }
        }
        self.list.rows = rows;
    }
}
