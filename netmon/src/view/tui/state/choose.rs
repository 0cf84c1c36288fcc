//! The choice of columns.

use super::{Mode, ScreenState};
use crate::view::tui::{
    columns::{Column, ColumnPlace, group_columns, places},
    keys::KeyMeaning,
};

/// All columns in their order, each chosen or not, and the cursor.
#[derive(Debug)]
pub(in crate::view::tui) struct ColumnChoice {
    pub(in crate::view::tui) all: Vec<(Column, bool)>,
    pub(in crate::view::tui) at: usize,
}

impl ColumnChoice {
    /// Begins with the chosen columns, and the others after these.
    pub(super) fn new(chosen: &[Column]) -> Self {
        let others = Column::ALL.into_iter().filter(|column| !chosen.contains(column));
        let others = others.map(|column| (column, false));
        let chosen = chosen.iter().map(|column| (*column, true));
        Self { all: chosen.chain(others).collect(), at: 0 }
    }

    fn chosen(&self) -> Vec<Column> {
        self.all.iter().filter(|(_, is_chosen)| *is_chosen).map(|(column, _)| *column).collect()
    }
}

impl ScreenState {
    /// Returns the columns on the screen. The first stays when the others are scrolled.
    pub(in crate::view::tui) fn places(&self) -> Vec<ColumnPlace> {
        let mut columns = self.listed_columns();
        let first = self.first_column.min(columns.len() - 1);
        columns.drain(1..=first);
        places(&columns, self.size.width, self.address_width)
    }

    /// Returns whether columns are scrolled out of sight, or have no room.
    pub(in crate::view::tui) fn has_more_columns(&self) -> bool {
        self.settings.group.is_none() && self.places().len() < self.listed_columns().len()
    }

    /// Returns the chosen columns, without a column that has the same value everywhere.
    fn listed_columns(&self) -> Vec<Column> {
        let is_listed = |column: &Column| *column != Column::Netns || self.has_other_namespaces;
        let listed: Vec<_> = self.settings.columns.iter().copied().filter(is_listed).collect();
        if listed.is_empty() { self.settings.columns.clone() } else { listed }
    }

    /// Scrolls the columns to the right, or back to the left.
    pub(super) fn scroll_columns(&mut self, right: bool) {
        let last = self.places().last().map(|place| place.column);
        let is_all = last == self.listed_columns().last().copied();
        self.first_column = match right {
            true if is_all => self.first_column,
            true => self.first_column + 1,
            false => self.first_column.saturating_sub(1),
        };
    }

    /// Takes a key while columns are chosen.
    pub(super) fn choose(&mut self, key: KeyMeaning) {
        let Mode::Columns(choice) = &mut self.mode else { return };
        match key {
            KeyMeaning::Back | KeyMeaning::Columns => return self.mode = Mode::List,
            KeyMeaning::Quit => return self.is_over = true,
            KeyMeaning::Move(rows) => {
                choice.at = choice.at.saturating_add_signed(rows).min(choice.all.len() - 1);
            }
            KeyMeaning::Freeze | KeyMeaning::Enter => choice.all[choice.at].1 ^= true,
            KeyMeaning::Seconds(step) => {
                let other = choice.at.saturating_add_signed(if step < 0 { -1 } else { 1 });
                let other = other.min(choice.all.len() - 1);
                choice.all.swap(choice.at, other);
                choice.at = other;
            }
            _ => {}
        }
        let columns = choice.chosen();
        // One column stays.
        if !columns.is_empty() {
            self.settings.columns = columns;
        }
        self.first_column = 0;
    }

    /// Sorts by the next column that is on the screen.
    pub(super) fn sort_by_next(&mut self) {
        self.traffic.forget_time();
        if self.settings.group.is_some() {
            return self.sort_groups_by_next();
        }
        let places = self.places();
        let at = places.iter().position(|place| place.column == self.settings.sort);
        let next = at.map_or(0, |at| (at + 1) % places.len());
        if let Some(place) = places.get(next) {
            self.settings.sort = place.column;
        }
    }

    /// Sorts groups by the next figure of their traffic, or by the number of their connections.
    fn sort_groups_by_next(&mut self) {
        let shown = group_columns(self.size.width);
        let at = shown.iter().position(|column| *column == self.settings.sort);
        let next = shown.get(at.map_or(0, |at| at + 1));
        self.settings.sort = next.copied().unwrap_or(Column::Age);
    }
}
