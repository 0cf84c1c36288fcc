//! The choice of columns.

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Line, widgets::Widget};

use super::{HEADING, STRONG};
use crate::view::tui::{cells::fit, state::ColumnChoice};

/// Draws all columns in their order.
pub(super) fn draw(choice: &ColumnChoice, area: Rect, buffer: &mut Buffer) {
    Line::styled(" Columns, from left to right", STRONG).render(area, buffer);
    let lines = usize::from(area.height.saturating_sub(1));
    let skipped = (choice.at + 1).saturating_sub(lines);
    let columns = choice.all.iter().enumerate().skip(skipped);
    for (y, (place, (column, is_chosen))) in (area.y + 1..area.bottom()).zip(columns) {
        let sign = if *is_chosen { 'x' } else { ' ' };
        let text = format!(" [{sign}] {:<16} {}", column.name(), column.about());
        let style = if place == choice.at { HEADING } else { Style::new() };
        let line = Rect { y, height: 1, ..area };
        Line::styled(fit(&text, area.width.into()), style).render(line, buffer);
    }
}
