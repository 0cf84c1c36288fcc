//! Clicks, and the areas of the screen.

use ratatui::layout::Rect;

use super::ScreenState;
use crate::view::tui::layout::Areas;

impl ScreenState {
    pub(super) fn areas(&self) -> Areas {
        Areas::of(Rect::new(0, 0, self.size.width, self.size.height))
    }

    pub(super) fn height(&self) -> usize {
        self.areas().rows.height.into()
    }

    pub(super) fn click(&mut self, column: u16, row: u16) {
        let areas = self.areas();
        if row == areas.heading.y {
            if let Some(sort) = areas.column_at(column) {
                self.reversed = sort == self.sort && !self.reversed;
                self.sort = sort;
            }
            return;
        }
        let Some(line) = row.checked_sub(areas.rows.y).filter(|line| *line < areas.rows.height)
        else {
            return;
        };
        let at = self.list.top + usize::from(line);
        if at >= self.list.length {
            return;
        }
        let is_again = at == self.list.selected;
        self.select(at);
        if is_again {
            self.enter();
        }
    }
}
