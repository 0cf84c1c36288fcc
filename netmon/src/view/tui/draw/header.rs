//! The header: the host and the time, the connections in each state, and the events of a second.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Widget,
};

use super::{HEADING, STRONG, cells::fit};
use crate::{
    core::{loss::Loss, tcp::TcpState},
    view::{
        palette::{Palette, Tone},
        text::clock::Elapsed,
        tui::{layout::HEADER, rates::Happened, state::ScreenState},
    },
};

/// The layout of the states, from a connection's beginning to its end.
const STATES: [[TcpState; 5]; 2] = [
    [
        TcpState::Listen,
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::Established,
        TcpState::CloseWait,
    ],
    [
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::Closing,
        TcpState::LastAck,
        TcpState::TimeWait,
    ],
];

type Measure = fn(&Happened) -> u32;

const RATES: [(&str, Measure); 4] = [
    ("opened/s", |happened| happened.opened),
    ("closed/s", |happened| happened.closed),
    ("failed/s", |happened| happened.failed),
    ("changes/s", |happened| happened.transitions),
];

/// Draws everything below the title.
pub(super) fn draw(state: &ScreenState, theme: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height < HEADER {
        return;
    }
    let width = area.width / 3;
    let cell = |column: u16, line: u16| Rect {
        x: area.x + column * width,
        y: area.y + 1 + line,
        width: width - 1,
        height: 1,
    };
    let rates = &state.activity().rates;
    for (column, states) in (0..).zip(STATES) {
        for (line, of) in (0..).zip(states) {
            let area = cell(column, line);
            let count = state.list.counts[of as usize - 1];
            let curve = rates.of_state(of, room(area));
            put(
                &cell_text(of.name(), &count.to_string(), area),
                &curve,
                count > 0,
                theme,
                area,
                buffer,
            );
        }
    }
    for (line, (name, what)) in (0..).zip(RATES) {
        let area = cell(2, line);
        let rate = rates.rate(what);
        let text = rate.map_or("-".to_owned(), number);
        let curve = rates.of(what, room(area));
        let is_some = rate.is_some_and(|rate| rate > 0.0);
        put(&cell_text(name, &text, area), &curve, is_some, theme, area, buffer);
    }
    let area = cell(2, 4);
    let total = cell_text("sockets", &state.list.total.to_string(), area);
    Line::styled(total, STRONG).render(area, buffer);
}

/// Columns of a cell before its curve.
const TEXT: u16 = 20;

/// Returns a name and a number, in the columns before the curve. A number is never cut: its name
/// is, and a number without room is left out.
fn cell_text(name: &str, number: &str, area: Rect) -> String {
    let width = usize::from(area.width.min(TEXT - 1));
    match width.checked_sub(number.len()) {
        Some(room @ 2..) => {
            let room = room - 1;
            format!("{:<room$} {number}", fit(name, room))
        }
        Some(_) => number.to_owned(),
        None => String::new(),
    }
}

fn room(area: Rect) -> usize {
    area.width.saturating_sub(TEXT).into()
}

fn put(text: &str, curve: &[u8], is_some: bool, theme: Palette, area: Rect, buffer: &mut Buffer) {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let style = if is_some { STRONG } else { super::DIM };
    Line::styled(text, style).render(area, buffer);
    // The latest value stays at the right.
    let width = u16::try_from(curve.len()).unwrap_or(0);
    let left = area.right().saturating_sub(width).max(area.x + TEXT);
    let curve: String = curve.iter().map(|height| HEIGHTS[usize::from(*height)]).collect();
    let area = Rect { x: left, width: area.right().saturating_sub(left), ..area };
    Line::styled(curve, theme.style(Tone::Begin)).render(area, buffer);
}

/// Returns a number with about three digits.
pub(super) fn number(number: f64) -> String {
    match number {
        small if small < 10.0 => format!("{small:.1}"),
        number if number < 100_000.0 => format!("{number:.0}"),
        large => format!("{:.0}K", large / 1e3),
    }
}

/// Draws the title: the host, the time, losses, corrections and gaps.
pub(super) fn title(state: &ScreenState, theme: Palette, area: Rect, buffer: &mut Buffer) {
    let activity = state.activity();
    let wall = match &state.past {
        Some(past) => past.at.wall,
        None => activity.anchor.wall_time(state.now),
    };
    let date = wall.timestamp().to_zoned(state.options.zone.clone());
    let mut spans = vec![Span::raw(format!(" netmon top {}  ", state.options.host))];
    if state.past.is_some() {
        spans.push(format!("{} PAST  ", date.strftime("%Y-%m-%d %H:%M:%S%.3f")).into());
    } else {
        spans.push(format!("{} live  ", date.strftime("%H:%M:%S")).into());
    }
    let moment = state.past.as_ref().map_or(state.now, |past| past.at.monotonic);
    if let Some(distance) = activity.rare_at(moment) {
        let text = format!("compared every {}  ", Elapsed(distance));
        spans.push(Span::styled(text, theme.style(Tone::Warning)));
    }
    let lost = match activity.gap {
        Some(gap) if state.past.is_none() => {
            let ago = state.now.since(gap.time);
            format!("lost {} ({}, {} ago)", activity.lost, gap.loss.name(), Elapsed(ago))
        }
        _ => format!("lost {}", activity.lost),
    };
    let style = if activity.lost > 0 { theme.style(Tone::Warning) } else { Style::new() };
    spans.extend([Span::styled(lost, style), format!("  corrected {}", activity.corrected).into()]);
    if let Some(gap) = state.gap() {
        let what = match (gap.loss, gap.count) {
            (Loss::NotRecorded, _) => "nothing was recorded".to_owned(),
            (loss, 0) => format!("gap: {}", loss.name()),
            (loss, count) => format!("gap: {count} {}", loss.name()),
        };
        spans.push(Span::styled(format!("  {what}"), theme.style(Tone::Warning)));
    }
    let style =
        if state.past.is_some() { HEADING.patch(theme.style(Tone::Warning)) } else { HEADING };
    buffer.set_style(area, style);
    Line::from(spans).style(style).render(area, buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_cut() {
        let text = |width, number| cell_text("ESTABLISHED", number, Rect::new(0, 0, width, 1));
        assert_eq!(text(26, "3516"), "ESTABLISHED    3516");
        assert_eq!(text(19, "1234567"), "ESTABLISHED 1234567");
        assert_eq!(text(19, "12345678"), "ESTABLISH… 12345678");
        assert_eq!(text(17, "3516"), "ESTABLISHED  3516");
        assert_eq!(text(12, "3516"), "ESTABL… 3516");
        assert_eq!(text(5, "3516"), "3516");
        assert_eq!(text(4, "3516"), "3516");
        assert_eq!(text(3, "3516"), "");
    }
}
