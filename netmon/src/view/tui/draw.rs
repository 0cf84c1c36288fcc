//! From state to frame: a pure function.

mod cells;
mod detail;
mod header;
mod help;
mod list;
mod state_diagram;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Widget,
};

use super::{
    layout::Areas,
    state::{Mode, ScreenState},
};
use crate::view::palette::{Palette, Tone};

/// The least columns and lines of a screen: a smaller frame could not be understood.
const LEAST: (u16, u16) = (40, 10);

const HEADING: Style = Style::new().add_modifier(Modifier::REVERSED);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws the whole frame.
pub(super) fn draw(state: &ScreenState, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (width, height) = LEAST;
        Line::from(format!("netmon top needs {width}x{height}")).render(area, buffer);
        return;
    }
    let (areas, theme) = (Areas::of(area), Palette { colour: state.options.colour });
    header::title(state, theme, Rect { height: 1, ..areas.header }, buffer);
    match (&state.mode, &state.detail) {
        (Mode::Detail(_), Some(detail)) => detail::draw(state, detail, theme, areas.body(), buffer),
        (Mode::Help, _) => help::draw(areas.body(), buffer),
        _ => {
            header::draw(state, theme, areas.header, buffer);
            list::draw(state, theme, &areas, buffer);
            list::latest(state, theme, areas.latest, buffer);
        }
    }
    footer(state, theme, areas.footer, buffer);
}

/// Draws the filter that is being written, a message, or the keys.
fn footer(state: &ScreenState, theme: Palette, area: Rect, buffer: &mut Buffer) {
    if let Mode::Filter(line, error) = &state.mode {
        let before: String = line.text.chars().take(line.at).collect();
        let after: String = line.text.chars().skip(line.at + 1).collect();
        let under = line.text.chars().nth(line.at).unwrap_or(' ').to_string();
        let text = vec![
            Span::styled("Filter: ", STRONG),
            before.into(),
            Span::styled(under, HEADING),
            after.into(),
        ];
        if let Some(error) = error {
            // The message above the filter, and a pointer at the character below the filter.
            let column = 8 + error.text.get(..error.at).map_or(0, |before| before.chars().count());
            let column =
                u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
            let width = usize::from(area.width);
            let above = |lines| Rect { y: area.y.saturating_sub(lines), ..area };
            let pad = |text: &str| format!("{text:<width$}");
            let pointer = format!("{}^", " ".repeat(column.into()));
            Line::styled(
                pad(&format!("{}: {}", error.message, error.advice)),
                theme.style(Tone::Bad).add_modifier(Modifier::BOLD),
            )
            .render(above(2), buffer);
            Line::from(pad(&pointer)).render(Rect { y: area.y, ..area }, buffer);
            Line::from(text).render(above(1), buffer);
            return;
        }
        Line::from(text).render(area, buffer);
        return;
    }
    if let Some(message) = &state.message {
        Line::styled(format!(" {message}"), theme.style(Tone::Warning)).render(area, buffer);
        return;
    }
    let past: &[(&str, &str)] = match (state.options.past, &state.past) {
        (_, Some(_)) => &[("←→", "second"), ("[]", "minute"), (",.", "event"), ("End", "now")],
        (true, None) => &[("←", "past")],
        (false, None) => &[],
    };
    let keys: &[(&str, &str)] = match &state.mode {
        Mode::Detail(_) => &[("Esc", "back")],
        Mode::Help => &[("any key", "back")],
        _ => &[
            ("/", "filter"),
            ("s", "sort"),
            ("g", "group"),
            ("F", "follow"),
            ("Enter", "look"),
            ("?", "help"),
            ("q", "quit"),
        ],
    };
    let keys = past.iter().chain(keys).flat_map(|(key, what)| {
        [Span::styled(format!(" {key}"), STRONG), Span::raw(format!(" {what} "))]
    });
    Line::from_iter(keys).render(area, buffer);
}
