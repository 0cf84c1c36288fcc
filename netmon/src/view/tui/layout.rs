//! The layout of a screen.

use ratatui::layout::Rect;

use super::rows::SortColumn;

/// Lines of the header.
pub(super) const HEADER: u16 = 6;

/// The areas of a screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas {
    pub(super) header: Rect,
    pub(super) heading: Rect,
    pub(super) rows: Rect,
    pub(super) latest: Rect,
    pub(super) footer: Rect,
}

impl Areas {
    /// Returns the areas of a screen of this size. The rows get the lines that the header, the
    /// heading, the latest transitions and the footer leave.
    pub(super) fn of(area: Rect) -> Self {
        let line = |y: u16, height: u16| {
            let y = y.min(area.height);
            Rect {
                x: area.x,
                y: area.y + y,
                width: area.width,
                height: height.min(area.height - y),
            }
        };
        let header = if area.height < 16 { 1 } else { HEADER };
        let latest = match area.height {
            ..16 => 0,
            height => (5 + (height - 16) / 5).min(14),
        };
        let rows = area.height.saturating_sub(header + latest + 2);
        Self {
            header: line(0, header),
            heading: line(header, 1),
            rows: line(header + 1, rows),
            latest: line(header + 1 + rows, latest),
            footer: line(area.height.saturating_sub(1), 1),
        }
    }

    /// Returns the area between the first line and the last.
    pub(super) fn body(&self) -> Rect {
        let top = self.header.y + 1;
        Rect { y: top, height: self.footer.y.saturating_sub(top), ..self.header }
    }

    /// Returns the column that a click at `x` on the heading sorts by.
    pub(super) fn column_at(&self, x: u16) -> Option<SortColumn> {
        columns(self.heading.width).find_map(|(column, from, to)| {
            (from..to).contains(&x.checked_sub(self.heading.x)?).then_some(column)?
        })
    }
}

/// Returns the columns of a screen of this width: their sort column, beginning and end.
///
/// The columns of netstat come first; a wider screen has room for more columns.
pub(super) fn columns(width: u16) -> impl Iterator<Item = (Option<SortColumn>, u16, u16)> {
    let widths = widths(width);
    let mut from = 0;
    widths.into_iter().map(move |(column, width)| {
        let place = (column, from, from + width);
        from += width + 1;
        place
    })
}

/// Returns the widths of Program, Local, Foreign, State, In state; then direction, age, evidence.
fn widths(width: u16) -> Vec<(Option<SortColumn>, u16)> {
    const STATE: u16 = 14;
    const SPAN: u16 = 6;
    let more: &[u16] = match width {
        ..100 => &[],
        100..130 => &[3, SPAN],
        _ => &[3, SPAN, 8],
    };
    let fixed: u16 = STATE + SPAN + 4 + more.iter().map(|width| width + 1).sum::<u16>();
    let rest = width.saturating_sub(fixed);
    // Addresses get three eighths each.
    let address = (rest * 3 / 8).min(47);
    let program = rest.saturating_sub(address * 2).min(24);
    let mut widths = vec![
        (Some(SortColumn::Program), program),
        (Some(SortColumn::Local), address),
        (Some(SortColumn::Remote), address),
        (Some(SortColumn::State), STATE),
        (Some(SortColumn::InState), SPAN),
    ];
    widths.extend(more.iter().map(|width| (None, *width)));
    widths
}
