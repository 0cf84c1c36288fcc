//! Clicks, and the areas of the screen.

use ratatui::layout::{Position, Rect};

use super::ScreenState;
use crate::view::tui::{
    layout::{Areas, TimelineColumns},
    time_travel::Jump,
};

impl ScreenState {
    pub(in crate::view::tui) fn areas(&self) -> Areas {
        Areas::of(Rect::new(0, 0, self.size.width, self.size.height), self.past.is_some())
    }

    pub(super) fn height(&self) -> usize {
        self.areas().rows.height.into()
    }

    pub(super) fn click(&mut self, column: u16, row: u16) {
        let areas = self.areas();
        if row == areas.heading.y {
            let places = self.places();
            let place = places.iter().find(|place| (place.from..place.to).contains(&column));
            if let Some(place) = place {
                let settings = &mut self.settings;
                settings.reversed = place.column == settings.sort && !settings.reversed;
                settings.sort = place.column;
                self.traffic.forget_time();
            }
            return;
        }
        if areas.timeline.contains(Position::new(column, row)) {
            return self.click_timeline(TimelineColumns::of(areas.timeline), column);
        }
        let Some(line) = row.checked_sub(areas.rows.y).filter(|line| *line < areas.rows.height)
        else {
            return;
        };
        let at = self.list.top + usize::from(line);
        if at >= self.list.length {
            return;
        }
        self.select(at);
        self.enter();
    }

    /// Goes to the beginning of the part of the timeline at a column of the screen.
    fn click_timeline(&mut self, columns: TimelineColumns, column: u16) {
        let Some(timeline) = &self.timeline else { return };
        let Some(place) = column.checked_sub(columns.from).filter(|at| *at < columns.count) else {
            return;
        };
        let span = timeline.span;
        let part = span.to.since(span.from) / u32::from(columns.count);
        self.jump(Jump::To(span.from + part * u32::from(place)));
    }
}
