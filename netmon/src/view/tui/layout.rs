//! The layout of a screen.

use ratatui::layout::Rect;

/// Lines of the header.
pub(super) const HEADER: u16 = 6;
/// Lines of a timeline.
const TIMELINE: u16 = 2;

/// The areas of a screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas {
    pub(super) header: Rect,
    pub(super) heading: Rect,
    pub(super) rows: Rect,
    pub(super) latest: Rect,
    /// The hour around a moment of the past.
    pub(super) timeline: Rect,
    pub(super) footer: Rect,
}

impl Areas {
    /// Returns the areas of a screen of this size. A low screen has rows alone below the title. On
    /// higher ones the header is whole, eight rows come next, and the rows and the latest
    /// transitions share the lines that are left. In the past, a timeline takes lines of the rows.
    pub(super) fn of(area: Rect, is_past: bool) -> Self {
        let line = |y: u16, height: u16| {
            let y = y.min(area.height);
            Rect {
                x: area.x,
                y: area.y + y,
                width: area.width,
                height: height.min(area.height - y),
            }
        };
        let (header, timeline) = match area.height {
            ..16 => (1, 0),
            _ => (HEADER, if is_past { TIMELINE } else { 0 }),
        };
        let latest = (area.height.saturating_sub(16) / 2).min(14);
        let rows = area.height.saturating_sub(header + latest + timeline + 2);
        Self {
            header: line(0, header),
            heading: line(header, 1),
            rows: line(header + 1, rows),
            latest: line(header + 1 + rows, latest),
            timeline: line(header + 1 + rows + latest, timeline),
            footer: line(area.height.saturating_sub(1), 1),
        }
    }

    /// Returns the area between the first line and the last.
    pub(super) fn body(&self) -> Rect {
        let top = self.header.y + 1;
        Rect { y: top, height: self.footer.y.saturating_sub(top), ..self.header }
    }
}

/// The columns of a timeline: from which on, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimelineColumns {
    pub(super) from: u16,
    pub(super) count: u16,
}

impl TimelineColumns {
    /// Returns the columns of a timeline in an area: one for each minute of an hour, or two.
    pub(super) fn of(area: Rect) -> Self {
        /// Columns for a time of day at either end.
        const TIME: u16 = 7;
        let room = area.width.saturating_sub(2 * TIME);
        let count = if room >= 120 { 120 } else { room.min(60) };
        Self { from: area.x + TIME, count }
    }
}
