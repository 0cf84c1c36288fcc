//! The header: the host and the time, the connections in each state, and the events of a second.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Widget,
};

use super::{DIM, HEADING, STRONG, bar};
use crate::{
    core::{loss::Loss, tcp::TcpState},
    view::{
        palette::{Palette, Tone},
        text::clock::Elapsed,
        tui::{
            cells::fit,
            layout::HEADER,
            rates::{Happened, Rates, Tally},
            rows::List,
            state::{Mode, ScreenState},
        },
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
    // A curve is not taken for a part of the name after it.
    let gap = if width > 32 { 3 } else { 1 };
    let cell = |column: u16, line: u16| Rect {
        x: area.x + column * width,
        y: area.y + 1 + line,
        width: width - gap,
        height: 1,
    };
    let activity = state.activity();
    let is_filtered = state.is_filtered();
    // Under a filter, the curves are of what the filter admits, beside the host's total.
    let shown = if is_filtered { &activity.shown_rates } else { &activity.rates };
    let of_all = |shown: String, all: String| {
        if is_filtered { format!("{shown}/{all}") } else { all }
    };
    for (column, states) in (0..).zip(STATES) {
        for (line, of) in (0..).zip(states) {
            let area = cell(column, line);
            let Tally { all, shown: admitted } = &state.tally;
            let place = of as usize - 1;
            let text = of_all(admitted[place].to_string(), all[place].to_string());
            let text = cell_text(of.name(), &text, area);
            put(&text, |room| shown.of_state(of, room), admitted[place] > 0, theme, area, buffer);
        }
    }
    for (line, (name, what)) in (0..).zip(RATES) {
        let area = cell(2, line);
        let rate = |rates: &Rates| rates.rate(what).map_or("-".to_owned(), number);
        let text = cell_text(name, &of_all(rate(shown), rate(&activity.rates)), area);
        let is_some = shown.rate(what).is_some_and(|rate| rate > 0.0);
        put(&text, |room| shown.of(what, room), is_some, theme, area, buffer);
    }
    let area = cell(2, 4);
    let total = of_all(state.tally.matching().to_string(), state.tally.total().to_string());
    Line::styled(cell_text("sockets", &total, area), STRONG).render(area, buffer);
}

/// Columns of a cell before its curve.
const TEXT: u16 = 20;

/// Returns a name and a number, in the columns before the curve. A number is never cut: its name
/// is, and a number without room is left out. A long number takes columns of the curve.
fn cell_text(name: &str, number: &str, area: Rect) -> String {
    const LEAST_NAME: usize = 6;
    let usual = usize::from(TEXT - 1);
    let width = usize::from(area.width).min(usual.max(LEAST_NAME + 1 + number.len()));
    match width.checked_sub(number.len()) {
        Some(room @ 2..) => {
            let room = room - 1;
            format!("{:<room$} {number}", fit(name, room))
        }
        Some(_) => number.to_owned(),
        None => String::new(),
    }
}

/// Draws a text, and after the text the curve for the columns that are left.
fn put(
    text: &str,
    curve: impl Fn(usize) -> Vec<u8>,
    is_some: bool,
    theme: Palette,
    area: Rect,
    buffer: &mut Buffer,
) {
    let style = if is_some { STRONG } else { DIM };
    Line::styled(text, style).render(area, buffer);
    let used = u16::try_from(text.chars().count() + 1).unwrap_or(u16::MAX).max(TEXT);
    let curve = curve(area.width.saturating_sub(used).into());
    // The latest value stays at the right.
    let width = u16::try_from(curve.len()).unwrap_or(0);
    let left = area.right().saturating_sub(width).max(area.x.saturating_add(used));
    let curve: String = curve.iter().map(|height| bar(*height)).collect();
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

/// Returns the place of the rows in sight among all rows of the list.
pub(super) fn position(state: &ScreenState) -> String {
    let List { rows, top, length, .. } = &state.list;
    match rows.len() {
        0 => "no rows".to_owned(),
        count => format!("rows {}–{} of {length}", top + 1, top + count),
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
        spans.push(format!("{} PAST  ", date.strftime("%Y-%m-%d %H:%M:%S%.6f")).into());
    } else if state.options.at.is_none() {
        spans.push(format!("{} live  ", date.strftime("%H:%M:%S")).into());
    }
    if state.is_waiting {
        spans.push(Span::styled("reading …  ", theme.style(Tone::Warning)));
    }
    if let Some(frozen) = &state.frozen {
        let text = format!("list frozen for {}  ", Elapsed(state.now.since(frozen.at)));
        spans.push(Span::styled(text, theme.style(Tone::Warning)));
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
    let line = Line::from(spans).style(style);
    let used = line.width();
    line.render(area, buffer);
    // A low screen has no other place for the position.
    if matches!(state.mode, Mode::List) && state.areas().latest.height == 0 {
        let position = Line::from(format!("{} ", position(state)));
        if used + position.width() <= usize::from(area.width) {
            position.right_aligned().render(area, buffer);
        }
    }
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
