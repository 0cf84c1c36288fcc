//! The selected row. It stays selected wherever it goes, until its connection is not listed any
//! more; then the row in its place is selected.

use super::{Mode, ScreenState};
use crate::view::tui::rows::{Row, RowKey};

/// The row that is selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Selection {
    /// The first row, whichever that is.
    #[default]
    First,
    /// The row at this place, at the next look at the rows.
    Place(usize),
    /// This row.
    Row(RowKey),
}

impl ScreenState {
    /// Selects the row at a place, as the list is on the screen.
    pub(super) fn select(&mut self, place: usize) {
        let place = place.min(self.list.length.saturating_sub(1));
        self.list.selected = place;
        self.selection = self.row_at(place).map_or(Selection::Place(place), Selection::Row);
    }

    /// Selects the first row: the top of the list is in sight, and stays in sight.
    pub(super) fn select_first(&mut self) {
        (self.list.selected, self.list.top) = (0, 0);
        self.selection = Selection::First;
    }

    fn row_at(&self, place: usize) -> Option<RowKey> {
        self.list.rows.get(place.checked_sub(self.list.top)?).map(Row::key)
    }

    /// Returns the row that must stay selected.
    pub(super) fn selected_key(&self) -> Option<RowKey> {
        match self.selection {
            Selection::Row(key) => Some(key),
            Selection::First | Selection::Place(_) => None,
        }
    }

    /// Ties the selection to the row that is selected now.
    pub(super) fn keep_selection(&mut self) {
        if self.selection != Selection::First
            && let Some(key) = self.row_at(self.list.selected)
        {
            self.selection = Selection::Row(key);
        }
    }

    pub(super) fn enter(&mut self) {
        let row = self.list.selected.checked_sub(self.list.top);
        match row.and_then(|row| self.list.rows.get(row)) {
            Some(Row::Connection { row, .. }) => {
                self.mode = Mode::Detail(row.id);
                (self.detail, self.inspected_at) = (None, None);
            }
            Some(Row::Group { key, .. }) => {
                let key = *key;
                if !self.expanded.remove(&key) {
                    self.expanded.insert(key);
                }
            }
            None => {}
        }
    }
}
