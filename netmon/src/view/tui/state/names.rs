//! Names that the screen asks for.

use super::ScreenState;
use crate::view::tui::{
    groups,
    rows::Row,
    time_travel::{NameQuery, ScreenQuery},
};

impl ScreenState {
    /// Returns a name, if the name is known yet; asks for the name once.
    pub(super) fn name(&mut self, of: NameQuery) -> Option<&str> {
        let questions = &mut self.questions;
        let name = self.names.entry(of).or_insert_with(|| {
            questions.push(ScreenQuery::Name(of));
            None
        });
        name.as_deref()
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
                let services = (!self.options.numeric).then_some(&self.options.services);
                *name = key.name(owner.as_deref(), services, cgroup.as_deref());
            }
        }
        self.list.rows = rows;
    }
}
