//! From state to frame: a pure function.

mod cells;
mod choose;
mod detail;
mod header;
mod help;
mod list;
mod prompt;
mod state_diagram;
mod timeline;

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
use crate::{
    core::filter::FilterError,
    view::palette::{Palette, Tone},
};

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
    let (areas, theme) =
        (Areas::of(area, state.past.is_some()), Palette { colour: state.options.colour });
    header::title(state, theme, Rect { height: 1, ..areas.header }, buffer);
    match (&state.mode, &state.detail) {
        (Mode::Detail(_), Some(detail)) => detail::draw(state, detail, theme, areas.body(), buffer),
        (Mode::Help, _) => help::draw(areas.body(), buffer),
        (Mode::Columns(choice), _) => choose::draw(choice, areas.body(), buffer),
        _ => {
            header::draw(state, theme, areas.header, buffer);
            list::draw(state, theme, &areas, buffer);
            list::latest(state, theme, areas.latest, buffer);
            timeline::draw(state, theme, areas.timeline, buffer);
        }
    }
    footer(state, theme, areas.footer, buffer);
}

/// Draws the filter that is being written, a message, or the keys.
fn footer(state: &ScreenState, theme: Palette, area: Rect, buffer: &mut Buffer) {
    if let Mode::Filter(line, error) = &state.mode {
        let place = |error: &FilterError| {
            error.text.get(..error.at).map_or(0, |before| before.chars().count())
        };
        let message = |error: &FilterError| format!("{}: {}", error.message, error.advice);
        let error = error.as_ref().map(|error| (message(error), place(error)));
        let error = error.as_ref().map(|(message, place)| (&**message, *place));
        return prompt::draw("Filter: ", line, error, theme, area, buffer);
    }
    if let Mode::Time(line, error) = &state.mode {
        let error = error.as_ref().map(|error| (&**error, 0));
        return prompt::draw("Time: ", line, error, theme, area, buffer);
    }
    if let Some(message) = &state.message {
        Line::styled(format!(" {message}"), theme.style(Tone::Warning)).render(area, buffer);
        return;
    }
    let past: &[(&str, &str)] = match (state.options.past, &state.past) {
        _ if matches!(state.mode, Mode::Columns(_)) => &[],
        (_, Some(_)) => {
            &[("←→", "second"), ("[]", "minute"), (",.", "event"), ("t", "time"), ("End", "now")]
        }
        (true, None) => &[("←", "past")],
        (false, None) => &[],
    };
    let keys: &[(&str, &str)] = match &state.mode {
        Mode::Detail(_) => &[("Esc", "back")],
        Mode::Help => &[("any key", "back")],
        Mode::Columns(_) => &[("Space", "choose"), ("←→", "move"), ("Esc", "back")],
        // A narrow screen has no room for the last.
        _ => &[
            ("?", "help"),
            ("/", "filter"),
            ("s", "sort"),
            ("g", "group"),
            ("c", "columns"),
            ("Space", "freeze"),
            ("q", "quit"),
            ("Enter", "look"),
        ],
    };
    let keys = past.iter().chain(keys).flat_map(|(key, what)| {
        [Span::styled(format!(" {key}"), STRONG), Span::raw(format!(" {what} "))]
    });
    Line::from_iter(keys).render(area, buffer);
}
